// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/format.h"

#include <QDateTime>

#include <algorithm>
#include <array>
#include <cmath>

namespace kvilt::ui {

QString grouped(std::uint64_t value)
{
    QString digits = QString::number(value);
    for (qsizetype i = digits.size() - 3; i > 0; i -= 3)
        digits.insert(i, QLatin1Char(','));
    return digits;
}

QString threeDigits(double value)
{
    if (!std::isfinite(value))
        return QStringLiteral("–");
    if (value < 0)
        return QStringLiteral("−") + threeDigits(-value);
    if (value == 0)
        return QStringLiteral("0");
    if (value >= 999.5)
        return value < 1.8e19 ? grouped(std::uint64_t(std::llround(value))) : QString::number(value, 'g', 3);
    const int magnitude = int(std::floor(std::log10(value * (1 + 1e-12))));
    const int decimals = std::clamp(2 - magnitude, 0, 6);
    return QString::number(value, 'f', decimals);
}

QString bytes(std::uint64_t value)
{
    static constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (value < 1024)
        return QString::number(value) + QStringLiteral(" B");
    double scaled = double(value);
    std::size_t unit = 0;
    while (scaled >= 999.5 && unit + 1 < units.size()) {
        scaled /= 1024;
        ++unit;
    }
    // One decimal below a hundred: 4.2 MiB beside 26.7 MiB reads as one column.
    const int decimals = scaled < 99.95 ? 1 : 0;
    return QString::number(scaled, 'f', decimals) + QLatin1Char(' ') + QLatin1String(units[unit]);
}

QString percent(std::uint64_t part, std::uint64_t whole)
{
    if (whole == 0)
        return QStringLiteral("–");
    const double share = 100.0 * double(part) / double(whole);
    // Rounding never claims all or nothing of what is only nearly so.
    const int rounded = part >= whole ? 100 : part == 0 ? 0 : std::clamp(int(std::lround(share)), 1, 99);
    return QString::number(rounded) + QStringLiteral(" %");
}

QString seconds(double value)
{
    if (!std::isfinite(value) || value < 0)
        return QStringLiteral("–");
    if (value < 0.0095)
        return QString::number(std::max(value * 1000, 0.0), 'f', value < 0.00095 ? 1 : 0) + QStringLiteral(" ms");
    if (value < 9.995)
        return QString::number(value, 'f', 2) + QStringLiteral(" s");
    if (value < 99.95)
        return QString::number(value, 'f', 1) + QStringLiteral(" s");
    const auto whole = std::uint64_t(std::min(std::llround(value), 1ll << 52));
    if (whole < 3600)
        return QStringLiteral("%1 min %2 s").arg(whole / 60).arg(whole % 60);
    return QStringLiteral("%1 h %2 min").arg(grouped(whole / 3600)).arg(whole % 3600 / 60);
}

QString rate(double tokensPerSecond)
{
    return threeDigits(tokensPerSecond) + QStringLiteral(" tok/s");
}

QString count(std::uint64_t n, const QString &one, const QString &many)
{
    return grouped(n) + QLatin1Char(' ') + (n == 1 ? one : many);
}

QString ago(std::int64_t thenMs, std::int64_t nowMs)
{
    const std::int64_t passed = std::max<std::int64_t>(nowMs - thenMs, 0) / 1000;
    if (passed < 120)
        return QStringLiteral("%1 s ago").arg(passed);
    if (passed < 2 * 3600)
        return QStringLiteral("%1 min ago").arg(passed / 60);
    if (passed < 48 * 3600)
        return QStringLiteral("%1 h ago").arg(passed / 3600);
    return QStringLiteral("%1 days ago").arg(grouped(std::uint64_t(passed / 86400)));
}

QString clockTime(std::uint64_t timeNs)
{
    return QDateTime::fromMSecsSinceEpoch(qint64(timeNs / 1'000'000)).toString(QStringLiteral("HH:mm:ss.zzz"));
}

} // namespace kvilt::ui
