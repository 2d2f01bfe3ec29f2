// SPDX-License-Identifier: Apache-2.0
#include "engine/kv_tiers.h"

#include "engine/store/kv_store.h"

#include <algorithm>

namespace kvilt {

KvTiers::KvTiers(kv::KvCache &cache, backend::Program &program, const kv::KvLayout &layout, store::KvStore *kvStore,
                 std::uint64_t hostBytes, std::function<std::uint64_t()> clockNs)
    : m_cache(cache), m_program(program), m_layout(layout), m_store(kvStore), m_host(hostBytes),
      m_clockNs(std::move(clockNs)), m_numerics(program.numerics())
{
}

Result<void> KvTiers::indexStored()
{
    if (m_store == nullptr)
        return {};
    m_store->forEach([this](const store::StoredEntry &entry) {
        m_cache.addStored({.name = entry.key.name,
                           .group = entry.key.group,
                           .numerics = entry.key.numerics,
                           .row = entry.row,
                           .bytes = entry.bytes});
    });
    return {};
}

bool KvTiers::restoreSome(Sequences &sequences, double seconds)
{
    const std::uint64_t begin = m_clockNs();
    const auto limit = std::uint64_t(seconds * 1e9);
    bool worked = false;
    for (auto &[id, s] : sequences) {
        if (s->stage != Sequence::Stage::restoring)
            continue;
        if (worked && m_clockNs() - begin > limit)
            break;
        worked = true;
        restoreFor(*s, begin, limit);
    }
    return worked;
}

void KvTiers::restoreFor(Sequence &s, std::uint64_t begin, std::uint64_t limit)
{
    const std::uint64_t started = m_clockNs();
    std::vector<std::int64_t> rows;
    do {
        const kv::RestoreOrder order = s.restores.front();
        if (!restoreOne(s, order)) {
            m_cache.release(s.id, api::EventReason::corruptPayload);
            s.restores.clear();
            s.stage = Sequence::Stage::waiting; // looks up again: what is left, else computes
            s.restoreFailed = true;
            break;
        }
        if (order.tier == api::Tier::disk)
            rows.push_back(order.row);
        s.restores.pop_front();
        ++s.stats.restoredBlocks;
    } while (!s.restores.empty() && m_clockNs() - begin <= limit);
    if (s.stage == Sequence::Stage::restoring && s.restores.empty()) {
        s.stage = Sequence::Stage::running;
        s.stats.phase = SequencePhase::prefill;
    }
    s.stats.restoreSeconds += double(m_clockNs() - started) * 1e-9;
    if (m_store != nullptr && !rows.empty())
        m_store->touch(rows);
}

bool KvTiers::restoreOne(Sequence &s, const kv::RestoreOrder &order)
{
    if (order.tier == api::Tier::host) {
        const HostTier::Entry *entry = m_host.find({order.name, order.group});
        return entry && promote(s, order, entry->bytes); // gone meanwhile: the next lookup finds what is left
    }
    const std::uint64_t started = m_clockNs();
    const store::PayloadKey key{order.name, order.group, order.numerics};
    const auto first = std::size_t(order.firstToken);
    const auto tokens = std::span<const TokenId>(s.tokens).subspan(first, m_layout.blockSize);
    m_payload.resize(m_layout.bytesPerBlock(order.group.value));
    const store::ReadOutcome outcome =
        m_store == nullptr ? store::ReadOutcome::missing : m_store->read(order.row, key, tokens, m_payload);
    if (outcome == store::ReadOutcome::ok) {
        const Result<void> filled = m_program.importBlock(order.group, order.block, m_payload);
        if (filled) {
            m_cache.restored(s.id, order, std::uint32_t((m_clockNs() - started) / 1000));
            return true;
        }
        if (filled.error().code == ErrorCode::device || filled.error().code == ErrorCode::outOfMemory)
            return false; // the payload is good: the next step says what has become of the device
    }
    m_cache.forgetStored(order.name, order.group, order.numerics,
                         outcome == store::ReadOutcome::missing ? api::EventReason::evicted
                                                                : api::EventReason::corruptPayload);
    return false;
}

bool KvTiers::promote(Sequence &s, const kv::RestoreOrder &order, std::span<const std::byte> bytes)
{
    const std::uint64_t started = m_clockNs();
    if (!m_program.importBlock(order.group, order.block, bytes))
        return false; // the device: the next step says what has become of it
    m_cache.restored(s.id, order, std::uint32_t((m_clockNs() - started) / 1000), api::Tier::host);
    return true;
}

bool KvTiers::writesToDisk() const
{
    return m_store != nullptr && m_store->writable();
}

void KvTiers::storeSealed()
{
    std::vector<kv::SealedBlock> sealed = m_cache.takeSealed();
    if (!writesToDisk() && !m_host.enabled())
        return;
    for (kv::SealedBlock &block : sealed) {
        const bool toHost = m_host.enabled() && !m_host.holds({block.name, block.group});
        if (!toHost && !writesToDisk())
            continue;
        std::vector<std::byte> bytes(m_layout.bytesPerBlock(block.group.value));
        if (!m_program.exportBlock(block.group, block.block, bytes))
            continue; // computed again some day
        if (toHost)
            demote(block, bytes);
        if (!writesToDisk())
            continue;
        store::NewPayload payload{.key = {block.name, block.group, m_numerics},
                                  .parent = block.parentName,
                                  .firstToken = block.firstToken,
                                  .tokens = std::move(block.tokens),
                                  .session = block.session,
                                  .turn = block.turn};
        payload.bytes = std::move(bytes);
        m_store->put(std::move(payload)); // declined: counted by the store
    }
}

void KvTiers::demote(const kv::SealedBlock &block, std::span<const std::byte> bytes)
{
    forgetInHost(m_host.put({block.name, block.group}, bytes), api::EventReason::lru);
    if (m_host.holds({block.name, block.group}))
        m_cache.markStored({block.name, block.group, m_numerics, 0, bytes.size(), api::Tier::host}, block.session, block.turn);
}

void KvTiers::forgetInHost(const std::vector<HostTier::Key> &gone, api::EventReason reason)
{
    for (const HostTier::Key &key : gone)
        m_cache.forgetStored(key.name, key.group, m_numerics, reason, api::Tier::host);
}

void KvTiers::takeCommitted()
{
    if (m_store == nullptr)
        return;
    for (const store::KvCompletion &done : m_store->takeCompletions()) {
        const kv::StoredPayload payload{done.key.name, done.key.group, done.key.numerics, done.row, done.bytes};
        if (done.kind == store::KvCompletion::Kind::stored)
            m_cache.markStored(payload, done.session, done.turn);
        else
            m_cache.forgetStored(payload.name, payload.group, payload.numerics, done.reason);
    }
}

void KvTiers::dropHost()
{
    forgetInHost(m_host.clear(), api::EventReason::dropped);
}

void KvTiers::rememberRoot(const std::string &salt)
{
    if (m_store != nullptr && m_store->writable() && m_salts.insert(salt).second)
        m_store->rememberRoot(m_cache.config().identity, salt);
}

void KvTiers::setTip(const Sequence &s)
{
    if (m_store == nullptr || !m_store->writable() || s.request.session.value == 0 || s.request.branch.value == 0 || !m_cache.holds(s.id))
        return;
    const std::vector<NodeId> path = m_cache.path(s.id);
    if (path.empty())
        return;
    if (const auto name = m_cache.name(path.back()))
        m_store->setTip(s.request.session, s.request.branch, *name);
}

Result<void> KvTiers::flush()
{
    storeSealed();
    if (m_store == nullptr)
        return {};
    auto result = m_store->flush();
    takeCommitted();
    return result;
}

std::uint64_t KvTiers::bytesOnDisk() const
{
    return m_store == nullptr ? 0 : m_store->stats().bytes;
}

} // namespace kvilt
