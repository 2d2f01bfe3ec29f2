// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/plot_history.h"

#include <algorithm>

namespace kvilt::ui {

void PlotHistory::note(double time)
{
    m_latest = std::max(m_latest, time);
    if (m_earliest == 0)
        m_earliest = time;
}

// Of the tokens looked up within the window; with none, the rate stays what it was.
double PlotHistory::windowRate(double now)
{
    while (m_lookups.size() > 1 && m_lookups[1].time <= now - kRateWindow)
        m_lookups.pop_front();
    const Lookups &first = m_lookups.front();
    const Lookups &last = m_lookups.back();
    if (last.tokens > first.tokens)
        m_rate = std::min(1.0, double(last.hits - first.hits) / double(last.tokens - first.tokens));
    return m_rate;
}

void PlotHistory::addCounts(const api::PoolCounts &counts)
{
    const double time = double(counts.timeNs) * 1e-9;
    const std::uint64_t hits = counts.hitTokensMemory + counts.hitTokensDisk;
    if (!m_lookups.empty() && (counts.lookupTokens < m_lookups.back().tokens || hits < m_lookups.back().hits))
        m_lookups.clear(); // another model: its totals start again
    note(time);
    if (m_lookups.empty())
        m_lookups.push_back({time - 1e-3, m_hitRate.empty() ? 0 : counts.lookupTokens, m_hitRate.empty() ? 0 : hits});
    if (counts.lookupTokens != m_lookups.back().tokens)
        m_lookups.push_back({time, counts.lookupTokens, hits});
    if (counts.lookupTokens)
        m_hitRate.add(time, windowRate(time));
    m_inUse.add(time, counts.inUse + counts.partlyFilled);
    m_occupied.add(time, counts.inUse + counts.partlyFilled + counts.cachedIdle);
    m_evictions.add(time, double(counts.evictions));
    m_regrets.add(time, double(counts.regretted));
    m_counts = counts;
    emit changed();
}

void PlotHistory::addSpeed(double timeSeconds, double tokensPerSecond)
{
    note(timeSeconds);
    m_speed.add(timeSeconds, tokensPerSecond);
    emit changed();
}

void PlotHistory::addRestore(std::uint64_t bytes, std::uint64_t microseconds)
{
    m_restoredBytes += bytes;
    m_restoreMicroseconds += microseconds;
}

double PlotHistory::restoreBytesPerSecond() const
{
    return m_restoreMicroseconds ? double(m_restoredBytes) * 1e6 / double(m_restoreMicroseconds) : 0;
}

void PlotHistory::clear()
{
    for (TimeSeries *series : {&m_hitRate, &m_inUse, &m_occupied, &m_evictions, &m_regrets, &m_speed})
        series->clear();
    m_lookups.clear();
    m_counts = {};
    m_latest = m_earliest = m_rate = 0;
    emit changed();
}

} // namespace kvilt::ui
