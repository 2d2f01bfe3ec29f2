// SPDX-License-Identifier: Apache-2.0
// What sm_90 adds: copies by the copy engine, barriers that count bytes, products of a warpgroup. As unkind as the rest: a copy
// arrives at once or only when somebody waits for it, a product reads its registers and shared memory at the last moment.
#include "kernels/cuda/emulator/block.h"

#include <cstring>
#include <utility>

namespace kvilt::kernels::cuda::emulator {
namespace {

void fail(const std::string &what)
{
    if (block().error.empty())
        block().error = what;
}

void advance(BarrierState &state)
{
    if (state.arrived < state.count || state.bytes != 0)
        return;
    state.arrived = 0;
    ++state.phase;
}

BarrierState *stateOf(std::uint64_t *barrier)
{
    const auto at = block().barriers.find(barrier);
    if (at != block().barriers.end())
        return &at->second;
    fail("a barrier that nobody has initialised");
    return nullptr;
}

void deliver(const Delivery &delivery)
{
    std::memcpy(delivery.to, delivery.data.data(), delivery.data.size());
    if (BarrierState *state = stateOf(delivery.barrier)) {
        state->bytes -= std::int64_t(delivery.data.size());
        advance(*state);
    }
}

void request(Delivery delivery)
{
    const Block &b = block();
    if (delivery.to < b.shared || delivery.to + delivery.data.size() > b.shared + b.launch->sharedBytes)
        return fail("a bulk copy that leaves shared memory");
    if ((*b.random)() % 2)
        deliver(delivery);
    else
        block().deliveries.push_back(std::move(delivery));
}

bool aligned(const void *p, std::uintptr_t to)
{
    return reinterpret_cast<std::uintptr_t>(p) % to == 0;
}

// --- matrices in shared memory, by descriptor (PTX ISA, "Matrix Descriptor"): rows of 128 bytes, swizzled over 1024
struct SharedMatrix {
    std::uint32_t start, leading, stride; // bytes

    explicit SharedMatrix(std::uint64_t d)
        : start(std::uint32_t(d & 0x3fff) << 4), leading(std::uint32_t(d >> 16 & 0x3fff) << 4), stride(std::uint32_t(d >> 32 & 0x3fff) << 4)
    {
        if (d >> 62 != 1 || (d >> 49 & 7) != 0)
            fail("a matrix descriptor that is not of the 128-byte swizzle");
    }

    // Element (row, k) of a matrix whose neighbours in memory are k: eight rows of 128 bytes, `stride` to the next eight.
    std::uint32_t byK(std::uint32_t row, std::uint32_t k) const { return row % 8 * 128 + row / 8 * stride + k * 2; }
    // Neighbours are rows: 64 of them, `leading` to the next 64; 8 k of 128 bytes, `stride` to the next 8.
    std::uint32_t byRow(std::uint32_t row, std::uint32_t k) const
    {
        return row % 64 * 2 + row / 64 * leading + k % 8 * 128 + k / 8 * stride;
    }

