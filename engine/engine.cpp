// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/plugin.h"
#include "engine/backend/numerics.h"
#include "engine/engine_impl.h"
#include "engine/model/fingerprint.h"
#include "engine/model/model.h"
#include "engine/support/check.h"
#include "engine/support/checked_math.h"
#include "engine/support/memory.h"
#include "engine/text/chat_template.h"
#include "engine/text/utf8.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdio>
#include <utility>

namespace kvilt {

namespace {

constexpr std::uint32_t kDefaultContexts = 8; // the default pool holds at most so many full contexts

std::uint64_t steadyNs()
{
    return std::uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
}

std::string withoutStop(std::string sentence)
{
    while (sentence.ends_with('.'))
        sentence.pop_back();
    return sentence;
}

std::string gib(std::uint64_t bytes)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.2f GiB", double(bytes) / double(1ull << 30));
    return text;
}

std::string hex(std::span<const std::uint8_t> bytes)
{
    std::string out;
    for (std::uint8_t b : bytes) {
        char pair[3];
        std::snprintf(pair, sizeof pair, "%02x", b);
        out += pair;
    }
    return out;
}

// Every RoPE setting in effect, printed the same way everywhere: part of each block's name on disk.
std::string ropeText(const model::ModelDescription &d)
{
    char text[256];
    std::snprintf(text, sizeof text, "rotated=%" PRIu32 " base=%a scale=%a factors=%d window_base=%a window_scale=%a",
                  d.rotated, d.rope.base, d.rope.frequencyScale, d.rope.useFactors ? 1 : 0, d.windowRope.base,
                  d.windowRope.frequencyScale);
    return text;
}

kv::CacheIdentity identityOf(const EngineOptions &options, const api::EngineSettings &settings)
{
    return {.modelFingerprint = hex(options.fingerprint),
            .tokenizer = hex(options.model.tokenizer->identity()),
            .rope = ropeText(options.model.model->description()),
            .kvTypes = "k=" + std::string(api::toString(settings.kType)) +
                       ",v=" + std::string(api::toString(settings.vType)),
            .blockSize = std::uint32_t(settings.blockSize)};
}

Result<void> checkSettings(const api::EngineSettings &s, std::uint32_t modelContext)
{
    if (s.blockSize < 16 || s.blockSize > 512 || !std::has_single_bit(unsigned(s.blockSize)))
        return fail(ErrorCode::badInput, "the block size must be a power of two from 16 to 512, not " +
                                             std::to_string(s.blockSize));
    if (s.threads < 0 || s.threads > 1024)
        return fail(ErrorCode::badInput, "threads must be between 1 and 1024, not " + std::to_string(s.threads));
    if (s.contextLength < 0 || std::uint32_t(s.contextLength) > modelContext)
        return fail(ErrorCode::badInput, "the context length must be between 1 and the model's " +
                                             std::to_string(modelContext) + ", not " +
                                             std::to_string(s.contextLength));
    if (s.backend != "auto" && s.backend != "cpu" && s.backend != "cuda")
        return fail(ErrorCode::badInput, "the backend must be auto, cpu or cuda, not \"" + s.backend + "\"");
    return {};
}

// A template that cannot be used is no reason to refuse the model: it still completes text.
void readTemplate(LoadedModel &loaded)
{
    const auto source = loaded.model->file().find<std::string_view>("tokenizer.chat_template");
    if (!source) {
        loaded.templateProblem = source.error().message;
        return;
    }
    if (!*source)
        return;
    auto parsed = text::ChatTemplate::parse(**source);
    if (parsed)
        loaded.chatTemplate = std::make_shared<const text::ChatTemplate>(std::move(*parsed));
    else
        loaded.templateProblem = parsed.error().message;
}

} // namespace

Result<LoadedModel> loadModel(const std::string &path)
{
    LoadedModel loaded{.path = path};
    KVILT_TRY(auto model, model::Model::open(path));
    KVILT_TRY(loaded.tokenizer, text::Tokenizer::fromGguf(model->file()));
    if (loaded.tokenizer->vocabSize() > model->description().vocabulary)
        return fail(ErrorCode::badInput, path + ": the vocabulary has " + std::to_string(loaded.tokenizer->vocabSize()) +
                                             " tokens, the embedding only " +
                                             std::to_string(model->description().vocabulary) + " rows");
    loaded.model = std::move(model);
    readTemplate(loaded);
    return loaded;
}

