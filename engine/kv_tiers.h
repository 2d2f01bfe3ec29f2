// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/host_tier.h"
#include "engine/kv/kv_cache.h"
#include "engine/sequence.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kvilt::store {
class KvStore;
}

namespace kvilt {

// Moves blocks between the pool, the host's memory (beside a GPU only) and the disk: hands sealed ones out, brings wanted
// ones back from the nearest place. What cannot be read is forgotten and computed instead; storing never fails a generation.
class KvTiers {
public:
    using Sequences = std::map<std::uint64_t, std::unique_ptr<Sequence>>;

    // `kvStore` may be null: nothing goes to the disk. `hostBytes`: for payloads in the host's memory; 0: none are kept.
    KvTiers(kv::KvCache &cache, backend::Program &program, const kv::KvLayout &layout, store::KvStore *kvStore,
            std::uint64_t hostBytes, std::function<std::uint64_t()> clockNs);

    Result<void> indexStored(); // what the store holds becomes findable
    // Reads blocks for sequences in stage `restoring`, oldest first, for about `seconds`. True: something was read.
    bool restoreSome(Sequences &sequences, double seconds);
    void storeSealed();         // exports what was sealed and posts it to the store thread
    void takeCommitted();       // what the store thread has committed since
    Result<void> flush();
    std::uint64_t bytesOnDisk() const;
    std::uint64_t bytesInHost() const { return m_host.bytes(); }
    void dropHost(); // its payloads are of no use any more
    void rememberRoot(const std::string &salt); // before the first block under it is sealed
    void setTip(const Sequence &sequence);      // its branch ends here now; before its blocks are released

    // Copy orders of an allocation, done before the next plan runs.
    void copyLater(const kv::CopyOrder &copy) { m_copies.push_back(copy); }
    std::vector<kv::CopyOrder> takeCopies() { return std::exchange(m_copies, {}); }

private:
    void restoreFor(Sequence &sequence, std::uint64_t begin, std::uint64_t limit);
    bool restoreOne(Sequence &sequence, const kv::RestoreOrder &order);
    bool promote(Sequence &sequence, const kv::RestoreOrder &order, std::span<const std::byte> bytes);
    void demote(const kv::SealedBlock &block, std::span<const std::byte> bytes);
    void forgetInHost(const std::vector<HostTier::Key> &gone, api::EventReason reason);
    bool writesToDisk() const;

    kv::KvCache &m_cache;
    backend::Program &m_program;
    const kv::KvLayout &m_layout;
    store::KvStore *m_store;
    HostTier m_host;
    std::function<std::uint64_t()> m_clockNs;
    std::string m_numerics;
    std::set<std::string> m_salts;
    std::vector<kv::CopyOrder> m_copies;
    std::vector<std::byte> m_payload; // scratch
};

} // namespace kvilt
