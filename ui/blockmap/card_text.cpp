// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/card_text.h"

#include "ui/blockmap/words.h"
#include "ui/widgets/format.h"

#include <QStringList>

namespace kvilt::ui {

namespace {

QString text(const char *words)
{
    return BlockCard::tr(words);
}

QString tokensValue(const Cell &cell, std::uint32_t sessionTokens)
{
    if (cell.tokens == 0)
        return text("from %1, not full yet").arg(grouped(std::uint64_t(cell.firstToken)));
    QString value = QStringLiteral("%1–%2").arg(grouped(std::uint64_t(cell.firstToken)),
                                                grouped(std::uint64_t(cell.firstToken + cell.tokens - 1)));
    if (sessionTokens >= std::uint32_t(cell.firstToken) + cell.tokens)
        value += text(" of %1").arg(grouped(sessionTokens));
    return value;
}

QString usedValue(const Cell &cell, std::int64_t nowMs)
{
    const QString last = cell.lastUseNs ? text("last %1").arg(ago(std::int64_t(cell.lastUseNs / 1'000'000), nowMs))
                                        : QString();
    if (cell.uses == 0)
        return last.isEmpty() ? text("not yet") : text("no hit yet, %1").arg(last);
    return QStringLiteral("%1×, %2").arg(grouped(cell.uses), last);
}

QString heldValue(const CardRequest &r, const Cell &cell)
{
    QStringList titles;
    if (r.described)
        for (const SessionId holder : r.described->holders)
            if (const QString title = r.titleOf ? r.titleOf(holder) : QString(); !title.isEmpty())
                titles << title;
    if (!titles.isEmpty())
        return titles.join(QStringLiteral(", "));
    return cell.references == 1 ? text("1 running reply") : text("%1 running replies").arg(cell.references);
}

QString nextValue(const CardRequest &r, const Cell &cell)
{
    const std::int32_t rank = r.described ? r.described->info.evictionRank : cell.evictionRank;
    if (cell.pinned)
        return text("never, pinned");
    if (rank < 0)
        return text("after those idle now");
    return ordinal(std::uint64_t(rank) + 1) + QStringLiteral(", ") + QString::fromStdString(r.model.policy());
}

} // namespace

CardText cardText(const CardRequest &r)
{
    const Cell &cell = r.model.cell(r.group, r.block);
    const api::BlockState state = r.model.state(r.group, r.block);
    CardText card;
    card.title = text("Block %1").arg(grouped(r.block));
    card.state = lowerFirst(stateWord(state));
    if (state == api::BlockState::free) {
        card.rows.emplace_back(text("Size"), bytes(r.model.bytesPerBlock(r.group)));
        return card;
    }
    QString owner = r.titleOf ? r.titleOf(cell.owner) : QString();
    if (owner.isEmpty() && r.described)
        owner = QString::fromStdString(r.described->ownerTitle);
    card.rows.emplace_back(text("Owner"), owner.isEmpty() ? text("not known") : owner);
    card.rows.emplace_back(text("Tokens"), tokensValue(cell, r.sessionTokens));
    card.rows.emplace_back(text("Used"), usedValue(cell, r.nowMs));
    if (cell.references)
        card.rows.emplace_back(text("Held by"), heldValue(r, cell));
    else
        card.rows.emplace_back(text("Next to go"), nextValue(r, cell));
    if (cell.inHost)
        card.rows.emplace_back(text("In host memory"), text("yes, comes back from there"));
    if (cell.onDisk)
        card.rows.emplace_back(text("On disk"), text("yes, restored after a restart"));
    if (r.described)
        card.tokens = QString::fromStdString(r.described->text).simplified();
    return card;
}

} // namespace kvilt::ui
