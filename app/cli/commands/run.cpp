// SPDX-License-Identifier: Apache-2.0
#include "app/cli/input.h"
#include "app/cli/runtime.h"
#include "app/cli/session_turn.h"
#include "engine/model/model.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <memory>
#include <sstream>
#include <thread>

namespace kvilt::cli {

namespace {

using SteadyClock = std::chrono::steady_clock;

struct RunOptions {
    ModelOptions model;
    SamplingOptions sampling;
    std::string requests;
    double ttftMs = 0, tpotMs = 0, itlMs = 0; // what a request has to meet to count as good; 0: no matter
};

// One line of the requests file.
struct Arrival {
    double atMs = 0;
    nlohmann::json id;
    std::string session; // as the line names it; empty: none
    Request request;
    std::int64_t samples = 1;
};

Result<std::int64_t> wholeNumber(const nlohmann::json &line, const char *key, std::int64_t fallback, std::int64_t high,
                                 const std::string &where)
{
    const auto it = line.find(key);
    if (it == line.end())
        return fallback;
    if (it->is_number_integer() && it->get<double>() >= 0 && it->get<double>() <= double(high))
        return it->get<std::int64_t>();
    return fail(ErrorCode::badInput, where + ": \"" + key + "\" must be a whole number from 0 to " + std::to_string(high));
}

Result<double> number(const nlohmann::json &line, const char *key, double fallback, double low, double high,
                      const std::string &where)
{
    const auto it = line.find(key);
    if (it == line.end())
        return fallback;
    if (it->is_number() && it->get<double>() >= low && it->get<double>() <= high) // NaN is neither
        return it->get<double>();
    char range[64];
    std::snprintf(range, sizeof range, "%g to %g", low, high);
    return fail(ErrorCode::badInput, where + ": \"" + key + "\" must be a number from " + range);
}

Result<std::string> word(const nlohmann::json &line, const char *key, const std::string &where)
{
    const auto it = line.find(key);
    if (it == line.end())
        return std::string();
    if (it->is_string() && it->get<std::string>().size() <= 200)
        return it->get<std::string>();
    if (it->is_number_unsigned())
        return it->dump();
    return fail(ErrorCode::badInput, where + ": \"" + key + "\" must be a string of at most 200 bytes");
}

Result<std::vector<TokenId>> promptOf(const nlohmann::json &line, const LoadedModel &model, const std::string &where)
{
    if (line.contains("tokens") + line.contains("prompt") + line.contains("messages") > 1)
        return fail(ErrorCode::badInput, where + " has more than one of messages, prompt, tokens");
    if (line.contains("tokens"))
        return tokensFrom(line["tokens"], model.model->description().vocabulary, where);
    if (line.contains("prompt")) {
        if (!line["prompt"].is_string())
            return fail(ErrorCode::badInput, where + ": \"prompt\" must be a string");
        KVILT_TRY(text::Encoding encoding, model.tokenizer->encode(line["prompt"].get<std::string>()));
        return std::move(encoding.ids);
    }
    if (!line.contains("messages"))
        return fail(ErrorCode::badInput, where + " has none of messages, prompt, tokens");
    KVILT_TRY(const auto rows, rowsFromMessages(line["messages"].dump(), where));
    const chat::PromptBuilder builder(model.tokenizer, model.chatTemplate);
    KVILT_TRY(chat::Prompt prompt, builder.build(chat::promptMessages(rows, {}, {}), {}));
    return std::move(prompt.ids);
}

Result<Arrival> parseLine(const std::string &text, const LoadedModel &model, const RunOptions &options,
                          const api::SamplingSettings &sampling, const std::string &where)
{
    const nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
    if (!line.is_object())
        return fail(ErrorCode::badInput, where + " is not a JSON object");
    Arrival arrival;
    arrival.id = line.value("id", nlohmann::json());
    KVILT_TRY(arrival.request.tokens, promptOf(line, model, where));
    KVILT_TRY(arrival.atMs, number(line, "at_ms", 0, 0, 1e9, where));
    KVILT_TRY(arrival.session, word(line, "session", where));
    arrival.request.sampling = sampling;
    KVILT_TRY(const std::int64_t most, wholeNumber(line, "max_tokens", sampling.maxTokens, 1 << 30, where));
    arrival.request.sampling.maxTokens = int(most);
    KVILT_TRY(arrival.samples, wholeNumber(line, "n", 1, 256, where));
    KVILT_TRY(const std::int64_t priority, wholeNumber(line, "priority", 0, 1 << 20, where));
    arrival.request.priority = int(priority);
    KVILT_TRY(arrival.request.weight, number(line, "weight", 1, 1e-6, 1e6, where));
    if (const auto flag = line.find("ignore_eos"); flag != line.end()) {
        if (!flag->is_boolean())
            return fail(ErrorCode::badInput, where + ": \"ignore_eos\" must be true or false");
        arrival.request.sampling.ignoreEos = flag->get<bool>();
    }
    KVILT_TRY(arrival.request.salt, word(line, "salt", where));
    arrival.request.useCache = !options.model.noCache;
    return arrival;
}

Result<std::vector<Arrival>> readArrivals(const RunOptions &options, const LoadedModel &model)
{
    KVILT_TRY(const api::SamplingSettings sampling, options.sampling.resolve());
    KVILT_TRY(const std::string text, readFile(options.requests));
    std::istringstream lines(text);
    std::vector<Arrival> arrivals;
    std::set<std::string> ids;
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number) {
        if (line.find_first_not_of(" \t\r") == std::string::npos)
            continue;
        const std::string where = options.requests + " line " + std::to_string(number);
        KVILT_TRY(Arrival arrival, parseLine(line, model, options, sampling, where));
        if (arrival.id.is_null())
            arrival.id = number;
        if (!ids.insert(arrival.id.dump()).second)
            return fail(ErrorCode::badInput, where + ": an earlier line has the id " + arrival.id.dump() +
                                                 " already, so their results could not be told apart");
        arrivals.push_back(std::move(arrival));
    }
    if (arrivals.empty())
        return fail(ErrorCode::badInput, options.requests + " holds no requests");
    std::stable_sort(arrivals.begin(), arrivals.end(),
                     [](const Arrival &a, const Arrival &b) { return a.atMs < b.atMs; });
    return arrivals;
}

double quantile(std::vector<double> values, double q)
{
    if (values.empty())
        return 0;
    const auto at = std::size_t(q * double(values.size() - 1) + 0.5);
    std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(at), values.end());
    return values[at];
}

