// SPDX-License-Identifier: Apache-2.0
#include "kernels/generic/tables.h"

#include <cstdlib>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

namespace kvilt::kernels {
namespace {

// Linux lends the tile registers, of 8 KiB a thread, to processes that ask (arch_prctl, ARCH_REQ_XCOMP_PERM of XTILEDATA);
// threads started later have the permission too.
bool mayUseTiles()
{
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

std::vector<const KernelTable *> findTables()
{
    std::vector<const KernelTable *> tables{&scalar::kTable};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        tables.push_back(&avx2::kTable);
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (wide)
        tables.push_back(&avx512bw::kTable);
    if (wide && __builtin_cpu_supports("avx512vnni"))
        tables.push_back(&avx512vnni::kTable);
    // These have run in emulation only: who does not ask for them gets what has run on hardware.
    const char *forced = std::getenv("KVILT_FORCE_ISA");
    const bool asked = forced && std::string_view(forced) == "amx";
    if (asked && wide && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("amx-tile") &&
        __builtin_cpu_supports("amx-int8") && mayUseTiles())
        tables.push_back(&amx::kTable);
    return tables;
}

bool matches(std::string_view table, std::string_view forced)
{
    return table == forced || (forced == "avx512" && table.starts_with("avx512"));
}

std::string namesOfTables()
{
    std::string names;
    for (const KernelTable *table : availableKernels())
        names += (names.empty() ? "" : ", ") + std::string(table->name);
    return names;
}

} // namespace

std::span<const KernelTable *const> availableKernels()
{
    static const std::vector<const KernelTable *> tables = findTables();
    return tables;
}

std::variant<const KernelTable *, std::string> selectKernels(std::string_view forced)
{
    const auto tables = availableKernels();
    if (forced.empty())
        return tables.back();
    for (std::size_t i = tables.size(); i-- > 0;)
        if (matches(tables[i]->name, forced))
            return tables[i];
    return "KVILT_FORCE_ISA names \"" + std::string(forced) + "\", which this machine cannot run; choose one of: " +
           namesOfTables() + ".";
}

std::variant<const KernelTable *, std::string> selectKernelsFromEnvironment()
{
    const char *forced = std::getenv("KVILT_FORCE_ISA");
    return selectKernels(forced ? forced : "");
}

} // namespace kvilt::kernels
