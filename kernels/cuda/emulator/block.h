// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/emulator/emulator.h"

#include <deque>
#include <map>
#include <random>
#include <ucontext.h>
#include <vector>

// A block in flight, as the parts of the emulator see it.
namespace kvilt::kernels::cuda::emulator {

struct Kernel {
    std::uint32_t threads;
    std::size_t paramBytes;
    void (*body)(const void *);
};

// poll: goes on by itself and asks again; group: at a named barrier.
enum class Wait : std::uint8_t { nothing, warp, block, group, poll, done };

struct Copy {
    void *to;
    const void *from;
};

struct Fiber {
    ucontext_t context;
    Wait wait = Wait::nothing;
    WarpFunction function = nullptr;
    const void *in = nullptr;
    void *out = nullptr;
    std::uint32_t group = 0, groupThreads = 0;     // of the named barrier it waits at
    std::vector<std::vector<Copy>> groups;         // committed, oldest first
    std::vector<Copy> open;
    std::deque<std::vector<WideProduct>> products; // of the warpgroup: committed, oldest first
    std::vector<WideProduct> openProducts;
};

// What the copy engine has been asked for and has not brought.
struct Delivery {
    std::uint64_t *barrier;
    std::byte *to;
    std::vector<std::byte> data;
};

struct BarrierState {
    std::uint32_t count = 0, arrived = 0;
    std::int64_t bytes = 0; // expected less delivered, of this phase
    std::uint32_t phase = 0;
};

struct Block {
    const Launch *launch = nullptr;
    const Kernel *kernel = nullptr;
    std::uint32_t index[3] = {};
    std::vector<Fiber> fibers;
    std::vector<std::byte> stacks;
    std::byte *shared = nullptr;
    ucontext_t scheduler;
    std::uint32_t current = 0;
    std::uint32_t polls = 0; // rounds in which nothing happened but polling
    std::map<const std::uint64_t *, BarrierState> barriers;
    std::vector<Delivery> deliveries;
    std::mt19937 *random = nullptr;
    std::string error;
};

Block &block(); // that runs now, on this thread
Fiber &self();
void pause(Wait what);

} // namespace kvilt::kernels::cuda::emulator