nlohmann::json spread(const std::vector<double> &millis)
{
    double sum = 0;
    for (double v : millis)
        sum += v;
    auto rounded = [](double v) { return std::round(v * 1000) / 1000; };
    return {{"mean", rounded(millis.empty() ? 0 : sum / double(millis.size()))},
            {"p50", rounded(quantile(millis, 0.5))},
            {"p90", rounded(quantile(millis, 0.9))},
            {"p99", rounded(quantile(millis, 0.99))}};
}

// Submits arrivals at their time, steps the engine, prints each result as it ends.
class Runner {
public:
    Runner(Engine &engine, std::vector<Arrival> arrivals, const RunOptions &options, bool json)
        : m_engine(engine), m_arrivals(std::move(arrivals)), m_options(options), m_json(json),
          m_begin(SteadyClock::now())
    {
    }

    Result<void> run()
    {
        const StopSignals signals(m_engine);
        while (m_next < m_arrivals.size() || !m_engine.idle()) {
            if (signals.caught()) { // what runs ends as cancelled, what has not come yet never does
                m_next = m_arrivals.size();
                m_engine.cancelAll();
            }
            KVILT_TRY_VOID(submitDue());
            if (m_engine.idle() && m_next < m_arrivals.size()) {
                // In slices: a signal does not end a sleep.
                std::this_thread::sleep_until(std::min(dueAt(m_arrivals[m_next]),
                                                       SteadyClock::now() + std::chrono::milliseconds(20)));
                continue;
            }
            KVILT_TRY_VOID(m_engine.step());
            for (SequenceOutput &output : m_engine.takeOutputs())
                KVILT_TRY_VOID(take(std::move(output)));
        }
        printSummary();
        return {};
    }

private:
    struct Live {
        const Arrival *arrival;
        std::int64_t sample = 0, forksLeft = 0;
        std::vector<TokenId> tokens;
    };

