// SPDX-License-Identifier: Apache-2.0
#include "app/worker/model_facts.h"

#include "engine/gguf/gguf_file.h"
#include "engine/model/model.h"
#include "engine/model/model_description.h"
#include "engine/support/memory.h"
#include "engine/support/thread_pool.h"
#include "kernels/api/probe.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <variant>

namespace kvilt::worker {

namespace fs = std::filesystem;

namespace {

constexpr int kDeepest = 5;
constexpr std::size_t kMostModels = 500;
constexpr std::size_t kMostEntries = 200'000; // a home folder can be large: a scan ends there

bool looksLikeModel(const fs::path &path)
{
    if (path.extension() != ".gguf")
        return false;
    const std::string stem = path.stem().string();
    if (stem.find("mmproj") != std::string::npos)
        return false;
    const auto of = stem.rfind("-of-");
    return of == std::string::npos || of < 6 || stem.compare(of - 6, 6, "-00001") == 0;
}

struct Scan {
    const std::atomic<bool> &cancel;
    std::set<fs::path> files;   // resolved, so that a model reached twice is listed once
    std::set<fs::path> places;
    std::size_t entries = 0;

    void folder(const fs::path &root)
    {
        std::error_code error;
        fs::recursive_directory_iterator it(root, fs::directory_options::skip_permission_denied, error), end;
        for (; !error && it != end && !cancel && ++entries < kMostEntries && files.size() < kMostModels; it.increment(error)) {
            if (it.depth() >= kDeepest)
                it.disable_recursion_pending();
            std::error_code ignored;
            if (it->is_regular_file(ignored) && looksLikeModel(it->path())) {
                const fs::path real = fs::canonical(it->path(), ignored);
                if (!ignored && files.insert(real).second)
                    places.insert(it->path().parent_path());
            }
        }
    }
};

constexpr std::uint64_t kLeastContext = 256; // tokens: below that a chat is none

// Weights, repacked, and a tenth for everything else have to fit beside the KV.
void fitIntoMemory(api::ModelFacts &facts)
{
    const std::uint64_t memory = availableMemory();
    const std::uint64_t weights = facts.fileBytes + facts.fileBytes / 10;
    const std::uint64_t least = weights + kLeastContext * facts.kvBytesPerToken;
    if (memory > 0 && memory < least)
        facts.missingBytes = least - memory;
    else if (facts.kvBytesPerToken > 0)
        facts.longestContext = (memory - weights) / facts.kvBytesPerToken;
}

std::uint64_t fromMeminfo(std::string_view wanted)
{
    std::ifstream meminfo("/proc/meminfo");
    std::string key, unit;
    std::uint64_t kib = 0;
    while (meminfo >> key >> kib) {
        std::getline(meminfo, unit);
        if (key == wanted)
            return kib * 1024;
    }
    return 0;
}

} // namespace

api::update::MachineFacts probeMachine(int threads)
{
    constexpr std::size_t kArray = std::size_t(192) << 20; // beyond the caches, as weights are
    api::update::MachineFacts machine;
    machine.memoryBytes = fromMeminfo("MemTotal:");
    machine.freeBytes = availableMemory();
    machine.threads = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    const auto selected = kernels::selectKernelsFromEnvironment();
    const auto *kernels = std::get_if<const kernels::KernelTable *>(&selected);
    if (!kernels)
        return machine;
    machine.isa = (*kernels)->name;
    if (machine.freeBytes < 4 * kArray)
        return machine;
    ThreadPool pool(machine.threads);
    machine.readBytesPerSecond = kernels::probeReadBandwidth(
        **kernels, kArray, pool.threads(), [&](int count, const std::function<void(int)> &task) {
            pool.parallelFor(static_cast<std::uint32_t>(count), [&](std::uint32_t i, int) { task(static_cast<int>(i)); });
        });
    return machine;
}

double expectedDecodeRate(const api::ModelFacts &facts, double readBytesPerSecond)
{
    return facts.fileBytes == 0 ? 0 : api::kDecodeShareOfReadRate * readBytesPerSecond / static_cast<double>(facts.fileBytes);
}

api::ModelFacts factsOf(const model::Model &model, const api::EngineSettings &settings)
{
    const model::ModelDescription &description = model.description();
    api::ModelFacts facts;
    facts.path = model.file().path();
    facts.name = model.name();
    facts.architecture = std::string(description.architecture->name);
    facts.quantisation = model.quantisation();
    facts.fileBytes = model.file().size();
    facts.parameters = model.parameters();
    facts.contextLength = description.contextLength;
    facts.layers = description.layers;
    facts.vocabulary = description.vocabulary;
    facts.kvBytesPerToken =
        model::makeKvLayout(description, settings.kType, settings.vType, static_cast<std::uint32_t>(settings.blockSize))
            .bytesPerToken();
    fitIntoMemory(facts);
    facts.chatTemplate = model.file().has("tokenizer.chat_template");
    return facts;
}

api::ModelFacts probeModel(const std::string &path, const api::EngineSettings &settings)
{
    auto model = model::Model::open(path);
    if (model)
        return factsOf(**model, settings);
    api::ModelFacts facts;
    facts.path = path;
    facts.name = fs::path(path).stem().string();
    std::error_code ignored;
    const auto size = fs::file_size(path, ignored);
    facts.fileBytes = ignored ? 0 : size;
    facts.usable = false;
    facts.problem = model.error().message;
    return facts;
}

ScanResult scanModels(const std::vector<std::string> &folders, const api::EngineSettings &settings,
                      const std::atomic<bool> &cancel)
{
    Scan scan{cancel, {}, {}, 0};
    for (const std::string &folder : folders)
        scan.folder(folder);
    ScanResult result;
    result.places = static_cast<int>(scan.places.size());
    for (const fs::path &file : scan.files) {
        if (cancel)
            break;
        result.models.push_back(probeModel(file.string(), settings));
    }
    std::stable_sort(result.models.begin(), result.models.end(),
                     [](const auto &a, const auto &b) { return a.usable != b.usable ? a.usable : a.name < b.name; });
    return result;
}

std::vector<std::string> usualModelFolders()
{
    const char *home = std::getenv("HOME");
    if (!home)
        return {};
    const char *data = std::getenv("XDG_DATA_HOME");
    const fs::path dataHome = data && *data ? fs::path(data) : fs::path(home) / ".local/share";
    const fs::path base(home);
    std::vector<std::string> found;
    for (const fs::path &candidate :
         {dataHome / "kvilt/models", base / "models", base / ".lmstudio/models", base / ".cache/lm-studio/models",
          dataHome / "nomic.ai/GPT4All", base / ".cache/huggingface/hub", base / ".cache/llama.cpp",
          dataHome / "Jan/data", base / "jan/models", base / "Downloads"}) {
        std::error_code ignored;
        if (fs::is_directory(candidate, ignored))
            found.push_back(candidate.string());
    }
    return found;
}

} // namespace kvilt::worker
