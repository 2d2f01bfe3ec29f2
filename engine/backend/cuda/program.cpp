// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/program.h"

#include "engine/support/check.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <thread>

namespace kvilt::backend::cuda {
namespace {

constexpr std::uint32_t kLargestGraph = 128; // rows of a decode step; beyond, launching costs little of the step

std::uint64_t nowNs()
{
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

bool isSet(const std::atomic<bool> *flag)
{
    return flag && flag->load(std::memory_order_relaxed);
}

} // namespace

CudaProgram::CudaProgram(Device &device, std::shared_ptr<const model::Model> model, const kv::KvLayout &layout,
                         const PrepareOptions &options)
    : m_device(device), m_model(std::move(model)), m_layout(layout), m_maxTokens(std::max(1u, options.maxStepTokens))
{
}

// What is still queued reads this program's memory: it must be done before the members go. A lost device does nothing more.
CudaProgram::~CudaProgram()
{
    for (const Queue queue : {Queue::compute, Queue::copy})
        if (auto event = m_device.makeEvent(); event && m_device.record(**event, queue))
            (void)m_device.synchronize(**event);
}

Result<std::unique_ptr<Program>> CudaProgram::make(Device &device, std::shared_ptr<const model::Model> model,
                                                   const kv::KvLayout &layout, const PrepareOptions &options)
{
    KVILT_CHECK(options.blockCapacity.size() == layout.groups.size());
    if (layout.groups.size() > kernels::cuda::kMaxGroups)
        return fail(ErrorCode::unsupported, "This model has more kinds of layers than the CUDA kernels know.");
    std::unique_ptr<CudaProgram> program(new CudaProgram(device, std::move(model), layout, options));
    KVILT_TRY_VOID(program->prepare(options));
    return std::unique_ptr<Program>(std::move(program));
}

Result<void> CudaProgram::prepare(const PrepareOptions &options)
{
    KVILT_TRY_VOID(checkSupport());
    for (std::uint32_t g = 0; g < m_layout.groups.size(); ++g) {
        KVILT_TRY(KvGroup group, KvGroup::make(m_device, m_layout.groups[g], m_layout.blockSize, options.blockCapacity[g], g));
        m_groups.push_back(std::move(group));
    }
    {
        ThreadPool pool(options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency()));
        KVILT_TRY(m_weights, Weights::load(m_device, *m_model, pool));
    }
    KVILT_TRY(m_workspace, Workspace::make(m_device, m_model->description(), m_weights, m_maxTokens));
    KVILT_TRY(m_rope, RopeTables::make(m_device, *m_model));
    KVILT_TRY(m_stepMemory, StepMemory::make(m_device, m_maxTokens));
    KVILT_TRY(m_transfer, KvTransfer::make(m_device, m_layout));
    for (Results &results : m_results) {
        KVILT_TRY(results.done, m_device.makeEvent());
        KVILT_TRY(results.tokens, m_device.allocatePinned(m_maxTokens * sizeof(std::int32_t)));
    }
    KVILT_TRY(m_copied, m_device.makeEvent());
    for (std::unique_ptr<Event> &event : m_pace) {
        KVILT_TRY(event, m_device.makeEvent());
    }
    return {};
}

Result<void> CudaProgram::checkSupport() const
{
    for (const gguf::TensorInfo &tensor : m_model->file().tensors())
        if (tensor.dimensions > 1 && !kernels::cuda::weightSupported(static_cast<kernels::WeightType>(tensor.type)))
            return fail(ErrorCode::unsupported, m_model->file().path() + " has weights of type " +
                                                    std::string(gguf::toString(tensor.type)) + ", for which there are no CUDA kernels.");
    return {};
}

std::optional<std::uint32_t> CudaProgram::slotOfToken(const TokenFromTicket &source) const
{
    for (const auto &[ticket, sampled] : m_sampled)
        if (ticket == source.ticket && source.slice < sampled.size() && sampled[source.slice])
            return slotOf(ticket, source.slice, m_maxTokens);
    return std::nullopt;
}

Result<Ticket> CudaProgram::submit(const StepPlan &plan)
{
    if (!m_lost.message.empty())
        return tl::unexpected(m_lost);
    if (m_pending.size() >= kStepsInFlight)
        return fail(ErrorCode::badInput, "Two steps are under way; collect one before the next.");
    const std::uint64_t beginNs = nowNs();
    const Ticket ticket = m_lastTicket + 1;
    std::vector<std::uint32_t> reserved;
    for (const KvGroup &group : m_groups)
        reserved.push_back(group.blocksReserved());
    KVILT_TRY(const StepImage image,
              StepImage::make(plan, {m_model->description(), m_layout, m_maxTokens, reserved}, ticket,
                              [](const void *self, const TokenFromTicket &source) {
                                  return static_cast<const CudaProgram *>(self)->slotOfToken(source);
                              },
                              this));
    KVILT_TRY_VOID(m_rope.reach(m_device, image.longest));
    KVILT_TRY_VOID(growLogits(image.logitRows));
    KVILT_TRY_VOID(m_transfer.flush(m_device, m_groups));
    KVILT_TRY(const StepPointers at, m_stepMemory.upload(m_device, image));

    KVILT_TRY(const bool done, runOps(image, at, plan.cancel));
    const unsigned buffer = static_cast<unsigned>(ticket % kStepsInFlight);
    if (done)
        KVILT_TRY_VOID(download(image, m_results[buffer], ticket));
    KVILT_TRY_VOID(m_device.record(*m_results[buffer].done, Queue::compute));
    m_lastTicket = ticket;
    std::vector<bool> sampled;
    for (const StepImage::Slice &slice : image.states)
        sampled.push_back(done && slice.sampled);
    m_sampled.emplace_back(ticket, std::move(sampled));
    if (m_sampled.size() > kRememberedTickets - 1) // the slots of one more are being written
        m_sampled.pop_front();
    m_pending.push_back({ticket, image.states, beginNs, !done, buffer});
    return ticket;
}

Result<void> CudaProgram::growLogits(std::uint32_t rows)
{
    const std::size_t bytes = std::size_t(rows) * m_model->description().vocabulary * sizeof(float);
    if (m_logits.size() >= bytes)
        return {};
    KVILT_TRY_VOID(m_device.record(*m_pace[0], Queue::compute)); // nobody writes the old ones any more
    KVILT_TRY_VOID(m_device.synchronize(*m_pace[0]));
    m_logits = {};
    ++m_logitsGeneration;
    auto memory = m_device.allocate(std::bit_ceil(bytes));
    if (!memory && memory.error().code == ErrorCode::outOfMemory)
        return fail(ErrorCode::outOfMemory, "The GPU has no memory for a step with " + std::to_string(rows) +
                                                " rows of logits; ask for fewer at a time.");
    KVILT_TRY(m_logits, std::move(memory));
    return {};
}

// False: cancelled.
Result<bool> CudaProgram::runOps(const StepImage &image, const StepPointers &at, const std::atomic<bool> *cancel)
{
    if (isSet(cancel))
        return false;
    const bool decode = image.singleRows && image.allFinal() && image.rows.size() <= kLargestGraph;
    const std::uint32_t longest =
        decode ? std::min(std::bit_ceil(std::max(image.longest, kernels::cuda::kSplitTokens)), m_model->description().contextLength)
               : image.longest;
    const OpContext context{m_model->description(), m_layout, m_weights, m_workspace, m_rope, m_groups};
    const std::vector<StepOp> ops = stepOps(context, image, at, longest, m_logits.as<float>());
    for (const StepOp &op : ops)
        KVILT_TRY_VOID(m_device.ensureScratch(op.op));
    if (!decode)
        return runEagerly(ops, cancel);
    const GraphKey key{static_cast<std::uint32_t>(image.rows.size()), static_cast<std::uint32_t>(image.samples.size()),
                       image.greedyOnly, longest, m_stepMemory.generation(), m_logitsGeneration, m_device.scratchGeneration()};
    KVILT_TRY_VOID(runAsGraph(ops, key));
    return true;
}

Result<void> CudaProgram::runAsGraph(const std::vector<StepOp> &ops, const GraphKey &key)
{
    KVILT_TRY_VOID(m_transfer.waitForAll(m_device));
    bool seenBefore = false;
    const Graph *graph = m_graphs.find(key, seenBefore);
    if (!graph && seenBefore) {
        KVILT_TRY_VOID(m_device.beginGraph());
        Result<void> recorded;
        for (const StepOp &op : ops)
            if (recorded)
                recorded = m_device.run(Queue::compute, op.op);
        auto made = m_device.endGraph();
        KVILT_TRY_VOID(recorded);
        KVILT_TRY(auto fresh, std::move(made));
        graph = m_graphs.keep(key, std::move(fresh));
    }
    if (graph)
        return m_device.launch(*graph);
    for (const StepOp &op : ops)
        KVILT_TRY_VOID(m_device.run(Queue::compute, op.op));
    return {};
}

// Layer by layer: each waits for its restored blocks only, and the host stays few layers ahead, listening for the cancel.
Result<bool> CudaProgram::runEagerly(const std::vector<StepOp> &ops, const std::atomic<bool> *cancel)
{
    for (const StepOp &op : ops) {
        if (op.firstOfLayer) {
            KVILT_TRY_VOID(m_transfer.waitForLayer(m_device, op.layer));
            KVILT_TRY(const bool goesOn, keepPace(op.layer, cancel));
            if (!goesOn)
                return false;
        }
        KVILT_TRY_VOID(m_device.run(Queue::compute, op.op));
    }
    m_transfer.forgetWaits();
    return true;
}

Result<bool> CudaProgram::keepPace(std::uint32_t layer, const std::atomic<bool> *cancel)
{
    Event &event = *m_pace[layer % m_pace.size()]; // recorded that many layers ago
    if (layer >= m_pace.size()) {
        for (;;) {
            if (isSet(cancel))
                return false;
            KVILT_TRY(const bool there, m_device.reached(event));
            if (there)
                break;
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
    }
    if (isSet(cancel))
        return false;
    KVILT_TRY_VOID(m_device.record(event, Queue::compute));
    return true;
}

Result<void> CudaProgram::download(const StepImage &image, Results &results, Ticket ticket)
{
    const std::size_t rowBytes = m_model->description().vocabulary * sizeof(float);
    if (image.wantsLogits) {
        if (results.logits.size() < image.logitRows * rowBytes) {
            results.logits = {};
            KVILT_TRY(results.logits, m_device.allocatePinned(std::bit_ceil(image.logitRows * rowBytes)));
        }
        for (const StepImage::Slice &slice : image.states)
            if (slice.wantedRows > 0) {
                const std::size_t at = (slice.firstLogitRow + slice.keptRows - slice.wantedRows) * rowBytes;
                KVILT_TRY_VOID(m_device.download(Queue::compute, results.logits.data() + at, m_logits.data() + at, slice.wantedRows * rowBytes));
            }
    }
    if (!image.samples.empty())
        KVILT_TRY_VOID(m_device.download(Queue::compute, results.tokens.data(), m_stepMemory.sampled() + slotOf(ticket, 0, m_maxTokens),
                                         image.states.size() * sizeof(std::int32_t)));
    return {};
}

Result<StepResult> CudaProgram::collect(Ticket ticket)
{
    if (m_pending.empty() || m_pending.front().ticket != ticket)
        return fail(ErrorCode::badInput, "Step " + std::to_string(ticket) + " is not the next one to collect.");
    const Pending pending = std::move(m_pending.front());
    m_pending.pop_front();
    KVILT_TRY_VOID(m_device.synchronize(*m_results[pending.buffer].done));
    return finish(pending);
}

StepResult CudaProgram::finish(const Pending &pending)
{
    StepResult result;
    result.cancelled = pending.cancelled;
    const Results &from = m_results[pending.buffer];
    const std::size_t vocabulary = m_model->description().vocabulary;
    for (std::size_t i = 0; i < pending.slices.size(); ++i) {
        const StepImage::Slice &slice = pending.slices[i];
        SliceResult out;
        if (!pending.cancelled && slice.wantedRows > 0)
            out.logits = {from.logits.as<float>() + (slice.firstLogitRow + slice.keptRows - slice.wantedRows) * vocabulary,
                          slice.wantedRows * vocabulary};
        if (!pending.cancelled && slice.sampled)
            out.token = from.tokens.as<std::int32_t>()[i];
        result.slices.push_back(out);
    }
    // Of two steps that overlap, the second's time begins where the first one's ended.
    const std::uint64_t now = nowNs();
    result.seconds = static_cast<double>(now - std::max(pending.beginNs, m_collectedNs)) * 1e-9;
    m_collectedNs = now;
    return result;
}

Result<void> CudaProgram::reserveBlocks(GroupIndex group, std::uint32_t count)
{
    return m_groups[group.value].reserve(count);
}

std::uint64_t CudaProgram::bytesReserved() const
{
    std::uint64_t sum = 0;
    for (const KvGroup &group : m_groups)
        sum += group.bytesReserved();
    return sum;
}

void CudaProgram::copyBlock(GroupIndex group, BlockId from, BlockId to, std::uint32_t)
{
    // All rows: those past `tokens` are written before anybody reads them, and a whole block is one copy.
    const KvGroup &g = m_groups[group.value];
    Result<void> copied = m_transfer.flush(m_device, m_groups); // `from` may be on its way in
    if (copied)
        copied = m_transfer.waitForAll(m_device);
    if (copied)
        copied = m_device.copy(Queue::compute, g.block(to.value), g.block(from.value), g.blockStride());
    if (copied)
        copied = m_device.record(*m_copied, Queue::compute);
    m_anyCopied = m_anyCopied || copied;
    if (!copied)
        m_lost = copied.error();
}

Result<void> CudaProgram::exportBlock(GroupIndex group, BlockId block, std::span<std::byte> out)
{
    const KvGroup &g = m_groups[group.value];
    if (block.value >= g.blocksReserved() || out.size() != g.storedBytes())
        return fail(ErrorCode::badInput, "KV block " + std::to_string(block.value) + " cannot be copied out: it has another size.");
    // Rows of steps that were collected are there; of what is queued only a copy may still write what is asked for.
    return m_transfer.exportBlock(m_device, m_groups, group.value, block.value, out, m_anyCopied ? m_copied.get() : nullptr);
}

Result<void> CudaProgram::importBlock(GroupIndex group, BlockId block, std::span<const std::byte> in)
{
    const KvGroup &g = m_groups[group.value];
    if (block.value >= g.blocksReserved() || in.size() != g.storedBytes())
        return fail(ErrorCode::badInput, "KV block " + std::to_string(block.value) + " cannot be filled: its data has another size.");
    return m_transfer.importBlock(m_device, m_groups, group.value, block.value, in);
}

std::string CudaProgram::numerics() const
{
    const DeviceInfo &info = m_device.info();
    return "cuda:sm_" + std::to_string(info.facts.sm) + ":" + std::to_string(kernels::cuda::kKernelVersion) + ":" +
           (info.facts.blas ? info.blas : "none") + (info.facts.warpgroups ? "+wgmma" : "");
}

std::string CudaProgram::isa() const
{
    return "sm_" + std::to_string(m_device.info().facts.sm);
}

bool CudaProgram::samples(const api::SamplingSettings &s) const
{
    const bool penalised = s.repeatPenalty != 1.0 || s.presencePenalty != 0.0 || s.frequencyPenalty != 0.0;
    if (penalised && s.penaltyWindow > static_cast<int>(kernels::cuda::kMaxHistory))
        return false;
    return s.temperature <= 0 || (s.topK > 0 && s.topK <= static_cast<int>(kernels::cuda::kMaxTopK));
}

} // namespace kvilt::backend::cuda
