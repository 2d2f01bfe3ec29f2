// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/plugin.h"

#include "engine/backend/cuda/backend.h"
#include "engine/backend/cuda/driver_device.h"

#include <cstdlib>
#include <filesystem>

namespace kvilt::backend::cuda {
namespace {

constexpr const char *kFileName = "libkvilt_cuda.so";

// Never the working directory: what lies there is not ours.
std::vector<std::string> places()
{
    if (const char *set = std::getenv("KVILT_CUDA_PLUGIN"))
        return {set};
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error)
        return {};
    const std::filesystem::path folder = program.parent_path();
    return {(folder / kFileName).string(), (folder.parent_path() / "lib" / "kvilt" / kFileName).string()};
}

} // namespace

bool deterministicByEnvironment()
{
    const char *set = std::getenv("KVILT_CUDA_DETERMINISTIC");
    return set && *set;
}

std::string pluginProblem(const KviltCudaPlugin *list)
{
    if (!list || list->magic != KVILT_CUDA_PLUGIN_MAGIC)
        return "it is no CUDA plug-in of Kvilt";
    if (list->abi != KVILT_CUDA_PLUGIN_ABI || list->kernelVersion != kernels::cuda::kKernelVersion)
        return "it belongs to another version of Kvilt (interface " + std::to_string(list->abi) + ", kernels " +
               std::to_string(list->kernelVersion) + "; this one has " + std::to_string(KVILT_CUDA_PLUGIN_ABI) + " and " +
               std::to_string(kernels::cuda::kKernelVersion) + ")";
    if (list->imageCount == 0 || !list->images)
        return "it holds no kernels";
    return {};
}

Result<KernelPlugin> openPlugin(const std::string &path)
{
    const std::vector<std::string> candidates = path.empty() ? places() : std::vector{path};
    std::string tried;
    for (const std::string &file : candidates) {
        std::error_code error;
        if (!std::filesystem::is_regular_file(file, error)) {
            tried += (tried.empty() ? "" : ", ") + file;
            continue;
        }
        KVILT_TRY(auto library, Library::open(file));
        using Entry = const KviltCudaPlugin *(*)();
        const auto entry = reinterpret_cast<Entry>(library->symbol("kvilt_cuda_plugin"));
        const KviltCudaPlugin *list = entry ? entry() : nullptr;
        if (const std::string problem = pluginProblem(list); !problem.empty())
            return fail(ErrorCode::unsupported, "The CUDA plug-in " + file + " cannot be used: " + problem + "; install it again with this program.");
        return KernelPlugin{std::move(library), list};
    }
    return fail(ErrorCode::notFound, "This installation has no CUDA plug-in (looked for " + tried + ").");
}

Result<std::unique_ptr<Backend>> makeCudaBackend(const CudaOptions &options)
{
    KVILT_TRY(DriverLibrary driver, openDriver());
    return makeCudaBackend(std::move(driver), options);
}

// notFound means a machine without a GPU; here is one, and whoever has it wants to know why it is idle.
Result<std::unique_ptr<Backend>> makeCudaBackend(DriverLibrary driver, const CudaOptions &options)
{
    auto plugin = openPlugin(options.plugin);
    if (!plugin)
        return fail(ErrorCode::unsupported, plugin.error().message);
    KVILT_TRY(auto device, openDevice(std::move(driver), std::move(*plugin), options.ordinal, options.deterministic));
    return backendOn(std::move(device));
}

CudaSurvey surveyCuda()
{
    CudaSurvey survey;
    const auto plugin = openPlugin();
    if (plugin)
        survey.plugin = plugin->list->architectures;
    const auto driver = openDriver();
    if (!driver) {
        survey.problem = driver.error().message;
        return survey;
    }
    survey.driver = versionText(driver->version);
    survey.devices = listDevices(driver->driver);
    if (survey.devices.empty())
        survey.problem = "The NVIDIA driver sees no GPU here.";
    else if (!plugin)
        survey.problem = plugin.error().message;
    return survey;
}

} // namespace kvilt::backend::cuda
