// SPDX-License-Identifier: Apache-2.0
#include "app/cli/baseline.h"
#include "app/cli/bench_limit.h"
#include "app/cli/bench_rig.h"
#include "app/cli/input.h"
#include "app/cli/runtime.h"
#include "app/cli/statistics.h"
#include "engine/model/model.h"
#include "engine/sched/sampler.h"
#include "engine/support/new_file.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <unistd.h>

namespace kvilt::cli {

namespace {

struct BenchOptions {
    ModelOptions model;
    std::string prompts = "512", generates = "128", depths = "0", batches = "1", report, baseline;
    std::int64_t repetitions = 5;
    bool restore = false, contiguous = false, paging = false;
};

struct Test {
    bool isPrefill = true;
    std::uint32_t tokens = 0, depth = 0, batch = 1;
    std::string name() const { return (isPrefill ? "pp" : "tg") + std::to_string(tokens); }
};

double rounded(double value, double digits = 1000)
{
    return std::isfinite(value) ? std::round(value * digits) / digits : 0.0;
}

nlohmann::json spread(const std::vector<double> &rates)
{
    return {{"median", rounded(quantile(rates, 0.5))},
            {"p10", rounded(quantile(rates, 0.1))},
            {"p90", rounded(quantile(rates, 0.9))}};
}

// The peer is taken with the KV type that suits it best, whatever ours is: which of the two depends on the depth.
constexpr const char *kPeerTypes[] = {"f16", "q8_0"};
using PeerRates = std::map<std::string, std::vector<double>>;

nlohmann::json bestPeer(const PeerRates &peer, double ourRate)
{
    nlohmann::json out, all;
    double best = 0;
    for (const auto &[type, rates] : peer) {
        const double median = quantile(rates, 0.5);
        all[type] = rounded(median);
        if (median > best) {
            best = median;
            out = {{"tokens_per_s", spread(rates)}, {"ratio", rounded(ourRate / median)}, {"kv_type", type}};
        }
    }
    out["kv_types"] = all;
    return out;
}

class Bench {
public:
    Bench(const Cli &cli, const BenchOptions &options, LoadedModel model, api::EngineSettings settings,
          LimitsProbe probe)
        : m_cli(cli), m_options(options), m_model(std::move(model)), m_settings(settings), m_probe(std::move(probe)),
          m_limit(*m_model.model, model::makeKvLayout(m_model.model->description(), settings.kType, settings.vType,
                                                      std::uint32_t(settings.blockSize)))
    {
    }

    Result<void> run()
    {
        constexpr std::int64_t kMost = 1 << 22;
        KVILT_TRY(const auto prompts, numberList(m_options.prompts, 0, kMost, "-p"));
        KVILT_TRY(const auto generates, numberList(m_options.generates, 0, kMost, "-n"));
        KVILT_TRY(const auto depths, numberList(m_options.depths, 0, kMost, "-d"));
        KVILT_TRY(const auto batches, numberList(m_options.batches, 1, 1024, "-b"));
        const auto nothing = [](const std::vector<std::int64_t> &list) { return std::ranges::all_of(list, [](auto n) { return n == 0; }); };
        if (nothing(prompts) && nothing(generates) && !m_options.restore)
            return fail(ErrorCode::badInput, "there is nothing to measure: -p and -n are both 0");
        if (m_options.repetitions < 1 || m_options.repetitions > 10000)
            return fail(ErrorCode::badInput, "-r must be between 1 and 10000");
        if (!m_options.report.empty()) // a place that cannot be written is told before minutes have gone by
            KVILT_TRY_VOID(NewFile::create(m_options.report, {.stream = true}));
        if (m_options.paging)
            return runPagings(depths, generates);
        if (!m_options.baseline.empty()) {
            KVILT_TRY(m_baseline, Baseline::create(m_options.baseline, m_options.model.model));
        }
        for (std::int64_t depth : depths)
            for (std::int64_t batch : batches) {
                for (std::int64_t p : prompts)
                    KVILT_TRY_VOID(runOne({true, std::uint32_t(p), std::uint32_t(depth), std::uint32_t(batch)}));
                for (std::int64_t n : generates)
                    KVILT_TRY_VOID(runOne({false, std::uint32_t(n), std::uint32_t(depth), std::uint32_t(batch)}));
            }
        if (m_options.restore)
            for (std::int64_t depth : depths)
                KVILT_TRY_VOID(runRestore(depth > 0 ? std::uint32_t(depth) : defaultRestore()));
        return m_options.report.empty() ? Result<void>{} : writeReport();
    }

private:
    // At the size that the test walks through, so that a cache larger than the weights is not taken for memory.
    Limits probeAround(const Test &test)
    {
        const std::uint64_t working = m_limit.workingSet(test.batch, test.depth + test.tokens / 2);
        return m_probe.measure({std::max<std::uint64_t>(working >> 20 << 20, 16ull << 20)});
    }