    SteadyClock::time_point dueAt(const Arrival &arrival) const
    {
        return m_begin + std::chrono::duration_cast<SteadyClock::duration>(
                             std::chrono::duration<double, std::milli>(arrival.atMs));
    }

    Result<void> submitDue()
    {
        while (m_next < m_arrivals.size() && dueAt(m_arrivals[m_next]) <= SteadyClock::now()) {
            const Arrival &arrival = m_arrivals[m_next++];
            if (arrival.samples == 0)
                continue;
            if (auto possible = m_engine.check(arrival.request); !possible) {
                refuse(arrival, possible.error());
                continue;
            }
            KVILT_TRY(const SequenceId id, m_engine.submit(arrival.request));
            m_live[id.value] = {.arrival = &arrival, .sample = 0, .forksLeft = arrival.samples - 1, .tokens = {}};
        }
        return {};
    }

    Result<void> take(SequenceOutput output)
    {
        Live &live = m_live.at(output.sequence.value);
        live.tokens.insert(live.tokens.end(), output.tokens.begin(), output.tokens.end());
        const bool decodes = output.stats.phase == SequencePhase::decode;
        if (live.forksLeft > 0 && (decodes || output.finished))
            KVILT_TRY_VOID(forkSamples(output, live));
        if (output.finished) {
            print(output, live);
            m_live.erase(output.sequence.value);
        }
        return {};
    }

    // One request that this pool can never hold is its own failure; the others run.
    void refuse(const Arrival &arrival, const Error &why)
    {
        SequenceOutput output{.finished = true, .reason = api::FinishReason::error, .problem = why.message};
        output.stats.promptTokens = std::uint32_t(arrival.request.tokens.size());
        for (std::int64_t sample = 0; sample < arrival.samples; ++sample)
            print(output, {.arrival = &arrival, .sample = sample, .forksLeft = 0, .tokens = {}});
    }

    // Further samples share the prompt's blocks; if the first one is over already they find them in the cache.
    Result<void> forkSamples(const SequenceOutput &output, Live &live)
    {
        const Arrival &arrival = *live.arrival;
        for (; live.forksLeft > 0; --live.forksLeft) {
            Request request = arrival.request;
            const std::int64_t sample = arrival.samples - live.forksLeft;
            request.sampling.seed += std::uint64_t(sample);
            SequenceId id;
            if (output.finished) {
                KVILT_TRY(id, m_engine.submit(std::move(request)));
            } else {
                KVILT_TRY(id, m_engine.fork(output.sequence, request.sampling));
            }
            m_live[id.value] = {.arrival = &arrival, .sample = sample, .forksLeft = 0, .tokens = {}};
        }
        return {};
    }