    std::uint16_t at(std::uint32_t offset) const
    {
        std::uint32_t address = start + offset;
        address ^= (address >> 7 & 7u) << 4;
        const Block &b = block();
        if (address + 2 > b.launch->sharedBytes) {
            fail("a product that reads beyond shared memory");
            return 0;
        }
        std::uint16_t bits;
        std::memcpy(&bits, b.shared + address, 2);
        return bits;
    }
};

float value(std::uint16_t bits, bool bfloat)
{
    return bfloat ? bf16ToF32(bits) : f16ToF32(bits);
}

// Element (row 0..15 of the warp, k) of A.
float elementOfA(const WideProduct *const *lanes, std::uint32_t row, std::uint32_t k, std::uint32_t warp)
{
    const WideProduct &p = *lanes[row % 8 * 4 + k % 8 / 2];
    if (p.a)
        return value(std::uint16_t(p.a[k / 8 * 2 + row / 8] >> (k % 2 * 16)), p.bfloat);
    const SharedMatrix a(p.aMatrix);
    return value(a.at(a.byK(warp * 16 + row, k)), p.bfloat);
}

// One product of one warp: rows 16 * warp .. of the warpgroup's 64.
void multiply(const WideProduct *const *lanes, std::uint32_t warp)
{
    const WideProduct &first = *lanes[0];
    const SharedMatrix b(first.bMatrix);
    float a[16][16];
    for (std::uint32_t row = 0; row < 16; ++row)
        for (std::uint32_t k = 0; k < 16; ++k)
            a[row][k] = elementOfA(lanes, row, k, warp);
    for (std::uint32_t column = 0; column < first.columns; ++column) {
        float y[16];
        for (std::uint32_t k = 0; k < 16; ++k)
            y[k] = value(b.at(first.bByColumns ? b.byRow(column, k) : b.byK(column, k)), first.bfloat);
        for (std::uint32_t row = 0; row < 16; ++row) {
            float &sum = lanes[row % 8 * 4 + column % 8 / 2]->sums[column / 8 * 4 + row / 8 * 2 + column % 2];
            float total = first.accumulate ? sum : 0.0f;
            for (std::uint32_t k = 0; k < 16; ++k)
                total = total + a[row][k] * y[k];
            sum = total;
        }
    }
}

} // namespace

std::uint32_t sharedAddress(const void *p)
{
    return std::uint32_t(static_cast<const std::byte *>(p) - block().shared);
}

void syncGroup(std::uint32_t group, std::uint32_t threads)
{
    if (group == 0 || group > 15 || threads % 32)
        fail("a named barrier that no device has");
    self().group = group;
    self().groupThreads = threads;
    pause(Wait::group);
}

void initBarrier(std::uint64_t *barrier, std::uint32_t count)
{
    if (!aligned(barrier, 8))
        fail("a barrier that is not aligned");
    block().barriers[barrier] = {count, 0, 0, 0};
}

void arrive(std::uint64_t *barrier, std::uint32_t bytes)
{
    BarrierState *state = stateOf(barrier);
    if (!state)
        return;
    if (state->arrived == state->count)
        fail("more arrivals at a barrier than it counts");
    state->bytes += bytes;
    ++state->arrived;
    advance(*state);
}

bool phaseDone(std::uint64_t *barrier, std::uint32_t parity)
{
    std::vector<Delivery> &all = block().deliveries;
    for (std::size_t i = 0; i < all.size();)
        if (all[i].barrier == barrier && (*block().random)() % 2) {
            deliver(all[i]);
            all.erase(all.begin() + std::ptrdiff_t(i));
        } else {
            ++i;
        }
    const BarrierState *state = stateOf(barrier);
    return !state || state->phase % 2 != parity;
}

void poll()
{
    pause(Wait::poll);
}

void copyBulk(std::byte *shared, const void *global, std::uint32_t bytes, std::uint64_t *barrier)
{
    if (!aligned(shared, 16) || !aligned(global, 16) || bytes % 16 || bytes == 0)
        return fail("a bulk copy that is not aligned");
    const auto *from = static_cast<const std::byte *>(global);
    request({barrier, shared, {from, from + bytes}});
}

void copyBox(std::byte *shared, const TensorView &view, const std::uint32_t (&at)[4], std::uint64_t *barrier)
{
    if (!aligned(shared, 1024) || !aligned(view.base, 16) || view.blockStride % 16 || view.dim % 8 || view.boxTokens > 256)
        return fail("a tensor that the copy engine does not take");
    Delivery delivery{barrier, shared, std::vector<std::byte>(view.boxTokens * 128)};
    for (std::uint32_t row = 0; row < view.boxTokens; ++row)
        for (std::uint32_t i = 0; i < 64; ++i) {
            const std::uint32_t token = at[1] + row, d = at[0] + i;
            std::uint16_t bits = 0; // what lies outside reads as zero
            if (token < view.tokens && d < view.dim && at[2] < view.heads)
                std::memcpy(&bits,
                            view.base + at[3] * view.blockStride + ((std::uint64_t(at[2]) * view.tokens + token) * view.dim + d) * 2, 2);
            std::memcpy(&delivery.data[row * 128 + ((i / 8 ^ row % 8) * 8 + i % 8) * 2], &bits, 2);
        }
    request(std::move(delivery));
}

void addProduct(const WideProduct &product)
{
    self().openProducts.push_back(product);
}

void commitProducts()
{
    self().products.push_back(std::exchange(self().openProducts, {}));
}

void waitForProducts(std::size_t pending)
{
    struct In {
        Fiber *fiber;
        std::size_t pending;
    };
    const In in{&self(), pending};
    warpTogether(
        [](const void *const *ins, void *const *) {
            const auto fiber = [&](std::uint32_t lane) -> Fiber & { return *static_cast<const In *>(ins[lane])->fiber; };
            const std::uint32_t warp = std::uint32_t(&fiber(0) - block().fibers.data()) / 32 % 4;
            while (fiber(0).products.size() > static_cast<const In *>(ins[0])->pending) {
                for (std::size_t i = 0; i < fiber(0).products.front().size(); ++i) {
                    const WideProduct *lanes[32];
                    for (std::uint32_t l = 0; l < 32; ++l)
                        lanes[l] = &fiber(l).products.front()[i];
                    multiply(lanes, warp);
                }
                for (std::uint32_t l = 0; l < 32; ++l)
                    fiber(l).products.pop_front();
            }
        },
        &in, nullptr);
}

} // namespace kvilt::kernels::cuda::emulator
