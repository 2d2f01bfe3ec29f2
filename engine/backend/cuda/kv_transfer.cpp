// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/kv_transfer.h"

#include <algorithm>
#include <cstring>

namespace kvilt::backend::cuda {
namespace {

constexpr std::uint64_t kInboundBytes = 64u << 20; // gathered a group at most: pinned memory is dear
constexpr std::uint64_t kMostSlots = 256;

std::uint64_t rounded(std::uint64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

} // namespace

Result<KvTransfer> KvTransfer::make(Device &device, const kv::KvLayout &layout)
{
    KvTransfer out;
    out.m_inbound.resize(layout.groups.size());
    for (std::uint32_t g = 0; g < layout.groups.size(); ++g)
        for (std::uint32_t i = 0; i < layout.groups[g].layers.size(); ++i) {
            const std::uint32_t layer = layout.groups[g].layers[i];
            out.m_layers.resize(std::max<std::size_t>(out.m_layers.size(), layer + 1));
            out.m_layers[layer].group = g;
            out.m_layers[layer].indexInGroup = i;
            out.m_layers[layer].owns = true;
        }
    for (Layer &layer : out.m_layers) {
        KVILT_TRY(layer.there, device.makeEvent());
    }
    KVILT_TRY(out.m_computed, device.makeEvent());
    KVILT_TRY(out.m_exported, device.makeEvent());
    return out;
}

Result<void> KvTransfer::prepareInbound(Device &device, const KvGroup &group, Inbound &inbound)
{
    if (inbound.slots > 0)
        return {};
    const std::uint64_t slots = std::clamp<std::uint64_t>(kInboundBytes / group.storedBytes(), 1, kMostSlots);
    const std::size_t bytes = rounded(slots * group.storedLayerBytes()) * group.layers();
    KVILT_TRY(inbound.host, device.allocatePinned(bytes));
    KVILT_TRY(inbound.device, device.allocate(bytes));
    KVILT_TRY(inbound.hostBlocks, device.allocatePinned(slots * sizeof(std::uint32_t)));
    KVILT_TRY(inbound.blocks, device.allocate(slots * sizeof(std::uint32_t)));
    KVILT_TRY(inbound.done, device.makeEvent());
    inbound.slots = static_cast<std::uint32_t>(slots);
    return {};
}

Result<void> KvTransfer::importBlock(Device &device, const std::vector<KvGroup> &groups, std::uint32_t group, std::uint32_t block,
                                     std::span<const std::byte> in)
{
    Inbound &inbound = m_inbound[group];
    KVILT_TRY_VOID(prepareInbound(device, groups[group], inbound));
    if (inbound.waiting.size() == inbound.slots)
        KVILT_TRY_VOID(flush(device, groups));
    if (inbound.used) { // the last flush still reads what we are about to overwrite
        KVILT_TRY_VOID(device.synchronize(*inbound.done));
        inbound.used = false;
    }
    const std::uint64_t bytes = groups[group].storedLayerBytes();
    const std::uint64_t layerStride = rounded(inbound.slots * bytes);
    for (std::uint32_t layer = 0; layer < groups[group].layers(); ++layer)
        std::memcpy(inbound.host.data() + layer * layerStride + inbound.waiting.size() * bytes, in.data() + layer * bytes, bytes);
    inbound.hostBlocks.as<std::uint32_t>()[inbound.waiting.size()] = block;
    inbound.waiting.push_back(block);
    return {};
}

Result<void> KvTransfer::flush(Device &device, const std::vector<KvGroup> &groups)
{
    const bool any = std::any_of(m_inbound.begin(), m_inbound.end(), [](const Inbound &i) { return !i.waiting.empty(); });
    if (!any)
        return {};
    KVILT_TRY_VOID(device.record(*m_computed, Queue::compute));
    KVILT_TRY_VOID(device.waitFor(Queue::copy, *m_computed));
    for (Inbound &inbound : m_inbound)
        if (!inbound.waiting.empty())
            KVILT_TRY_VOID(device.upload(Queue::copy, inbound.blocks.data(), inbound.hostBlocks.data(),
                                         inbound.waiting.size() * sizeof(std::uint32_t)));
    for (Layer &layer : m_layers)
        if (layer.owns && !m_inbound[layer.group].waiting.empty())
            KVILT_TRY_VOID(flushLayer(device, groups[layer.group], layer));
    for (Inbound &inbound : m_inbound) {
        if (inbound.waiting.empty())
            continue;
        inbound.waiting.clear();
        inbound.used = true;
        KVILT_TRY_VOID(device.record(*inbound.done, Queue::copy));
    }
    return {};
}

Result<void> KvTransfer::flushLayer(Device &device, const KvGroup &group, Layer &layer)
{
    const Inbound &inbound = m_inbound[layer.group];
    const auto count = static_cast<std::uint32_t>(inbound.waiting.size());
    const std::uint64_t bytes = group.storedLayerBytes();
    const std::uint64_t at = layer.indexInGroup * rounded(inbound.slots * bytes);
    KVILT_TRY_VOID(device.upload(Queue::copy, inbound.device.data() + at, inbound.host.data() + at, count * bytes));
    kernels::cuda::KvConvertOp op;
    op.firstLayer = group.layer(layer.indexInGroup);
    op.layerStride = group.layerStride();
    op.layers = 1;
    op.blocks = inbound.blocks.as<std::uint32_t>();
    op.count = count;
    op.stored = inbound.device.data() + at;
    op.storedStride = bytes;
    KVILT_TRY_VOID(device.run(Queue::copy, op));
    KVILT_TRY_VOID(device.record(*layer.there, Queue::copy));
    layer.waits = true;
    return {};
}

Result<void> KvTransfer::waitForLayer(Device &device, std::uint32_t layer)
{
    if (layer < m_layers.size() && m_layers[layer].waits)
        return device.waitFor(Queue::compute, *m_layers[layer].there);
    return {};
}

Result<void> KvTransfer::waitForAll(Device &device)
{
    for (std::uint32_t layer = 0; layer < m_layers.size(); ++layer)
        KVILT_TRY_VOID(waitForLayer(device, layer));
    forgetWaits();
    return {};
}

void KvTransfer::forgetWaits()
{
    for (Layer &layer : m_layers)
        layer.waits = false;
}

Result<void> KvTransfer::prepareOutbound(Device &device, std::uint64_t bytes)
{
    if (m_outHost.size() < bytes) {
        KVILT_TRY(m_outHost, device.allocatePinned(bytes));
        KVILT_TRY(m_outDevice, device.allocate(bytes));
    }
    if (m_zero.size() > 0)
        return {};
    KVILT_TRY(m_zero, device.allocate(sizeof(std::uint32_t)));
    std::memset(m_outHost.data(), 0, sizeof(std::uint32_t));
    return device.upload(Queue::copy, m_zero.data(), m_outHost.data(), sizeof(std::uint32_t));
}

Result<void> KvTransfer::exportBlock(Device &device, const std::vector<KvGroup> &groups, std::uint32_t index, std::uint32_t block,
                                     std::span<std::byte> out, const Event *written)
{
    const KvGroup &group = groups[index];
    KVILT_TRY_VOID(flush(device, groups)); // it may be on its way in: the copy queue keeps the order
    KVILT_TRY_VOID(prepareOutbound(device, group.storedBytes()));
    if (written)
        KVILT_TRY_VOID(device.waitFor(Queue::copy, *written));
    kernels::cuda::KvConvertOp op;
    op.firstLayer = group.layer(0);
    op.firstLayer.keys += block * group.blockStride(); // so that the list of blocks is the constant {0}
    op.firstLayer.values += block * group.blockStride();
    op.layerStride = group.layerStride();
    op.layers = group.layers();
    op.blocks = m_zero.as<std::uint32_t>();
    op.count = 1;
    op.stored = m_outDevice.data();
    op.storedStride = group.storedBytes();
    op.toStored = true;
    KVILT_TRY_VOID(device.run(Queue::copy, op));
    KVILT_TRY_VOID(device.download(Queue::copy, m_outHost.data(), m_outDevice.data(), group.storedBytes()));
    KVILT_TRY_VOID(device.record(*m_exported, Queue::copy));
    KVILT_TRY_VOID(device.synchronize(*m_exported));
    std::memcpy(out.data(), m_outHost.data(), group.storedBytes());
    return {};
}

} // namespace kvilt::backend::cuda