    void print(const SequenceOutput &output, const Live &live)
    {
        const SequenceStats &s = output.stats;
        std::vector<double> gaps;
        for (std::uint32_t us : s.gapsUs)
            gaps.push_back(us / 1e3);
        const double queued = s.startedNs > s.submittedNs ? double(s.startedNs - s.submittedNs) * 1e-9 : 0;
        nlohmann::json out = {{"id", live.arrival->id},
                              {"queued_ms", ms(queued)},
                              {"ttft_ms", ms(s.ttftSeconds())},
                              {"tpot_ms", ms(s.tpotSeconds())},
                              {"itl_ms", {{"p50", quantile(gaps, 0.5)}, {"p99", quantile(gaps, 0.99)}}},
                              {"cached_tokens", {{"device", s.cachedMemory}, {"host", s.cachedHost}, {"disk", s.cachedDisk - s.cachedHost}}},
                              {"computed_tokens", s.computed},
                              {"recomputed_tokens", s.recomputed},
                              {"preempted", s.preemptions},
                              {"swapped_blocks", 0},
                              {"tokens", live.tokens},
                              {"finish_reason", api::toString(output.reason)}};
        if (live.arrival->samples > 1)
            out["sample"] = live.sample;
        if (!output.problem.empty())
            out["problem"] = output.problem;
        if (m_json)
            printJson(out);
        else
            std::printf("%s: %u prompt tokens (%u cached), %u made, first token %.1f ms, %.2f ms each, %s\n",
                        live.arrival->id.dump().c_str(), s.promptTokens, s.cachedMemory + s.cachedDisk,
                        s.completionTokens, s.ttftSeconds() * 1e3, s.tpotSeconds() * 1e3,
                        std::string(api::toString(output.reason)).c_str());
        ++m_requests;
        m_good += meetsObjectives(output, gaps) ? 1 : 0;
        m_promptTokens += s.promptTokens;
        m_cached += s.cachedMemory + s.cachedDisk;
        m_made += s.completionTokens;
        m_preemptions += s.preemptions;
        m_ttft.push_back(s.ttftSeconds() * 1e3);
        if (s.completionTokens > 1)
            m_tpot.push_back(s.tpotSeconds() * 1e3);
        m_gaps.insert(m_gaps.end(), gaps.begin(), gaps.end());
    }

    bool hasObjectives() const { return m_options.ttftMs > 0 || m_options.tpotMs > 0 || m_options.itlMs > 0; }

    // Goodput counts requests that meet every objective; a request that failed meets none.
    bool meetsObjectives(const SequenceOutput &output, const std::vector<double> &gaps) const
    {
        const auto within = [](double value, double most) { return most <= 0 || value <= most; };
        const SequenceStats &s = output.stats;
        return (output.reason == api::FinishReason::stop || output.reason == api::FinishReason::length) &&
               within(s.ttftSeconds() * 1e3, m_options.ttftMs) && within(s.tpotSeconds() * 1e3, m_options.tpotMs) &&
               within(gaps.empty() ? 0 : *std::max_element(gaps.begin(), gaps.end()), m_options.itlMs);
    }

    void printSummary() const
    {
        const double wall = std::chrono::duration<double>(SteadyClock::now() - m_begin).count();
        const api::PoolCounts counts = m_engine.counts();
        const double hitRatio = m_promptTokens > 0 ? double(m_cached) / double(m_promptTokens) : 0;
        nlohmann::json summary = {{"requests", m_requests},
                                        {"wall_s", ms(wall) / 1e3},
                                        {"prompt_tokens_per_s", std::round(double(m_promptTokens) / wall * 10) / 10},
                                        {"decode_tokens_per_s", std::round(double(m_made) / wall * 10) / 10},
                                        {"ttft_ms", spread(m_ttft)},
                                        {"tpot_ms", spread(m_tpot)},
                                        {"itl_ms", spread(m_gaps)},
                                        {"hit_ratio", hitRatio},
                                        {"evictions", counts.evictions},
                                        {"regretted_evictions", counts.regretted},
                                        {"preemptions", m_preemptions}};
        if (hasObjectives())
            summary["goodput_per_s"] = std::round(double(m_good) / wall * 1e4) / 1e4;
        if (m_json)
            printJson({{"summary", summary}});
        else
            std::printf("%s\n", summary.dump(2).c_str());
    }

    Engine &m_engine;
    std::vector<Arrival> m_arrivals;
    const RunOptions &m_options;
    bool m_json;
    SteadyClock::time_point m_begin;
    std::size_t m_next = 0;
    std::map<std::uint64_t, Live> m_live;
    std::uint64_t m_requests = 0, m_good = 0, m_promptTokens = 0, m_cached = 0, m_made = 0, m_preemptions = 0;
    std::vector<double> m_ttft, m_tpot, m_gaps;
};

