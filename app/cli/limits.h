// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "app/cli/cli.h"
#include "engine/support/thread_pool.h"
#include "kernels/api/kernel_table.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kvilt::cli {

// What the machine gave when it was asked: every speed is a share of one of these.
struct Limits {
    std::map<std::uint64_t, double> readBytesPerSecond; // by working-set size
    double int8PerSecond = 0, f32PerSecond = 0;
    double barrierNs = 0;
    int threads = 0;
    std::string isa;

    // Read bandwidth for a working set of `bytes`: of the nearest size probed.
    double readFor(std::uint64_t bytes) const;
    // The machine may have changed between two probes: the mean is what ran in between.
    static Limits between(const Limits &a, const Limits &b);
};
nlohmann::json toJson(const Limits &limits); // the keys of `probe`
std::string sizeName(std::uint64_t bytes);   // "96MiB", "2GiB"

class LimitsProbe {
public:
    // badInput: threads out of range, an instruction set forced that is not there.
    static Result<LimitsProbe> create(std::int64_t threads);
    Limits measure(const std::vector<std::uint64_t> &sizes);
    int threads() const { return m_pool->threads(); }

private:
    const kernels::KernelTable *m_kernels = nullptr;
    std::unique_ptr<ThreadPool> m_pool;
};

} // namespace kvilt::cli
