// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>

#include <cstdint>

// Numbers as the window writes them: digits in groups of three, binary units, three significant digits, a point
// for decimals whatever the locale, so that figures can be compared with those of kvilt-cli.
namespace kvilt::ui {

QString grouped(std::uint64_t value);              // 1,204
QString threeDigits(double value);                 // 0.0612 → "0.0612", 61.24 → "61.2", 1204 → "1,204"
QString bytes(std::uint64_t value);                // "26.7 MiB", "512 B"
QString percent(std::uint64_t part, std::uint64_t whole); // "87 %"; "–" when whole is 0
QString seconds(double value);                     // "0.06 s", "3 s", "2 min 5 s", "9 ms"
QString rate(double tokensPerSecond);              // "231 tok/s"
QString count(std::uint64_t n, const QString &one, const QString &many); // "1 block", "1,024 blocks"
QString ago(std::int64_t thenMs, std::int64_t nowMs); // "71 s ago", "3 h ago"
QString clockTime(std::uint64_t timeNs);           // "12:03:11.204", local

} // namespace kvilt::ui
