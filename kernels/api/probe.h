// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kernel_table.h"

#include <functional>

// What this machine can do at most, measured now: every speed the program shows is a share of one of these.
namespace kvilt::kernels {

// Runs task(i) for i in [0, threads) at the same time and returns when all have ended. The caller's threads.
using RunOnThreads = std::function<void(int threads, const std::function<void(int)> &task)>;

// Bytes a second when every thread reads its own part of `bytes` again and again; the median of several passes.
// 0 when the memory is refused.
double probeReadBandwidth(const KernelTable &kernels, std::size_t bytes, int threads, const RunOnThreads &run);
// Operations a second (a multiply and an add are two) of a loop of independent 8-bit dot products, of float FMA.
double probeInt8(const KernelTable &kernels, int threads, const RunOnThreads &run);
double probeF32(const KernelTable &kernels, int threads, const RunOnThreads &run);

} // namespace kvilt::kernels
