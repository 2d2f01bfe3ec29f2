// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/emulator/block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace kvilt::kernels::cuda::emulator {
namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::uint32_t kWarp = 32;
constexpr std::uint32_t kMostShared = 227 * 1024;

std::map<std::string, Kernel, std::less<>> &kernels()
{
    static std::map<std::string, Kernel, std::less<>> all;
    return all;
}

thread_local Block *tBlock = nullptr;

} // namespace

Block &block()
{
    return *tBlock;
}
Fiber &self()
{
    return tBlock->fibers[tBlock->current];
}

namespace {

void switchToScheduler()
{
    Block &block = *tBlock;
#ifdef __SANITIZE_ADDRESS__
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, nullptr, 0);
#endif
    swapcontext(&block.fibers[block.current].context, &block.scheduler);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void fiberMain()
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    Block &block = *tBlock;
    block.kernel->body(block.launch->params.data());
    self().wait = Wait::done;
    switchToScheduler(); // never comes back
}

} // namespace

void pause(Wait what)
{
    self().wait = what;
    switchToScheduler();
}

namespace {

void resume(Block &block, std::uint32_t thread)
{
    block.current = thread;
    block.fibers[thread].wait = Wait::nothing;
#ifdef __SANITIZE_ADDRESS__
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, block.stacks.data() + thread * kStackBytes, kStackBytes);
#endif
    swapcontext(&block.scheduler, &block.fibers[thread].context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void startFiber(Block &block, std::uint32_t thread)
{
    Fiber &fiber = block.fibers[thread];
    fiber.wait = Wait::nothing;
    fiber.groups.clear();
    fiber.open.clear();
    fiber.products.clear();
    fiber.openProducts.clear();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = block.stacks.data() + thread * kStackBytes;
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiberMain, 0);
}

// True when all lanes of a warp wait for each other: runs their common function and lets them go on.
bool releaseWarp(Block &block, std::uint32_t first)
{
    Fiber *lanes = &block.fibers[first];
    for (std::uint32_t l = 0; l < kWarp; ++l)
        if (lanes[l].wait != Wait::warp)
            return false;
    const void *in[kWarp];
    void *out[kWarp];
    for (std::uint32_t l = 0; l < kWarp; ++l) {
        if (lanes[l].function != lanes[0].function)
            block.error = "lanes of a warp call different functions";
        in[l] = lanes[l].in;
        out[l] = lanes[l].out;
        lanes[l].wait = Wait::nothing;
    }
    if (lanes[0].function && block.error.empty())
        lanes[0].function(in, out);
    return true;
}

bool releaseBlock(Block &block)
{
    for (const Fiber &fiber : block.fibers)
        if (fiber.wait != Wait::block)
            return false;
    for (Fiber &fiber : block.fibers)
        fiber.wait = Wait::nothing;
    return true;
}

// Named barriers: as many as it is for have come.
bool releaseGroups(Block &block)
{
    std::map<std::uint32_t, std::vector<Fiber *>> waiting;
    for (Fiber &fiber : block.fibers)
        if (fiber.wait == Wait::group)
            waiting[fiber.group].push_back(&fiber);
    bool any = false;
    for (auto &[group, fibers] : waiting) {
        if (fibers.size() != fibers.front()->groupThreads)
            continue;
        for (Fiber *fiber : fibers)
            fiber->wait = Wait::nothing;
        any = true;
    }
    return any;
}

// Those that poll go on, for a while also when nothing else moves.
bool releasePolls(Block &block, bool moved)
{
    constexpr std::uint32_t kMostPolls = 2000;
    bool polled = false;
    for (Fiber &fiber : block.fibers)
        if (fiber.wait == Wait::poll) {
            fiber.wait = Wait::nothing;
            polled = true;
        }
    block.polls = moved ? 0 : block.polls + 1;
    return polled && block.polls < kMostPolls;
}

bool release(Block &block)
{
    bool any = releaseBlock(block);
    any = releaseGroups(block) || any;
    for (std::uint32_t first = 0; first < block.fibers.size(); first += kWarp)
        any = releaseWarp(block, first) || any;
    return releasePolls(block, any) || any;
}

void runBlock(Block &block, std::mt19937 &random)
{
    std::vector<std::uint32_t> order(block.fibers.size());
    for (std::uint32_t t = 0; t < order.size(); ++t) {
        order[t] = t;
        startFiber(block, t);
    }
    block.barriers.clear();
    block.deliveries.clear();
    block.polls = 0;
    block.random = &random;
    std::memset(block.shared, 0xff, block.launch->sharedBytes);
    while (block.error.empty()) {
        std::shuffle(order.begin(), order.end(), random);
        for (const std::uint32_t t : order)
            if (block.fibers[t].wait == Wait::nothing)
                resume(block, t);
        const auto done = [](const Fiber &fiber) { return fiber.wait == Wait::done; };
        if (std::all_of(block.fibers.begin(), block.fibers.end(), done))
            return;
        if (!release(block))
            block.error = "threads wait for others that never come";
    }
}

std::string check(const Launch &launch, const Kernel &kernel)
{
    if (launch.block[0] != kernel.threads || launch.block[1] != 1 || launch.block[2] != 1)
        return "another block size than the kernel is built for";
    if (launch.paramBytes != kernel.paramBytes)
        return "parameters of another size";
    if (launch.sharedBytes > kMostShared)
        return "too much shared memory";
    if (launch.grid[0] == 0 || launch.grid[1] == 0 || launch.grid[2] == 0 || launch.grid[1] > 65535 || launch.grid[2] > 65535)
        return "a grid that no device takes";
    return {};
}

} // namespace