Engine::Engine(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(EngineOptions options)
{
    KVILT_CHECK(options.model.model && options.model.tokenizer);
    if (!options.clockNs)
        options.clockNs = steadyNs;
    auto impl = std::make_unique<Impl>(std::move(options));
    KVILT_TRY_VOID(impl->prepare());
    return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Result<void> Engine::checkBefore(const LoadedModel &model, const api::EngineSettings &settings, const Request *request)
{
    Impl impl({.model = model, .settings = settings});
    KVILT_TRY_VOID(impl.choose());
    return request ? impl.check(*request) : Result<void>{};
}

Result<void> Engine::check(const Request &request) const
{
    return m_impl->check(request);
}

// Zeros replaced, and the form of the KV that follows.
Result<void> Engine::Impl::settle()
{
    const model::ModelDescription &description = options.model.model->description();
    settings = options.settings;
    KVILT_TRY_VOID(checkSettings(settings, description.contextLength));
    if (settings.contextLength == 0)
        settings.contextLength = int(description.contextLength);
    layout = model::makeKvLayout(description, settings.kType, settings.vType, std::uint32_t(settings.blockSize));
    return {};
}

// Whether these settings can run here, before anything is made for them; the CPU stands for every device.
Result<void> Engine::Impl::choose()
{
    KVILT_TRY_VOID(settle());
    KVILT_TRY(device, backend::makeCpuBackend());
    return choosePool(*device);
}

Result<void> Engine::Impl::prepare()
{
    KVILT_TRY_VOID(settle());
    if (settings.backend != "cpu") {
        const Result<void> onCuda = prepareOnCuda();
        if (onCuda || (settings.backend == "cuda" && !options.cpuInstead))
            return onCuda;
        // A machine without a GPU is the usual case and no news to one who did not ask for it.
        if (settings.backend == "cuda" || onCuda.error().code != ErrorCode::notFound)
            deviceNote = withoutStop(onCuda.error().message) + "; the CPU computes.";
    }
    KVILT_TRY(auto cpu, backend::makeCpuBackend());
    return prepareOn(std::move(cpu));
}

Result<void> Engine::Impl::prepareOnCuda()
{
    KVILT_TRY(auto cuda, options.openCuda ? options.openCuda() : backend::cuda::makeCudaBackend());
    const api::EngineSettings before = settings;
    const Result<void> prepared = prepareOn(std::move(cuda));
    if (!prepared)
        settings = before;
    return prepared;
}

Result<void> Engine::Impl::prepareOn(std::unique_ptr<backend::Backend> backend)
{
    program.reset(); // what an attempt before this one left: it goes before its device
    device = std::move(backend);
    maxStepTokens = device->preferredStepTokens();
    KVILT_TRY_VOID(choosePool(*device));
    KVILT_TRY(program, prepareProgram(*device));
    KVILT_TRY_VOID(makeCache());
    settings.backend = device->name();
    makeScheduler();
    return {};
}

Result<std::unique_ptr<backend::Program>> Engine::Impl::prepareProgram(backend::Backend &backend) const
{
    const backend::PrepareOptions prepareOptions{.threads = settings.threads,
                                                 .blockCapacity = std::vector(layout.groups.size(), blocks),
                                                 .maxStepTokens = maxStepTokens,
                                                 .contiguous = options.contiguous};
    return backend.prepare(options.model.model, layout, prepareOptions);
}

void Engine::Impl::makeScheduler()
{
    storageProblem.clear();
    scheduler = std::make_unique<sched::Scheduler>(sched::SchedulerLimits{
        .stepSeconds = options.stepSeconds, .maxStepTokens = maxStepTokens, .fixedChunk = options.chunk});
}

Result<void> Engine::Impl::takeOverOnCpu(const Error &why)
{
    flights.clear(); // their program goes
    for (auto &[id, s] : sequences) {
        if (s->stage == Sequence::Stage::finished)
            continue;
        if (cache->holds(s->id))
            cache->release(s->id, api::EventReason::preempted);
        s->restores.clear();
        s->stage = Sequence::Stage::waiting;
        s->stats.phase = SequencePhase::queued;
        ++s->stats.preemptions;
    }
    (void)cache->takeSealed(); // their contents are gone
    (void)tiers->takeCopies();
    tiers->dropHost();
    cache->reset(api::EventReason::dropped);
    program.reset();
    KVILT_TRY(device, backend::makeCpuBackend());
    maxStepTokens = device->preferredStepTokens();
    KVILT_TRY(program, prepareProgram(*device));
    cache->changeNumerics(program->numerics());
    makeTiers();
    makeScheduler();
    meter = {};
    settings.backend = device->name();
    deviceNote = withoutStop(why.message) + "; the CPU goes on with every chat.";
    return {};
}

// Blocks a group: as asked, or what the device gives unasked, at most eight full contexts.
Result<void> Engine::Impl::choosePool(backend::Backend &target)
{
    std::uint64_t bytesPerBlock = 0;
    for (std::size_t g = 0; g < layout.groups.size(); ++g)
        bytesPerBlock += layout.bytesPerBlock(g);
    const std::uint64_t size = std::uint64_t(settings.blockSize);
    const std::uint64_t perContext = (std::uint64_t(settings.contextLength) + size - 1) / size;
    const auto [standard, free] = target.kvBudget(*options.model.model, maxStepTokens);
    std::uint64_t wanted = settings.kvBlocks;
    if (wanted == 0 && settings.kvMemory > 0)
        wanted = settings.kvMemory / bytesPerBlock;
    else if (wanted == 0)
        wanted = std::clamp<std::uint64_t>(standard / bytesPerBlock, 2, kDefaultContexts * perContext);
    if (wanted < 2)
        return fail(ErrorCode::badInput, "the KV memory must hold at least two blocks of " +
                                             std::to_string(bytesPerBlock) + " bytes");
    const auto bytes = checkedMul(wanted, bytesPerBlock);
    if (!bytes || *bytes > free || wanted >= kNoBlock.value)
        return fail(target.name() == "cpu" ? ErrorCode::badInput : ErrorCode::outOfMemory,
                    "a KV pool of " + std::to_string(wanted) + " blocks needs " +
                        (bytes ? gib(*bytes) : "more bytes than there are") + ", but only " + gib(free) +
                        " of memory are free on " + target.deviceName() + "; ask for less");
    blocks = std::uint32_t(wanted);
    settings.kvBlocks = wanted;
    settings.kvMemory = *bytes;
    return {};
}

// For payloads of a GPU's blocks: a quarter of what the host has free, as a pool of the CPU's would take.
std::uint64_t Engine::Impl::hostTierBytes() const
{
    const auto host = backend::makeCpuBackend();
    return host ? (*host)->freeMemory() / 4 : 0;
}

Result<void> Engine::Impl::makeCache()
{
    kv::KvCacheConfig config{.layout = layout,
                             .identity = identityOf(options, settings),
                             .blocks = blocks,
                             .policy = settings.policy,
                             .numerics = program->numerics(),
                             .caching = settings.cache,
                             .nearReuse = settings.nearReuse,
                             .isNear = [this](std::string_view made) {
                                 return backend::meansTheSame(made, program->numerics(), settings.kType) &&
                                        backend::meansTheSame(made, program->numerics(), settings.vType);
                             },
                             .grow = [this](GroupIndex group, std::uint32_t count) { return growStorage(group, count); }};
    trace::EventSink &sink = options.events ? *options.events : nullSink;
    const Clock &clock = options.wallClock ? *options.wallClock : systemClock;
    KVILT_TRY(cache, kv::KvCache::create(std::move(config), sink, clock));
    makeTiers();
    return tiers->indexStored();
}

void Engine::Impl::makeTiers()
{
    const bool stores = settings.cache && options.kvStore != nullptr && options.fingerprint != model::Fingerprint{};
    const bool besideGpu = settings.cache && device->totalMemory() > 0;
    tiers = std::make_unique<KvTiers>(*cache, *program, layout, stores ? options.kvStore : nullptr,
                                      besideGpu ? options.hostTierBytes.value_or(hostTierBytes()) : 0, options.clockNs);
}

Result<void> Engine::Impl::check(const Request &request) const
{
    const auto vocabulary = TokenId(options.model.model->description().vocabulary);
    if (request.tokens.empty())
        return fail(ErrorCode::badInput, "the prompt has no tokens");
    for (TokenId id : request.tokens)
        if (id < 0 || id >= vocabulary)
            return fail(ErrorCode::badInput, "token id " + std::to_string(id) + " is out of range: the vocabulary has " +
                                                 std::to_string(vocabulary) + " tokens");
    if (request.tokens.size() > std::size_t(settings.contextLength))
        return fail(ErrorCode::badInput, "the prompt has " + std::to_string(request.tokens.size()) +
                                             " tokens, the context holds " + std::to_string(settings.contextLength));
    if (request.tokens.size() > positionLimit())
        return fail(ErrorCode::badInput, "the prompt has " + std::to_string(request.tokens.size()) +
                                             " tokens, the KV pool holds " + std::to_string(positionLimit()) +
                                             "; give it more blocks");
    KVILT_TRY_VOID(sched::checkSampling(request.sampling));
    for (const std::string &stop : request.sampling.stop)
        if (!text::utf8::isValid(stop))
            return fail(ErrorCode::badInput, "a stop string is not valid UTF-8");
    return {};
}

Result<SequenceId> Engine::Impl::submit(Request request)
{
    KVILT_TRY_VOID(check(request));
    request.useCache = request.useCache && settings.cache;
    const SequenceId id{nextId++};
    sequences.emplace(id.value, std::make_unique<Sequence>(id, std::move(request), options.model.tokenizer,
                                                           options.clockNs()));
    return id;
}

std::uint32_t Engine::Impl::positionLimit() const
{
    const std::uint64_t pool = std::uint64_t(blocks) * std::uint64_t(settings.blockSize);
    return std::uint32_t(std::min<std::uint64_t>(pool, std::uint64_t(settings.contextLength)));
}

Sequence *Engine::Impl::find(SequenceId id)
{
    const auto it = sequences.find(id.value);
    return it == sequences.end() ? nullptr : it->second.get();
}

Result<SequenceId> Engine::submit(Request request)
{
    return m_impl->submit(std::move(request));
}

// The last prompt token runs again in the new sequence, so that it has logits of its own to sample from.
Result<SequenceId> Engine::fork(SequenceId from, const api::SamplingSettings &sampling)
{
    KVILT_TRY_VOID(m_impl->landAll()); // what both share is then complete
    Sequence *source = m_impl->find(from);
    if (source == nullptr || source->stage != Sequence::Stage::running)
        return fail(ErrorCode::notFound, "only a generation that runs can be forked");
    Request request = source->request;
    request.sampling = sampling;
    KVILT_TRY(const SequenceId id, m_impl->submit(std::move(request)));
    Sequence &copy = *m_impl->find(id);
    const auto shared = std::min<std::size_t>(m_impl->cache->computedTokens(from), copy.promptTokens() - 1);
    if (!m_impl->cache->fork(from, id, copy.request.session, copy.request.turn, shared))
        return id; // its window has passed that point: it waits and looks up like any other
    copy.stage = Sequence::Stage::running;
    copy.admittedBefore = true;
    copy.peakComputed = std::uint32_t(shared);
    copy.stats.cachedMemory = std::uint32_t(shared);
    copy.stats.startedNs = m_impl->options.clockNs();
    copy.stats.phase = SequencePhase::prefill;
    return id;
}

void Engine::cancel(SequenceId sequence)
{
    Sequence *s = m_impl->find(sequence);
    if (s == nullptr || s->stage == Sequence::Stage::finished)
        return;
    s->finish(api::FinishReason::cancelled);
    m_impl->end(*s, api::EventReason::cancelled);
}

void Engine::cancelAll()
{
    for (const auto &[id, sequence] : m_impl->sequences)
        cancel(SequenceId{id});
}

Result<StepReport> Engine::step()
{
    auto report = m_impl->step();
    if (report)
        return report;
    const bool deviceGone = report.error().code == ErrorCode::device || report.error().code == ErrorCode::outOfMemory;
    if (deviceGone && m_impl->settings.backend != "cpu") {
        if (const auto taken = m_impl->takeOverOnCpu(report.error()); taken)
            return StepReport{.worked = true};
        else
            report = tl::unexpected(taken.error());
    }
    m_impl->failAll(report.error().message);
    return report;
}

std::vector<SequenceOutput> Engine::takeOutputs()
{
    std::vector<SequenceOutput> out;
    for (auto it = m_impl->sequences.begin(); it != m_impl->sequences.end();) {
        Sequence &s = *it->second;
        if (s.hasOutput())
            out.push_back(s.takeOutput());
        it = s.stage == Sequence::Stage::finished ? m_impl->sequences.erase(it) : std::next(it);
    }
    return out;
}

bool Engine::idle() const
{
    return std::all_of(m_impl->sequences.begin(), m_impl->sequences.end(),
                       [](const auto &entry) { return entry.second->stage == Sequence::Stage::finished; });
}

void Engine::interrupt()
{
    m_impl->interruptFlag.store(true, std::memory_order_relaxed);
}

std::optional<SequenceStats> Engine::stats(SequenceId sequence) const
{
    const Sequence *s = m_impl->find(sequence);
    return s == nullptr ? std::nullopt : std::optional(s->stats);
}

Engine::Peek Engine::peek(std::span<const TokenId> tokens, const std::string &salt)
{
    const kv::Lookup found = m_impl->cache->lookup({.tokens = tokens, .salt = salt, .reuse = m_impl->settings.cache});
    return {std::uint32_t(found.memoryTokens + found.partialTokens), std::uint32_t(found.diskTokens)};
}

void Engine::takeStored()
{
    m_impl->tiers->takeCommitted();
}

Result<void> Engine::flush()
{
    return m_impl->tiers->flush();
}

bool Engine::clearCache(api::EventReason reason)
{
    m_impl->tiers->storeSealed();
    return m_impl->cache->reset(reason);
}

api::PoolSnapshot Engine::snapshot() const { return m_impl->cache->snapshot(); }

api::PoolCounts Engine::counts() const
{
    api::PoolCounts counts = m_impl->cache->counts();
    const Clock &clock = m_impl->options.wallClock ? *m_impl->options.wallClock : m_impl->systemClock;
    counts.timeNs = clock.nowNs();
    counts.bytesInMemory = m_impl->program->bytesReserved();
    counts.bytesBudget = m_impl->settings.kvMemory;
    counts.quota = m_impl->settings.diskQuota;
    counts.bytesOnDisk = m_impl->tiers->bytesOnDisk();
    counts.device = m_impl->deviceCounts();
    return counts;
}

// Asks the driver or the system and queues nothing: a step under way does not notice.
api::DeviceCounts Engine::Impl::deviceCounts() const
{
    api::DeviceCounts out;
    out.name = device->deviceName();
    out.gpu = device->totalMemory() > 0;
    out.totalBytes = out.gpu ? device->totalMemory() : physicalMemory();
    out.freeBytes = std::min(device->freeMemory(), out.totalBytes);
    out.poolBytes = program->bytesReserved();
    return out;
}

kv::KvCache &Engine::cache() { return *m_impl->cache; }
const kv::KvCache &Engine::cache() const { return *m_impl->cache; }
const LoadedModel &Engine::loaded() const { return m_impl->options.model; }
const kv::KvLayout &Engine::layout() const { return m_impl->layout; }
const api::EngineSettings &Engine::settings() const { return m_impl->settings; }
// A pool smaller than the context is the limit: what a chat is told must be what can run.
std::uint32_t Engine::contextLength() const { return m_impl->positionLimit(); }
std::string Engine::isa() const { return m_impl->program->isa(); }
std::string Engine::numerics() const { return m_impl->program->numerics(); }
std::uint64_t Engine::hostTierBytes() const { return m_impl->tiers->bytesInHost(); }
std::string Engine::takeDeviceNote() { return std::exchange(m_impl->deviceNote, {}); }
std::string Engine::deviceName() const { return m_impl->device->deviceName(); }
double Engine::prefillTokensPerSecond() const { return m_impl->meter.prefillRate(); }
double Engine::decodeTokensPerSecond() const { return m_impl->meter.decodeRate(); }

} // namespace kvilt
