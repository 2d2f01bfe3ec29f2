// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/event_words.h"

#include "ui/blockmap/words.h"
#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QRegularExpression>
#include <QStringList>

namespace kvilt::ui {

using api::CacheEvent;
using api::EventKind;
using api::EventReason;
using api::Tier;

QString kindWord(EventKind kind)
{
    switch (kind) {
    case EventKind::allocate: return QStringLiteral("alloc");
    case EventKind::reference: return QStringLiteral("take");
    case EventKind::release: return QStringLiteral("release");
    case EventKind::seal: return QStringLiteral("seal");
    case EventKind::hit: return QStringLiteral("hit");
    case EventKind::miss: return QStringLiteral("miss");
    case EventKind::copyOnWrite: return QStringLiteral("copy");
    case EventKind::pin: return QStringLiteral("pin");
    case EventKind::unpin: return QStringLiteral("unpin");
    case EventKind::evict: return QStringLiteral("evict");
    case EventKind::demote: return QStringLiteral("demote");
    case EventKind::promote: return QStringLiteral("promote");
    case EventKind::store: return QStringLiteral("store");
    case EventKind::restore: return QStringLiteral("restore");
    case EventKind::deadBranch: return QStringLiteral("dead");
    case EventKind::free: return QStringLiteral("free");
    case EventKind::regret: return QStringLiteral("regret");
    }
    return {};
}

QString kindsWord(EventKind kind)
{
    switch (kind) {
    case EventKind::allocate: return QStringLiteral("Allocations");
    case EventKind::reference: return QStringLiteral("Taken by a hit");
    case EventKind::release: return QStringLiteral("Releases");
    case EventKind::seal: return QStringLiteral("Sealed");
    case EventKind::hit: return QStringLiteral("Hits");
    case EventKind::miss: return QStringLiteral("Misses");
    case EventKind::copyOnWrite: return QStringLiteral("Copies on write");
    case EventKind::pin: return QStringLiteral("Pins");
    case EventKind::unpin: return QStringLiteral("Unpins");
    case EventKind::evict: return QStringLiteral("Evictions");
    case EventKind::demote: return QStringLiteral("Demotions");
    case EventKind::promote: return QStringLiteral("Promotions");
    case EventKind::store: return QStringLiteral("Stored on disk");
    case EventKind::restore: return QStringLiteral("Restored from disk");
    case EventKind::deadBranch: return QStringLiteral("Dead branches");
    case EventKind::free: return QStringLiteral("Freed");
    case EventKind::regret: return QStringLiteral("Evicted and wanted again");
    }
    return {};
}

QString reasonWord(EventReason reason)
{
    switch (reason) {
    case EventReason::none: return {};
    case EventReason::neverStored: return QStringLiteral("new words, never stored");
    case EventReason::evicted: return QStringLiteral("evicted before");
    case EventReason::lastToken: return QStringLiteral("only the last token, which has to run");
    case EventReason::differentSalt: return QStringLiteral("stored under another owner's salt");
    case EventReason::differentModel: return QStringLiteral("stored by another model");
    case EventReason::differentTemplate: return QStringLiteral("the chat template changed");
    case EventReason::numerics: return QStringLiteral("stored by other arithmetic");
    case EventReason::partialBlock: return QStringLiteral("end of a block that was not full");
    case EventReason::windowHole: return QStringLiteral("the sliding window before it is gone");
    case EventReason::cacheOff: return QStringLiteral("the cache is off");
    case EventReason::corruptPayload: return QStringLiteral("stored copy failed its checksum");
    case EventReason::lru: return QStringLiteral("lru");
    case EventReason::fifo: return QStringLiteral("fifo");
    case EventReason::lfu: return QStringLiteral("lfu");
    case EventReason::belady: return QStringLiteral("optimum");
    case EventReason::deadBranchFirst: return QStringLiteral("dead branch first");
    case EventReason::finished: return QStringLiteral("finished");
    case EventReason::cancelled: return QStringLiteral("stopped");
    case EventReason::preempted: return QStringLiteral("preempted");
    case EventReason::edited: return QStringLiteral("message edited");
    case EventReason::regenerated: return QStringLiteral("reply regenerated");
    case EventReason::dropped: return QStringLiteral("dropped by you");
    case EventReason::windowPassed: return QStringLiteral("the window moved on");
    case EventReason::contextDropped: return QStringLiteral("oldest turns dropped");
    case EventReason::modelUnloaded: return QStringLiteral("model unloaded");
    case EventReason::forked: return QStringLiteral("forked");
    case EventReason::deduplicated: return QStringLiteral("same tokens cached already");
    case EventReason::pinnedMessage: return QStringLiteral("message pinned");
    case EventReason::pinnedBlock: return QStringLiteral("block pinned");
    case EventReason::systemPromptEdited: return QStringLiteral("the system prompt was edited");
    case EventReason::branchSwitched: return QStringLiteral("another branch shown");
    }
    return {};
}

QColor kindColour(const CacheEvent &event, const QColor &grey)
{
    using api::BlockState;
    switch (event.kind) {
    case EventKind::allocate:
    case EventKind::copyOnWrite: return stateColour(BlockState::writing);
    case EventKind::reference: return stateColour(event.references > 1 ? BlockState::shared : BlockState::inUse);
    case EventKind::seal:
    case EventKind::hit: return stateColour(BlockState::inUse);
    case EventKind::release: return stateColour(BlockState::cached);
    case EventKind::pin: return stateColour(BlockState::pinned);
    case EventKind::evict:
    case EventKind::regret:
    case EventKind::deadBranch: return QColor::fromRgb(kEvictedEdge);
    case EventKind::restore:
    case EventKind::promote: return QColor::fromRgb(kRestoredColour);
    case EventKind::store:
    case EventKind::demote: return stateColour(BlockState::cached);
    case EventKind::miss:
    case EventKind::unpin:
    case EventKind::free: return grey;
    }
    return grey;
}

namespace {

QString duration(std::uint64_t ms)
{
    if (ms < 1000)
        return QStringLiteral("%1 ms").arg(ms);
    if (ms < 120'000)
        return QStringLiteral("%1 s").arg(ms / 1000);
    if (ms < 2 * 3'600'000)
        return QStringLiteral("%1 min").arg(ms / 60'000);
    return QStringLiteral("%1 h").arg(grouped(ms / 3'600'000));
}

QString tierWord(Tier tier)
{
    switch (tier) {
    case Tier::device: return QStringLiteral("memory");
    case Tier::host: return QStringLiteral("host memory");
    case Tier::disk: return QStringLiteral("disk");
    }
    return {};
}

// Titles are long and stand in every line: enough of one to know it again.
QString brief(const QString &title)
{
    const QString kept = title.size() > 20 ? title.left(17).trimmed() + QStringLiteral("…") : title;
    return kept.endsWith(QLatin1Char('.')) ? kept.chopped(1) : kept; // a comma follows
}

QString evictDetail(const EventRow &row, const CacheEvent &event, const QString &title)
{
    QStringList parts{reasonWord(event.reason)};
    if (row.count == 1) {
        parts << QStringLiteral("idle ") + duration(event.a) << QStringLiteral("used %1×").arg(grouped(event.b));
    } else {
        parts << QStringLiteral("idle ") + duration(row.sumA / row.count) + QStringLiteral(" on average")
              << QStringLiteral("used %1×").arg(threeDigits(double(row.sumB) / row.count));
    }
    const QString text = parts.join(QStringLiteral(", "));
    return title.isEmpty() ? text : text + QStringLiteral(": ") + title;
}

// Parts that are not empty, with commas.
QString joined(const QStringList &parts)
{
    QStringList kept;
    for (const QString &part : parts)
        if (!part.isEmpty())
            kept << part;
    return kept.join(QStringLiteral(", "));
}

} // namespace

QString eventObject(const EventRow &row, const CacheEvent &event, const EventContext &context)
{
    const std::uint64_t size = std::max<std::uint64_t>(1, context.blockSize);
    if (event.kind == EventKind::hit) {
        const std::uint64_t blocks = event.a / size;
        if (event.a % size == 0 && blocks)
            return count(blocks, QStringLiteral("block"), QStringLiteral("blocks"));
        return count(event.a, QStringLiteral("token"), QStringLiteral("tokens"));
    }
    if (event.kind == EventKind::miss)
        return count(event.b, QStringLiteral("token"), QStringLiteral("tokens"));
    if (row.count > 1)
        return count(row.count, QStringLiteral("block"), QStringLiteral("blocks"));
    if (event.block == kNoBlock.value)
        return QStringLiteral("1 block");
    return QStringLiteral("block ") + grouped(event.block);
}

QString eventDetail(const EventRow &row, const CacheEvent &event, const EventContext &context)
{
    const QString title = brief(context.titleOf && event.session ? context.titleOf(SessionId{event.session}) : QString());
    const QString group = context.groupName ? context.groupName(event.group) : QString();
    const QString reason = reasonWord(event.reason);
    switch (event.kind) {
    case EventKind::evict: return joined({evictDetail(row, event, title), group});
    case EventKind::allocate:
        return joined({title, QStringLiteral("its %1 block").arg(ordinal(std::uint64_t(event.a) + row.count)), reason, group});
    case EventKind::seal: {
        const QString tokens = QStringLiteral("tokens %1–%2").arg(grouped(event.a),
                                                                  grouped(event.a + std::max<std::uint64_t>(1, row.sumB) - 1));
        return joined({title, tokens, group});
    }
    case EventKind::hit:
        return joined({title, QStringLiteral("%1 of %2 tokens").arg(grouped(event.a), grouped(event.b)),
                       tierWord(event.tier)});
    case EventKind::miss: return joined({reason, title, QStringLiteral("from token ") + grouped(event.a)});
    case EventKind::restore:
        return joined({title, QStringLiteral("from disk"), bytes(row.sumA), seconds(double(row.sumB) * 1e-6), group});
    case EventKind::store: return joined({title, QStringLiteral("to disk"), bytes(row.sumA), group});
    case EventKind::demote: return joined({title, QStringLiteral("to ") + tierWord(event.tier), reason, group});
    case EventKind::promote: return joined({title, QStringLiteral("to ") + tierWord(event.tier), reason, group});
    case EventKind::copyOnWrite: return joined({title, QStringLiteral("of block ") + grouped(event.a), reason, group});
    case EventKind::regret:
        return joined({QStringLiteral("evicted %1 before").arg(duration(event.a)),
                       QStringLiteral("%1 to compute again").arg(count(row.sumB, QStringLiteral("token"), QStringLiteral("tokens"))),
                       title});
    case EventKind::release:
        return joined({title, reason, row.count == 1 && event.references ? QStringLiteral("still held %1×").arg(event.references) : QString(), group});
    case EventKind::reference:
        return joined({title, row.count == 1 && event.references > 1 ? QStringLiteral("held %1×").arg(event.references) : QString(), group});
    case EventKind::pin:
    case EventKind::unpin:
    case EventKind::deadBranch:
    case EventKind::free: return joined({reason, title, group});
    }
    return reason;
}

void compileSearch(EventFilter &filter, const QString &text,
                   const std::vector<std::pair<SessionId, QString>> &titles)
{
    const QString wanted = text.trimmed();
    filter.searching = !wanted.isEmpty();
    filter.textKinds = filter.textReasons = 0;
    filter.textSessions.clear();
    filter.textBlock.reset();
    if (!filter.searching)
        return;
    const auto has = [&](const QString &where) { return where.contains(wanted, Qt::CaseInsensitive); };
    for (int k = 0; k < api::kEventKinds; ++k)
        if (has(kindWord(EventKind(k))) || has(kindsWord(EventKind(k))))
            filter.textKinds |= 1u << k;
    for (int r = 1; r < api::kEventReasons; ++r)
        if (has(reasonWord(EventReason(r))))
            filter.textReasons |= 1u << r;
    for (const auto &[id, title] : titles)
        if (has(title))
            filter.textSessions.insert(std::uint32_t(id.value));
    static const QRegularExpression number(QStringLiteral("^(?:block\\s+)?([\\d,]+)$"),
                                           QRegularExpression::CaseInsensitiveOption);
    if (const auto match = number.match(wanted); match.hasMatch()) {
        bool ok = false;
        const auto block = match.captured(1).remove(QLatin1Char(',')).toUInt(&ok);
        if (ok)
            filter.textBlock = block;
    }
}

} // namespace kvilt::ui