Registrar::Registrar(const char *name, std::uint32_t threads, std::size_t paramBytes, void (*body)(const void *params))
{
    kernels()[name] = {threads, paramBytes, body};
}

bool hasKernel(std::string_view name)
{
    return kernels().contains(name);
}

std::string run(const Launch &launch, std::uint32_t seed)
{
    const auto found = kernels().find(std::string_view(launch.kernel ? launch.kernel : ""));
    if (found == kernels().end())
        return std::string("no kernel ") + (launch.kernel ? launch.kernel : "(gemm)");
    Block block;
    block.launch = &launch;
    block.kernel = &found->second;
    block.error = check(launch, found->second);
    block.fibers.resize(found->second.threads);
    block.stacks.resize(found->second.threads * kStackBytes);
    // Hardly larger than asked for, so that a sanitizer sees what lies beyond.
    const std::unique_ptr<std::byte, void (*)(void *)> shared(
        static_cast<std::byte *>(std::aligned_alloc(1024, std::max(1024u, (launch.sharedBytes + 1023) / 1024 * 1024))), std::free);
    block.shared = shared.get();
    std::mt19937 random(seed);
    Block *const before = std::exchange(tBlock, &block);
    for (block.index[2] = 0; block.index[2] < launch.grid[2]; ++block.index[2])
        for (block.index[1] = 0; block.index[1] < launch.grid[1]; ++block.index[1])
            for (block.index[0] = 0; block.index[0] < launch.grid[0] && block.error.empty(); ++block.index[0])
                runBlock(block, random);
    tBlock = before;
    return block.error.empty() ? std::string() : found->first + ": " + block.error;
}

std::uint32_t threadIndex()
{
    return tBlock->current;
}
std::uint32_t blockIndex(int axis)
{
    return tBlock->index[axis];
}
std::byte *sharedMemory()
{
    return tBlock->shared;
}
void syncBlock()
{
    pause(Wait::block);
}

void warpTogether(WarpFunction function, const void *in, void *out)
{
    Fiber &fiber = self();
    fiber.function = function;
    fiber.in = in;
    fiber.out = out;
    pause(Wait::warp);
}

void syncWarp()
{
    warpTogether(nullptr, nullptr, nullptr);
}

std::uint32_t shuffle(std::uint32_t value, std::uint32_t fromLane)
{
    struct In {
        std::uint32_t value, from;
    };
    const In in{value, fromLane};
    std::uint32_t out = 0;
    warpTogether(
        [](const void *const *ins, void *const *outs) {
            for (std::uint32_t l = 0; l < kWarp; ++l) {
                const std::uint32_t from = static_cast<const In *>(ins[l])->from % kWarp;
                *static_cast<std::uint32_t *>(outs[l]) = static_cast<const In *>(ins[from])->value;
            }
        },
        &in, &out);
    return out;
}

void copyAsync16(void *shared, const void *global)
{
    if (reinterpret_cast<std::uintptr_t>(shared) % 16 || reinterpret_cast<std::uintptr_t>(global) % 16)
        tBlock->error = "an asynchronous copy that is not aligned";
    else
        self().open.push_back({shared, global});
}

void commitCopies()
{
    self().groups.push_back(std::exchange(self().open, {}));
}

void waitForCopies(int pending)
{
    Fiber &fiber = self();
    while (fiber.groups.size() > std::size_t(pending)) {
        for (const Copy &copy : fiber.groups.front())
            std::memcpy(copy.to, copy.from, 16);
        fiber.groups.erase(fiber.groups.begin());
    }
}

std::uint32_t permuteBytes(std::uint32_t a, std::uint32_t b, std::uint32_t selector)
{
    const std::uint64_t bytes = std::uint64_t(b) << 32 | a;
    std::uint32_t out = 0;
    for (int i = 0; i < 4; ++i) {
        const std::uint32_t chosen = selector >> (4 * i) & 15u;
        std::uint32_t byte = std::uint32_t(bytes >> (8 * (chosen & 7u))) & 255u;
        if (chosen & 8u)
            byte = byte & 128u ? 255u : 0u;
        out |= byte << (8 * i);
    }
    return out;
}

} // namespace kvilt::kernels::cuda::emulator