    Result<void> runOne(const Test &test)
    {
        if (test.tokens == 0)
            return {};
        const std::uint64_t total = std::uint64_t(test.tokens) * test.batch;
        KVILT_TRY(const auto rig, BenchRig::create(m_model, m_settings, {test.batch, test.depth, test.tokens},
                                                   m_options.contiguous));
        auto once = [&] { return test.isPrefill ? rig->prefill(test.tokens) : rig->decode(test.tokens); };
        const Limits before = probeAround(test);
        KVILT_TRY_VOID(once()); // warm: pages, caches, clocks
        rig->takePhases();
        std::vector<double> rates;
        PeerRates peer;
        for (std::int64_t i = 0; i < m_options.repetitions; ++i) {
            KVILT_TRY(const double seconds, once());
            rates.push_back(double(total) / seconds);
            KVILT_TRY_VOID(runPeer(test, peer));
        }
        const Limits limits = Limits::between(before, probeAround(test));
        const double least = test.isPrefill ? m_limit.prefillSeconds(limits, test.batch, test.depth, test.tokens)
                                            : m_limit.decodeSeconds(limits, test.batch, test.depth, test.tokens);
        const bool onCpu = rig->device().name() == "cpu"; // the limits are the processor's
        nlohmann::json line = {{"test", test.name()},
                               {"depth", test.depth},
                               {"batch", test.batch},
                               {"tokens_per_s", spread(rates)},
                               {"limit_share", onCpu ? nlohmann::json(rounded(least * quantile(rates, 0.5) / double(total), 1e4))
                                                     : nlohmann::json()},
                               {"limits", toJson(limits)},
                               {"machine", machine(limits)},
                               {"kv_layout", m_options.contiguous ? "contiguous" : "paged, shuffled"}};
        addPhases(line, rig->takePhases(), test, limits);
        if (!onCpu) {
            line["machine"]["device"] = rig->device().deviceName();
            line["machine"]["isa"] = rig->program().isa();
        }
        if (!peer.empty())
            line["baseline"] = bestPeer(peer, quantile(rates, 0.5));
        print(std::move(line));
        return {};
    }

    Result<void> runPagings(const std::vector<std::int64_t> &depths, const std::vector<std::int64_t> &generates)
    {
        if (m_options.restore || m_options.contiguous || !m_options.baseline.empty() || m_options.batches != "1")
            return fail(ErrorCode::badInput, "--paging stands alone: it takes no --restore, --contiguous, --baseline or -b");
        if (m_options.repetitions < 5)
            return fail(ErrorCode::badInput, "--paging gives an interval of at least 5 pairs: -r must be 5 or more");
        if (std::ranges::count(generates, 0) > 0)
            return fail(ErrorCode::badInput, "--paging measures tokens that are made: -n must not be 0");
        for (const std::int64_t depth : depths)
            for (const std::int64_t n : generates)
                KVILT_TRY_VOID(runPaging(std::uint32_t(depth), std::uint32_t(n)));
        return m_options.report.empty() ? Result<void>{} : writeReport();
    }

    // Where the time went, and in a prefill, which computing binds, how near the products with weights came to the machine's rate.
    void addPhases(nlohmann::json &line, const backend::PhaseSeconds &phases, const Test &test, const Limits &limits) const
    {
        const double sum = phases.gemm + phases.attention + phases.other;
        if (sum <= 0)
            return;
        line["phases"] = {{"gemm", rounded(phases.gemm / sum)},
                          {"attention", rounded(phases.attention / sum)},
                          {"other", rounded(phases.other / sum)}};
        if (!test.isPrefill)
            return;
        const double operations = double(m_options.repetitions) * m_limit.gemmOperations(test.batch, test.tokens, true);
        line["gemm_share"] = rounded(operations / phases.gemm / m_limit.gemmRate(limits), 1e4);
    }