// Whose work a request is, for events and for the KV of that session: a stored session by its name or number, else
// one of this run alone, with a number that no stored session has.
Result<void> nameSessions(std::vector<Arrival> &arrivals, Profile *profile)
{
    constexpr std::int64_t kFirstOfRun = std::int64_t(1) << 31;
    std::map<std::string, SessionId> known;
    for (Arrival &arrival : arrivals) {
        if (arrival.session.empty())
            continue;
        if (!known.contains(arrival.session)) {
            std::optional<SessionId> stored;
            if (profile != nullptr && profile->sessions) {
                KVILT_TRY(stored, findSession(*profile->sessions, arrival.session));
            }
            const SessionId own{kFirstOfRun + std::int64_t(known.size())};
            known.emplace(arrival.session, stored.value_or(own));
        }
        arrival.request.session = known.at(arrival.session);
    }
    return {};
}

// What no pool would help against is refused before anything runs.
Result<void> checkLengths(const std::vector<Arrival> &arrivals, const LoadedModel &model,
                          const api::EngineSettings &settings)
{
    const std::size_t context = settings.contextLength > 0 ? std::size_t(settings.contextLength)
                                                           : model.model->description().contextLength;
    for (const Arrival &arrival : arrivals)
        if (arrival.request.tokens.empty() || arrival.request.tokens.size() > context)
            return fail(ErrorCode::badInput, "request " + arrival.id.dump() + " has " +
                                                 std::to_string(arrival.request.tokens.size()) +
                                                 " tokens; the context holds 1 to " + std::to_string(context));
    return {};
}

Result<void> runRequests(const Cli &cli, const RunOptions &options)
{
    for (const double most : {options.ttftMs, options.tpotMs, options.itlMs})
        if (!(most >= 0) || !(most <= 1e9))
            return fail(ErrorCode::badInput, "--slo-ttft, --slo-tpot and --slo-itl take milliseconds from 0 to 1e9");
    KVILT_TRY(const api::EngineSettings settings, options.model.resolve());
    KVILT_TRY(const LoadedModel model, loadModel(options.model.model));
    KVILT_TRY(std::vector<Arrival> arrivals, readArrivals(options, model));
    KVILT_TRY_VOID(Engine::checkBefore(model, settings, nullptr));
    KVILT_TRY_VOID(checkLengths(arrivals, model, settings));
    const bool named = std::any_of(arrivals.begin(), arrivals.end(), [](const Arrival &a) { return !a.session.empty(); });
    Runtime runtime;
    if (settings.cache) {
        KVILT_TRY(runtime.profile, Profile::open(cli.profile, {.sessions = named, .kv = true, .events = true}));
    }
    KVILT_TRY_VOID(nameSessions(arrivals, runtime.profile.get()));
    KVILT_TRY(runtime.engine, makeEngine(model, settings, runtime.profile.get()));
    Runner runner(*runtime.engine, std::move(arrivals), options, cli.json);
    KVILT_TRY_VOID(runner.run());
    if (runtime.profile && runtime.profile->journal)
        runtime.profile->journal->endTurn({}, {});
    return runtime.engine->flush();
}

} // namespace

void addRun(Cli &cli)
{
    auto options = std::make_shared<RunOptions>();
    Command command = cli.add("run", "Many requests through the scheduler",
                                [&cli, options] { return runRequests(cli, *options); });
    options->model.addTo(command);
    options->sampling.addTo(command);
    command.option("--requests", options->requests, "JSON lines: at_ms, id, prompt or messages or tokens, ...")
        .required();
    command.option("--slo-ttft", options->ttftMs, "Goodput counts requests whose first token comes within MS");
    command.option("--slo-tpot", options->tpotMs, "... and whose tokens take at most MS each");
    command.option("--slo-itl", options->itlMs, "... and that never paused longer than MS");
}

} // namespace kvilt::cli
