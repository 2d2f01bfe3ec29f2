// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/inspector/inspector_text.h"

#include "ui/models/event_words.h"
#include "ui/widgets/format.h"

#include <QCoreApplication>

#include <algorithm>

namespace kvilt::ui {

using api::EventReason;
using api::TurnReceipt;

namespace {

QString text(const char *words)
{
    return QCoreApplication::translate("Inspector", words);
}

QString blocksWord(std::uint64_t n)
{
    return count(n, text("block"), text("blocks"));
}

QString tokensWord(std::uint64_t n)
{
    return count(n, text("token"), text("tokens"));
}

// Only what was new, and the last token, had to be computed.
bool nothingMissed(const TurnReceipt &r)
{
    return r.miss.reason == EventReason::lastToken || r.miss.reason == EventReason::none
           || ((r.miss.reason == EventReason::neverStored || r.miss.reason == EventReason::partialBlock)
               && r.miss.lostSeconds <= 0);
}

QString titleOf(const TurnReceipt &r)
{
    const std::uint32_t matched = r.fromMemory + r.fromDisk;
    if (matched == 0 && r.promptTokens == 0)
        return text("Nothing was asked");
    if (matched == 0)
        return text("Why was nothing reused?");
    if (nothingMissed(r))
        return text("Everything that could be reused was");
    return matched * 2 < r.promptTokens ? text("Why was so little reused?") : text("Why was not more reused?");
}

QString becauseOf(const TurnReceipt &r)
{
    switch (r.miss.reason) {
    case EventReason::none: return text("The whole prompt was in the cache.");
    case EventReason::neverStored:
        if (r.fromMemory + r.fromDisk == 0)
            return text("Nobody had computed these words before, from the very first block on.");
        return r.miss.deadBlocks || r.miss.firstDifference >= 0
                   ? text("The text parts here from what the cache holds. Blocks are named by everything before them, "
                          "so all that follows the change had to be computed again.")
                   : text("What followed was new: nobody had computed these words after this beginning.");
    case EventReason::evicted:
        return text("It had been computed, but its blocks were given up when room was needed.");
    case EventReason::lastToken: return text("Everything matched. The last token always runs, to know what comes next.");
    case EventReason::differentSalt: return text("The same text is cached, but for another owner: salts keep them apart.");
    case EventReason::differentModel: return text("The same text is stored, but computed by another model.");
    case EventReason::differentTemplate:
        return text("The chat template changed, so the same messages became other tokens.");
    case EventReason::numerics:
        return text("It is stored, but was computed by other arithmetic, which may differ in the last bits.");
    case EventReason::partialBlock: return text("The cache keeps full blocks only; the tail of the last one was computed again.");
    case EventReason::windowHole:
        return text("A sliding-window layer no longer holds the window before this point, so it had to be computed again.");
    case EventReason::cacheOff: return text("The cache is switched off for this model.");
    case EventReason::corruptPayload:
        return text("A stored block failed its checksum and was set aside; its tokens were computed again.");
    default: return reasonWord(r.miss.reason);
    }
}

InspectorText::Excerpt excerpt(const std::string &bytesOf, std::uint32_t begin, std::uint32_t end)
{
    const auto size = std::uint32_t(bytesOf.size());
    begin = std::min(begin, size);
    end = std::clamp(end, begin, size);
    const auto part = [&](std::uint32_t from, std::uint32_t to) {
        QString piece = QString::fromUtf8(bytesOf.data() + from, qsizetype(to - from));
        piece.replace(QLatin1Char('\n'), QStringLiteral("↵")).replace(QLatin1Char('\t'), QStringLiteral("⇥"));
        return piece;
    };
    // The blank before a word belongs to its token, but a mark around it would stand beside the word.
    const bool blank = end - begin > 1 && bytesOf[begin] == ' ';
    return {part(0, begin + blank), part(begin + blank, end), part(end, size)};
}

void addNumbers(InspectorText &out, const TurnReceipt &r)
{
    using Tone = InspectorText::Number::Tone;
    out.numbers.push_back({grouped(r.fromMemory + r.fromDisk), text("tokens matched"), Tone::plain});
    out.numbers.push_back({grouped(r.computed), text("computed"), Tone::plain});
    if (r.miss.lostSeconds > 0)
        out.numbers.push_back({seconds(r.miss.lostSeconds), text("lost"), Tone::lost});
    else if (r.savedSeconds > 0.0005)
        out.numbers.push_back({seconds(r.savedSeconds), text("saved"), Tone::saved});
    else if (r.prefillTokensPerSecond > 0)
        out.numbers.push_back({seconds(r.computed / r.prefillTokensPerSecond), text("to compute"), Tone::plain});
    else
        out.numbers.push_back({seconds(r.ttftSeconds), text("first token"), Tone::plain});
    out.numbers.push_back({grouped(r.miss.deadBlocks), text("dead blocks"), Tone::plain});
    out.tiers = text("%1 from memory, %2 from disk, %3 computed")
                    .arg(grouped(r.fromMemory), grouped(r.fromDisk), grouped(r.computed));
    if (r.recomputed)
        out.tiers += text(", %1 again after a preemption").arg(grouped(r.recomputed));
}

void addStrips(InspectorText &out, const api::update::TurnInspected &turn, std::uint16_t blockSize)
{
    out.blocks = blocksWord(turn.asked.size());
    const TurnReceipt &r = turn.receipt;
    if (turn.cached.empty() || r.miss.firstDifference < 0) {
        out.stripCaption = text("The cache held nothing beyond what was matched.");
        return;
    }
    const auto token = std::uint64_t(r.miss.firstDifference);
    out.stripCaption = text("Above: computed now. Below: what the cache held. They part at block %1, token %2.")
                           .arg(grouped(token / std::max<std::uint16_t>(1, blockSize)), grouped(token));
}

void addDifference(InspectorText &out, const api::MissReport &miss)
{
    if (miss.firstDifference < 0 || (miss.cachedText.empty() && miss.askedText.empty()))
        return;
    out.differenceTitle = text("First difference, token %1").arg(grouped(std::uint64_t(miss.firstDifference)));
    out.cached = excerpt(miss.cachedText, miss.cachedBegin, miss.cachedEnd);
    out.asked = excerpt(miss.askedText, miss.askedBegin, miss.askedEnd);
}

void addFates(InspectorText &out, const api::update::TurnInspected &turn, const InspectorContext &context)
{
    const api::MissReport &miss = turn.receipt.miss;
    const std::uint32_t all = miss.deadBlocks + miss.heldBlocks + miss.droppedBlocks;
    if (miss.reason == EventReason::evicted && all == 0) {
        out.fatesTitle = text("What happened to the blocks");
        out.fates.push_back({text("Evicted"), miss.evictedAtNs ? clockTime(miss.evictedAtNs).left(8) : QString(),
                             QString::fromStdString(miss.evictedBy)});
        return;
    }
    if (all == 0)
        return;
    out.fatesTitle = text("What happened to the %1").arg(blocksWord(all));
    if (miss.heldBlocks)
        out.fates.push_back({text("In use"), blocksWord(miss.heldBlocks),
                             turn.heldByTitle.empty() ? text("held by another branch of this chat")
                                                      : text("held by “%1”").arg(QString::fromStdString(turn.heldByTitle))});
    if (miss.droppedBlocks)
        out.fates.push_back({text("Freed"), blocksWord(miss.droppedBlocks), text("dropped by you")});
    if (miss.deadInMemory)
        out.fates.push_back({text("Still in memory"), blocksWord(miss.deadInMemory) + text(", dead branch"),
                             text("go first when room is needed")});
    if (miss.deadEvicted) {
        QString note = miss.evictedAtNs ? clockTime(miss.evictedAtNs).left(8) : QString();
        if (!miss.evictedBy.empty())
            note += (note.isEmpty() ? QString() : QStringLiteral(", ")) + QString::fromStdString(miss.evictedBy);
        out.fates.push_back({text("Evicted"), blocksWord(miss.deadEvicted), note});
    }
    if (miss.deadOnDisk) {
        QString value = blocksWord(miss.deadOnDisk);
        if (context.bytesPerBlock)
            value += QStringLiteral(", ") + bytes(miss.deadOnDisk * context.bytesPerBlock);
        out.fates.push_back({text("On disk"), value, text("undo it and they return")});
    }
}

// The user's message that the turn answers, when it is a later version of an earlier one.
const api::Message *editedMessage(const api::update::TurnInspected &turn, const InspectorContext &context)
{
    if (!context.messages)
        return nullptr;
    const api::Message *edited = nullptr;
    for (const api::Message &message : *context.messages) {
        if (message.id.value == turn.receipt.turn.value)
            return edited;
        if (message.branchIndex > 0)
            edited = &message;
    }
    return nullptr;
}

void addRemedies(InspectorText &out, const api::update::TurnInspected &turn, const InspectorContext &context)
{
    out.remedies = turn.remedies;
    const api::MissReport &miss = turn.receipt.miss;
    const api::Message *edited = editedMessage(turn, context);
    if (turn.remedies.empty() && edited && miss.deadBlocks) {
        QString effect = text("%1 return from memory and disk").arg(tokensWord(std::uint64_t(miss.deadBlocks) * context.blockSize));
        const std::uint64_t fromDisk = std::uint64_t(miss.deadBlocks - std::min(miss.deadBlocks, miss.deadInMemory)) * context.bytesPerBlock;
        if (context.restoreBytesPerSecond > 0)
            effect += text(" in about %1").arg(seconds(double(fromDisk) / context.restoreBytesPerSecond));
        out.remedies.push_back({text("Undo the edit").toStdString(), effect.toStdString(),
                                {api::command::SwitchBranch{turn.session, edited->id, edited->branchIndex - 1}}});
    }
    const bool early = miss.firstDifference >= 0 && std::uint32_t(miss.firstDifference) * 4 < turn.receipt.promptTokens;
    if (turn.remedies.empty() && early && miss.deadBlocks)
        out.remedies.push_back({text("Put changing text last").toStdString(),
                                text("a note under the system prompt keeps the prefix whole").toStdString(), {}});
}

} // namespace

InspectorText inspectorText(const api::update::TurnInspected &turn, const InspectorContext &context)
{
    InspectorText out;
    out.title = titleOf(turn.receipt);
    if (turn.turns > 0)
        out.turn = text("Turn %1 of %2").arg(grouped(std::uint64_t(turn.turnNumber)), grouped(std::uint64_t(turn.turns)));
    out.paragraph = turn.explanation.empty() ? becauseOf(turn.receipt) : QString::fromStdString(turn.explanation);
    addNumbers(out, turn.receipt);
    addStrips(out, turn, context.blockSize);
    addDifference(out, turn.receipt.miss);
    addFates(out, turn, context);
    addRemedies(out, turn, context);
    return out;
}

std::vector<InspectorText::Row> chatRows(const ChatFacts &f)
{
    std::vector<InspectorText::Row> rows;
    rows.push_back({text("On disk"), f.kvBytes ? bytes(f.kvBytes) + QStringLiteral(", ") + blocksWord(f.blocksOnDisk) : text("nothing stored"),
                    f.kvBytes ? text("comes back after a restart") : text("text only")});
    if (f.kvBytes && f.tokens && f.prefillTokensPerSecond > 0) {
        const double compute = f.tokens / f.prefillTokensPerSecond;
        if (f.restoreBytesPerSecond > 0) {
            const double restore = double(f.kvBytes) / f.restoreBytesPerSecond;
            rows.push_back({text("Restoring"), text("%1, computing %2").arg(seconds(restore), seconds(compute)),
                            restore < compute ? text("worth it, %1× faster").arg(threeDigits(compute / std::max(restore, 1e-6)))
                                              : text("not worth it here")});
        } else {
            rows.push_back({text("Restoring"), text("computing takes %1").arg(seconds(compute)), text("not measured yet")});
        }
    }
    if (f.previewKnown) {
        const api::update::PromptPreview &p = f.preview;
        const std::uint32_t left = p.contextTokens > p.promptTokens ? p.contextTokens - p.promptTokens : 0;
        if (p.dropMessages)
            rows.push_back({text("When full"), text("drops %1, %2").arg(count(p.dropMessages, text("message"), text("messages")), tokensWord(p.dropTokens)),
                            p.recomputeSeconds > 0 ? text("then computes %1 again").arg(seconds(p.recomputeSeconds))
                                                   : text("then computes %1 again").arg(tokensWord(p.recomputeTokens))});
        else
            rows.push_back({text("When full"), f.dropped ? text("the oldest were dropped") : text("nothing is dropped yet"),
                            text("room for %1").arg(tokensWord(left))});
        rows.push_back({text("Thoughts"), p.thinkingTokens ? tokensWord(p.thinkingTokens) : text("none in this chat"),
                        p.thinkingTokens ? text("stripping them costs %1").arg(seconds(p.thinkingStripSeconds)) : QString()});
    }
    rows.push_back({text("Preemption"), f.recomputed ? tokensWord(f.recomputed) : text("nothing computed again"),
                    f.recomputed && f.prefillTokensPerSecond > 0
                        ? text("cost %1").arg(seconds(f.recomputed / f.prefillTokensPerSecond)) : QString()});
    return rows;
}

namespace {

// Without the piece of a word that a cut left at the beginning, unless nothing else is there.
QString wholeWords(const QString &text)
{
    const qsizetype space = text.indexOf(QLatin1Char(' '));
    return space >= 0 && space + 1 < text.size() ? text.mid(space + 1) : text;
}

} // namespace

InspectorText::Excerpt fitExcerpt(const InspectorText::Excerpt &excerpt, int room)
{
    InspectorText::Excerpt fitted = excerpt;
    const int rest = std::max(0, room - int(fitted.token.size()));
    const int beforeRoom = std::max(rest / 2, rest - int(fitted.after.size()));
    if (fitted.before.size() > beforeRoom)
        fitted.before = QStringLiteral("… ") + wholeWords(fitted.before.right(std::max(0, beforeRoom - 2)));
    const int afterRoom = std::max(0, rest - int(fitted.before.size()));
    if (fitted.after.size() > afterRoom)
        fitted.after = fitted.after.left(std::max(0, afterRoom - 1)) + QStringLiteral("…");
    return fitted;
}

} // namespace kvilt::ui
