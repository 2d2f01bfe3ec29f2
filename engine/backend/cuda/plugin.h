// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/backend/cuda/driver.h"
#include "kernels/cuda/api/plugin.h"

#include <memory>
#include <string>
#include <vector>

// How the engine gets its CUDA backend: the plug-in with the kernels (libkvilt_cuda.so, beside the program or in
// ../lib/kvilt), the driver, a device. Each may be missing on a machine; then a sentence says which, and the CPU computes.
namespace kvilt::backend::cuda {

// The plug-in, opened and checked.
struct KernelPlugin {
    std::shared_ptr<Library> library;
    const KviltCudaPlugin *list = nullptr;
};
// `path`: a file; "": KVILT_CUDA_PLUGIN if set, else where the package puts it. notFound: none; unsupported: of another version.
Result<KernelPlugin> openPlugin(const std::string &path = {});
// What is wrong with a list from a plug-in; "" when it fits this program.
std::string pluginProblem(const KviltCudaPlugin *list);

// KVILT_CUDA_DETERMINISTIC is set to something: what `kvilt-cli --deterministic` does.
bool deterministicByEnvironment();

struct CudaOptions {
    int ordinal = 0;            // which GPU, in the driver's order
    bool deterministic = deterministicByEnvironment(); // own kernels only
    std::string plugin;         // see openPlugin
};
// notFound: there is no driver, so no GPU.
Result<std::unique_ptr<Backend>> makeCudaBackend(const CudaOptions &options = {});
Result<std::unique_ptr<Backend>> makeCudaBackend(DriverLibrary driver, const CudaOptions &options);

// One GPU that the driver sees.
struct FoundDevice {
    int ordinal = 0;
    std::string name;
    std::uint32_t sm = 0;
    std::uint64_t totalMemory = 0;
};
// What probe tells: the devices, or why there are none, as a sentence; the plug-in alike.
struct CudaSurvey {
    std::vector<FoundDevice> devices;
    std::string driver;         // "13.0"; "" when there is none
    std::string plugin;         // its architectures; "" when there is none
    std::string problem;        // why CUDA cannot be used; "" when it can
};
CudaSurvey surveyCuda();

} // namespace kvilt::backend::cuda
