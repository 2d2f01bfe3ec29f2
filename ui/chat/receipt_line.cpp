// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/receipt_line.h"

#include "ui/widgets/format.h"

#include <QStringList>

#include <algorithm>

namespace kvilt::ui {

namespace {

// Below a hundredth of a second a saving is noise.
constexpr double kWorthSaying = 0.005;

QString lostTo(const api::MissReport &miss)
{
    using enum api::EventReason;
    switch (miss.reason) {
    case neverStored: return miss.repeatedTokens > 0 ? QStringLiteral("lost to a changed beginning") : QStringLiteral("lost");
    case evicted:
    case lru:
    case fifo:
    case lfu: return QStringLiteral("lost to an eviction");
    case dropped: return QStringLiteral("lost to dropped KV");
    case systemPromptEdited:
    case edited: return QStringLiteral("lost to an edit");
    case regenerated: return QStringLiteral("lost to a new branch");
    case differentTemplate: return QStringLiteral("lost to another template");
    case differentModel: return QStringLiteral("lost to another model");
    case differentSalt: return QStringLiteral("lost to another owner");
    case numerics: return QStringLiteral("lost to other arithmetic");
    case contextDropped: return QStringLiteral("lost to dropped turns");
    case corruptPayload: return QStringLiteral("lost to a damaged file");
    case windowHole:
    case windowPassed: return QStringLiteral("lost to the window");
    case preempted: return QStringLiteral("lost to another chat");
    default: return QStringLiteral("lost");
    }
}

QString fromCache(std::uint32_t cached, std::uint32_t prompt)
{
    return QStringLiteral("%1 of %2 tokens from cache").arg(grouped(cached), grouped(prompt));
}

} // namespace

std::vector<ReceiptPart> receiptParts(const api::TurnReceipt &r, bool first)
{
    const bool lost = r.miss.lostSeconds > kWorthSaying;
    std::vector<ReceiptPart> parts;
    parts.push_back({fromCache(r.fromMemory + r.fromDisk, r.promptTokens), lost ? Tone::lost : Tone::strong});
    if (r.fromDisk > 0)
        parts.push_back({QStringLiteral("%1 restored").arg(grouped(r.fromDisk))});
    parts.push_back({QStringLiteral("%1 computed").arg(grouped(r.computed))});
    if (r.recomputed > 0)
        parts.push_back({QStringLiteral("%1 again").arg(grouped(r.recomputed))});
    if (r.ttftSeconds > 0) // stopped before, it has none
        parts.push_back({(first ? QStringLiteral("first token ") : QString()) + seconds(r.ttftSeconds)});
    if (r.decodeTokensPerSecond > 0)
        parts.push_back({rate(r.decodeTokensPerSecond)});
    if (lost)
        parts.push_back({seconds(r.miss.lostSeconds) + QLatin1Char(' ') + lostTo(r.miss), Tone::lost});
    else if (r.savedSeconds > kWorthSaying)
        parts.push_back({seconds(r.savedSeconds) + QStringLiteral(" saved"), Tone::saved});
    return parts;
}

std::vector<ReceiptPart> writingParts(const api::update::TurnProgress &p)
{
    std::vector<ReceiptPart> parts;
    parts.push_back({fromCache(p.cachedTokens, p.promptTokens), Tone::strong});
    parts.push_back({QStringLiteral("%1 computed").arg(grouped(p.computedTokens))});
    // A reply that gave its blocks to another one waits and comes back.
    if (p.phase == api::update::TurnPhase::queued)
        parts.push_back({QStringLiteral("waiting for room")});
    else if (p.phase == api::update::TurnPhase::restoring)
        parts.push_back({QStringLiteral("restoring")});
    else if (p.tokensPerSecond > 0)
        parts.push_back({rate(p.tokensPerSecond) + QStringLiteral(", writing")});
    return parts;
}

QString plainReceipt(const std::vector<ReceiptPart> &parts)
{
    QStringList words;
    for (const ReceiptPart &part : parts)
        words << part.text;
    return words.join(QStringLiteral(" · "));
}

PrefillWords prefillWords(const api::update::TurnProgress &p)
{
    PrefillWords words;
    words.title = p.phase == api::update::TurnPhase::queued      ? QStringLiteral("Waiting for its turn")
                  : p.phase == api::update::TurnPhase::restoring ? QStringLiteral("Restoring from disk")
                                                                 : QStringLiteral("Reading the prompt");
    const std::uint32_t done = std::min(p.cachedTokens + p.computedTokens, p.promptTokens);
    if (p.secondsLeft > 0)
        words.left = (p.secondsLeft < 1 ? QStringLiteral("1 s")
                      : p.secondsLeft < 100 ? QString::number(int(p.secondsLeft + 0.5)) + QStringLiteral(" s")
                                            : seconds(p.secondsLeft)) + QStringLiteral(" left");
    if (p.promptTokens == 0)
        return words;
    words.total = QStringLiteral("%1 of %2 tokens").arg(grouped(done), grouped(p.promptTokens));
    words.cached = QStringLiteral("%1 from cache (%2)").arg(grouped(p.cachedTokens), percent(p.cachedTokens, p.promptTokens));
    words.computed = QStringLiteral("%1 computed, %2 to go").arg(grouped(p.computedTokens), grouped(p.promptTokens - done));
    if (p.tokensPerSecond > 0)
        words.computed += QStringLiteral(" at ") + rate(p.tokensPerSecond);
    words.cachedShare = double(p.cachedTokens) / p.promptTokens;
    words.computedShare = double(done - std::min(p.cachedTokens, done)) / p.promptTokens;
    return words;
}

} // namespace kvilt::ui
