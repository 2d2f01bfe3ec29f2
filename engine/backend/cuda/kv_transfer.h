// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/kv_memory.h"

#include <memory>
#include <span>
#include <vector>

namespace kvilt::backend::cuda {

// Blocks between the device's pool and the host's stored form, on the copy queue.
//
// Imports are gathered and go layer by layer, in the model's order whatever groups the layers are of, all blocks of a layer in
// one copy: the step that follows waits for a layer's blocks just before that layer, so that the copy of layer n + 1 runs beside
// the computing of layer n. An import does not begin
// before what was queued for computing so far has run: that may still read what the blocks held before.
class KvTransfer {
public:
    static Result<KvTransfer> make(Device &device, const kv::KvLayout &layout);

    // Takes a copy of `in`; the block is whole for every step submitted from now on.
    Result<void> importBlock(Device &device, const std::vector<KvGroup> &groups, std::uint32_t group, std::uint32_t block,
                             std::span<const std::byte> in);
    // The block as `written` left it (null: nothing that is still queued writes it); waits for the copy, not for steps under way.
    Result<void> exportBlock(Device &device, const std::vector<KvGroup> &groups, std::uint32_t group, std::uint32_t block,
                             std::span<std::byte> out, const Event *written);

    Result<void> flush(Device &device, const std::vector<KvGroup> &groups); // queues what was gathered
    // Queue::compute waits for the blocks of a group's layer that were flushed, `layer` counted in the model.
    Result<void> waitForLayer(Device &device, std::uint32_t layer);
    Result<void> waitForAll(Device &device);
    void forgetWaits();

private:
    // What is gathered for one group: stored forms in pinned memory, [layer][slot], and on the device alike.
    struct Inbound {
        Memory host, device, blocks, hostBlocks;
        std::uint32_t slots = 0;
        std::vector<std::uint32_t> waiting; // the blocks in the slots
        std::unique_ptr<Event> done;        // the last flush: the memory is free again
        bool used = false;
    };
    struct Layer {
        std::unique_ptr<Event> there;
        bool waits = false;
        std::uint32_t group = 0, indexInGroup = 0;
        bool owns = false; // keeps KV of its own
    };

    Result<void> prepareInbound(Device &device, const KvGroup &group, Inbound &inbound);
    Result<void> prepareOutbound(Device &device, std::uint64_t bytes);
    Result<void> flushLayer(Device &device, const KvGroup &group, Layer &layer);

    std::vector<Inbound> m_inbound;    // a group
    std::vector<Layer> m_layers;       // of the model
    std::unique_ptr<Event> m_computed, m_exported;
    Memory m_outHost, m_outDevice, m_zero;
};

} // namespace kvilt::backend::cuda