    // Decoding one sequence whose blocks lie side by side and the same one in shuffled blocks, token by token in turns. A pair is
    // two medians of one program; a new program and a new order of blocks each pair.
    Result<void> runPaging(std::uint32_t depth, std::uint32_t tokens)
    {
        std::vector<double> ratios, rates;
        for (std::int64_t i = 0; i < m_options.repetitions; ++i) {
            KVILT_TRY(const auto rig, BenchRig::createTwin(m_model, m_settings, depth, tokens, std::uint64_t(i)));
            if (rig->device().name() != "cpu")
                return fail(ErrorCode::badInput, "--paging measures the CPU; add --backend cpu");
            std::vector<double> seconds[2];
            for (std::uint32_t token = 0; token < tokens; ++token)
                for (std::uint32_t turn = 0; turn < 2; ++turn) {
                    const std::uint32_t sequence = (turn + token) % 2;
                    KVILT_TRY(const double one, rig->decodeAlone(sequence, token));
                    seconds[sequence].push_back(one);
                }
            ratios.push_back(std::log(quantile(seconds[1], 0.5) / quantile(seconds[0], 0.5)));
            rates.push_back(1 / quantile(seconds[1], 0.5));
        }
        const Interval interval = meanInterval(ratios);
        const Limits limits = m_probe.measure({96ull << 20});
        const auto percent = [](double value) { return rounded(100 * std::expm1(value)); };
        print({{"test", "paging"},
               {"depth", depth},
               {"batch", 1},
               {"tokens_per_s", spread(rates)},
               {"tokens", tokens},
               {"pairs", ratios.size()},
               {"slower_percent", {{"mean", percent(interval.mean)}, {"low", percent(interval.low)}, {"high", percent(interval.high)}}},
               {"limit_share", nullptr},
               {"limits", toJson(limits)},
               {"machine", machine(limits)}});
        return {};
    }

    Result<void> runPeer(const Test &test, PeerRates &peer)
    {
        if (!m_baseline)
            return {};
        if (test.batch != 1) {
            if (!std::exchange(m_batchTold, true))
                note("llama-bench runs one sequence at a time: there is no baseline for a batch");
            return {};
        }
        for (const char *type : kPeerTypes) {
            const auto rate = m_baseline->run({.prompt = test.isPrefill ? test.tokens : 0,
                                               .generate = test.isPrefill ? 0 : test.tokens,
                                               .depth = test.depth,
                                               .threads = m_probe.threads(),
                                               .kType = type,
                                               .vType = type});
            if (rate)
                peer[type].push_back(*rate);
            else if (type == kPeerTypes[0])
                return tl::unexpected(rate.error());
            else if (!std::exchange(m_typeTold, true)) // an older peer, or one built without it
                note(rate.error().message + " with a KV cache of type " + type + "; the baseline is f16 alone");
        }
        return {};
    }

    // Depth 0 restores nothing, so it stands for a session of 4,096 tokens, or of what the context holds.
    std::uint32_t defaultRestore() const
    {
        return std::min(4096u, m_model.model->description().contextLength - 1);
    }

    // A session of `depth` tokens: prefilled and stored, then read back by an engine whose pool is empty.
    Result<void> runRestore(std::uint32_t depth)
    {
        std::error_code none;
        const std::filesystem::path temporary = std::filesystem::temp_directory_path(none);
        std::string folder = (temporary / "kvilt-bench-XXXXXX").string();
        if (none || mkdtemp(folder.data()) == nullptr)
            return fail(ErrorCode::io, "cannot make a folder for the stored KV among the temporary files; point TMPDIR at a "
                                       "folder that can be written");
        const Result<void> result = restoreIn(folder, depth);
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
        return result;
    }

