// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/blockmap/words.h"

#include "ui/widgets/format.h"

namespace kvilt::ui {

QString stateWord(api::BlockState state)
{
    switch (state) {
    case api::BlockState::free: return QStringLiteral("Free");
    case api::BlockState::inUse: return QStringLiteral("In use");
    case api::BlockState::cached: return QStringLiteral("Cached, idle");
    case api::BlockState::shared: return QStringLiteral("Shared");
    case api::BlockState::pinned: return QStringLiteral("Pinned");
    case api::BlockState::writing: return QStringLiteral("Being written");
    case api::BlockState::deadBranch: return QStringLiteral("Dead branch");
    }
    return {};
}

QString ribbonWord(api::RibbonState state)
{
    switch (state) {
    case api::RibbonState::memory: return QStringLiteral("in memory");
    case api::RibbonState::shared: return QStringLiteral("in memory, shared");
    case api::RibbonState::pinned: return QStringLiteral("in memory, pinned");
    case api::RibbonState::writing: return QStringLiteral("being written");
    case api::RibbonState::disk: return QStringLiteral("only on disk, will be restored");
    case api::RibbonState::evicted: return QStringLiteral("evicted, will be computed again");
    case api::RibbonState::droppedByWindow: return QStringLiteral("passed by the window, not needed");
    case api::RibbonState::unused: return QStringLiteral("not used yet");
    }
    return {};
}

QString colourByWord(ColourBy by)
{
    switch (by) {
    case ColourBy::state: return QStringLiteral("state");
    case ColourBy::owner: return QStringLiteral("owner");
    case ColourBy::age: return QStringLiteral("age");
    case ColourBy::hits: return QStringLiteral("hits");
    case ColourBy::references: return QStringLiteral("references");
    case ColourBy::eviction: return QStringLiteral("next to be evicted");
    }
    return {};
}

QString arrangeByWord(ArrangeBy by)
{
    switch (by) {
    case ArrangeBy::block: return QStringLiteral("block");
    case ArrangeBy::session: return QStringLiteral("session");
    case ArrangeBy::prefixTree: return QStringLiteral("prefix tree");
    }
    return {};
}

QString ordinal(std::uint64_t n)
{
    const std::uint64_t tens = n % 100;
    const char *ending = "th";
    if (tens < 11 || tens > 13) {
        switch (n % 10) {
        case 1: ending = "st"; break;
        case 2: ending = "nd"; break;
        case 3: ending = "rd"; break;
        default: break;
        }
    }
    return grouped(n) + QLatin1String(ending);
}

QString lowerFirst(QString text)
{
    if (!text.isEmpty())
        text[0] = text[0].toLower();
    return text;
}

} // namespace kvilt::ui