    Result<void> restoreIn(const std::string &folder, std::uint32_t depth)
    {
        if (depth + 1 > m_model.model->description().contextLength)
            return fail(ErrorCode::badInput, "restoring " + std::to_string(depth) +
                                                 " tokens needs a longer context than the model has");
        KVILT_TRY(const auto profile, Profile::open(folder, {.kv = true}));
        api::EngineSettings settings = m_settings;
        settings.cache = true;
        std::vector<TokenId> tokens;
        const sched::CounterRandom random(7);
        for (std::uint32_t i = 0; i <= depth; ++i) // one more: the last token always runs
            tokens.push_back(TokenId(random.bits(i) % m_model.model->description().vocabulary));

        std::vector<double> prefillSeconds, restoreRates;
        for (std::int64_t i = 0; i < m_options.repetitions; ++i) {
            if (i == 0) {
                KVILT_TRY(const SequenceStats stats, runOnce(settings, *profile, tokens));
                prefillSeconds.push_back(stats.prefillSeconds);
            }
            KVILT_TRY(const SequenceStats stats, runOnce(settings, *profile, tokens));
            if (stats.cachedDisk == 0)
                return fail(ErrorCode::io, "nothing was restored: the stored KV could not be read back");
            restoreRates.push_back(double(stats.cachedDisk) / stats.restoreSeconds);
        }
        const Limits limits = m_probe.measure({96ull << 20});
        const double prefillRate = double(depth + 1) / prefillSeconds[0];
        print({{"test", "restore"},
               {"depth", depth},
               {"batch", 1},
               {"tokens_per_s", spread(restoreRates)},
               {"prefill_tokens_per_s", rounded(prefillRate)},
               {"speedup", rounded(quantile(restoreRates, 0.5) / prefillRate)},
               {"limit_share", nullptr},
               {"limits", toJson(limits)},
               {"machine", machine(limits)}});
        return {};
    }

    // A new engine each time, so that its pool is empty and only the disk knows the tokens.
    Result<SequenceStats> runOnce(const api::EngineSettings &settings, Profile &profile,
                                  const std::vector<TokenId> &tokens)
    {
        KVILT_TRY(const auto engine, makeEngine(m_model, settings, &profile));
        KVILT_TRY_VOID(engine->submit({.tokens = tokens, .sampling = {.maxTokens = 1}}));
        SequenceStats stats;
        KVILT_TRY_VOID(drive(*engine, [&](SequenceOutput output) -> Result<void> {
            if (output.finished && output.reason == api::FinishReason::cancelled)
                return fail(ErrorCode::cancelled, "stopped; nothing was measured");
            stats = output.stats;
            return {};
        }));
        KVILT_TRY_VOID(engine->flush());
        return stats;
    }

    nlohmann::json machine(const Limits &limits) const
    {
        char mode[64];
        std::snprintf(mode, sizeof mode, "reads %.1f GB/s, int8 %.2f Top/s",
                      limits.readBytesPerSecond.begin()->second / 1e9, limits.int8PerSecond / 1e12);
        return {{"isa", limits.isa}, {"threads", limits.threads}, {"mode", mode}};
    }

    static std::string slower(const nlohmann::json &line)
    {
        char text[128];
        const nlohmann::json &percent = line["slower_percent"];
        std::snprintf(text, sizeof text, "shuffled blocks take %+.2f %% of time beside adjacent ones (%u pairs, 95 %%: %+.2f to %+.2f)",
                      percent["mean"].get<double>(), line["pairs"].get<unsigned>(), percent["low"].get<double>(),
                      percent["high"].get<double>());
        return text;
    }

    void print(nlohmann::json line)
    {
        if (m_cli.json) {
            printJson(line);
        } else {
            std::printf("%-8s depth %5u  batch %3u  %10.1f tok/s (%.1f to %.1f)", line["test"].get<std::string>().c_str(),
                        line["depth"].get<unsigned>(), line["batch"].get<unsigned>(),
                        line["tokens_per_s"]["median"].get<double>(), line["tokens_per_s"]["p10"].get<double>(),
                        line["tokens_per_s"]["p90"].get<double>());
            if (line["limit_share"].is_number())
                std::printf("  %3.0f %% of the limit", line["limit_share"].get<double>() * 100);
            if (line.contains("phases"))
                std::printf("  products %.0f %% of the time, attention %.0f %%", line["phases"]["gemm"].get<double>() * 100,
                            line["phases"]["attention"].get<double>() * 100);
            if (line.contains("gemm_share"))
                std::printf("  products at %.0f %% of the peak", line["gemm_share"].get<double>() * 100);
            if (line.contains("slower_percent"))
                std::printf("  %s", slower(line).c_str());
            if (line.contains("speedup"))
                std::printf("  %.1f x prefill (%.1f tok/s)", line["speedup"].get<double>(),
                            line["prefill_tokens_per_s"].get<double>());
            if (line.contains("baseline"))
                std::printf("  %.2f x baseline (%.1f tok/s, %s)", line["baseline"]["ratio"].get<double>(),
                            line["baseline"]["tokens_per_s"]["median"].get<double>(),
                            line["baseline"]["kv_type"].get<std::string>().c_str());
            std::printf("\n");
            std::fflush(stdout);
        }
        m_lines.push_back(std::move(line));
    }

    Result<void> writeReport() const
    {
        const std::time_t now = std::time(nullptr);
        char date[32];
        std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
        std::string text = "# " + m_model.model->name() + " (" + m_model.model->quantisation() + "), " + date + "\n\n" +
                           "KV " + std::string(api::toString(m_settings.kType)) + "/" +
                           std::string(api::toString(m_settings.vType)) + ", block size " +
                           std::to_string(m_settings.blockSize) + "\n\n" +
                           "| test | depth | batch | tok/s | p10 | p90 | share of limit | baseline tok/s | ratio | machine |\n"
                           "|---|---|---|---|---|---|---|---|---|---|\n";
        for (const nlohmann::json &line : m_lines) {
            const nlohmann::json &rate = line["tokens_per_s"];
            const bool peer = line.contains("baseline");
            text += "| " + line["test"].get<std::string>() + " | " + line["depth"].dump() + " | " + line["batch"].dump() +
                    " | " + rate["median"].dump() + " | " + rate["p10"].dump() + " | " + rate["p90"].dump() + " | " +
                    (line["limit_share"].is_number() ? line["limit_share"].dump() : "") + " | " +
                    (peer ? line["baseline"]["tokens_per_s"]["median"].dump() : "") + " | " +
                    (peer                             ? line["baseline"]["ratio"].dump()
                     : line.contains("speedup")        ? line["speedup"].dump() + " × prefill"
                     : line.contains("slower_percent") ? slower(line)
                                                       : "") +
                    " | " + line["machine"]["isa"].get<std::string>() + ", " + line["machine"]["threads"].dump() +
                    " threads, " + line["machine"]["mode"].get<std::string>() + " |\n";
        }
        KVILT_TRY(NewFile file, NewFile::create(m_options.report, {.stream = true}));
        KVILT_TRY_VOID(file.write(text));
        return file.commit();
    }

    const Cli &m_cli;
    const BenchOptions &m_options;
    LoadedModel m_model;
    api::EngineSettings m_settings;
    LimitsProbe m_probe;
    LimitModel m_limit;
    std::optional<Baseline> m_baseline;
    bool m_batchTold = false, m_typeTold = false;
    std::vector<nlohmann::json> m_lines;
};

Result<void> bench(const Cli &cli, const BenchOptions &options)
{
    KVILT_TRY(api::EngineSettings settings, options.model.resolve());
    settings.cache = false; // never uses stored KV; --restore has a profile of its own
    KVILT_TRY(LoadedModel model, loadModel(options.model.model));
    KVILT_TRY(LimitsProbe probe, LimitsProbe::create(settings.threads));
    Bench run(cli, options, std::move(model), settings, std::move(probe));
    return run.run();
}

} // namespace

void addBench(Cli &cli)
{
    auto options = std::make_shared<BenchOptions>();
    Command command = cli.add("bench", "Tokens a second, as a share of what the machine can do",
                                [&cli, options] { return bench(cli, *options); });
    options->model.addTo(command);
    command.option("-p", options->prompts, "Prompt tokens, a list").showDefault();
    command.option("-n", options->generates, "Tokens to make, a list").showDefault();
    command.option("-d", options->depths, "Tokens that stand before, a list").showDefault();
    command.option("-b", options->batches, "Sequences at once, a list").showDefault();
    command.option("-r", options->repetitions, "Repetitions").showDefault();
    command.flag("--restore", options->restore, "Also: reading stored KV back, against computing it");
    command.flag("--contiguous", options->contiguous, "Blocks of a sequence side by side: what paging costs");
    command.flag("--paging", options->paging, "Only: decoding on shuffled blocks against blocks side by side, in pairs");
    command.option("--report", options->report, "Write the table to this Markdown file");
    command.option("--baseline", options->baseline, "llama-bench to run in turns with ours");
}

} // namespace kvilt::cli
