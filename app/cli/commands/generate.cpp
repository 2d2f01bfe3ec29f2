// SPDX-License-Identifier: Apache-2.0
#include "app/cli/input.h"
#include "app/cli/runtime.h"
#include "app/cli/session_turn.h"
#include "engine/model/model.h"

#include <cstdio>
#include <filesystem>
#include <memory>

namespace kvilt::cli {

namespace {

struct GenerateOptions {
    ModelOptions model;
    SamplingOptions sampling;
    std::string promptFile, messages, tokensFile, session;
    std::int64_t logprobs = 0;
};

// What is asked, read and checked before anything is opened or written.
struct Input {
    std::vector<TokenId> tokens;           // prompt file, tokens file, or messages without a session
    std::vector<store::MessageRow> append; // with a session
};

Result<std::vector<TokenId>> promptOf(const LoadedModel &model, const std::vector<store::MessageRow> &rows)
{
    if (!model.chatTemplate && !model.templateProblem.empty())
        return fail(ErrorCode::unsupported, "the model's chat template cannot be used: " + model.templateProblem);
    const chat::PromptBuilder builder(model.tokenizer, model.chatTemplate);
    const auto messages = chat::promptMessages(rows, {}, {});
    KVILT_TRY(chat::Prompt prompt, builder.build(messages, {}));
    return std::move(prompt.ids);
}

Result<Input> readInput(const GenerateOptions &options, const LoadedModel &model)
{
    Input input;
    if (!options.tokensFile.empty()) {
        if (!options.session.empty())
            return fail(ErrorCode::badInput, "--session takes messages or a prompt, not token ids");
        KVILT_TRY(input.tokens, readTokens(options.tokensFile, model.tokenizer->vocabSize()));
        return input;
    }
    if (!options.messages.empty()) {
        KVILT_TRY(const std::string text, readFile(options.messages));
        KVILT_TRY(input.append, rowsFromMessages(text, options.messages));
        // In a session the stored messages come first; here it only shows early that these can be rendered at all.
        auto alone = promptOf(model, input.append);
        if (!alone && (options.session.empty() || !model.chatTemplate))
            return tl::unexpected(alone.error());
        if (options.session.empty())
            input.tokens = std::move(*alone);
        return input;
    }
    KVILT_TRY(std::string text, readFile(options.promptFile));
    if (!options.session.empty()) {
        if (!model.chatTemplate)
            return fail(ErrorCode::unsupported, "this model has no chat template, and a session is a chat; leave out "
                                                "--session or use an instruction-tuned model");
        input.append.push_back({.role = api::Role::user, .text = std::move(text)});
        return input;
    }
    KVILT_TRY(text::Encoding encoding, model.tokenizer->encode(text));
    input.tokens = std::move(encoding.ids);
    return input;
}

nlohmann::json logprobsJson(const std::vector<std::vector<TokenLogprob>> &lists)
{
    nlohmann::json out = nlohmann::json::array();
    for (const auto &list : lists) {
        nlohmann::json &row = out.emplace_back(nlohmann::json::array());
        for (const TokenLogprob &entry : list)
            row.push_back({{"id", entry.id}, {"logprob", entry.logprob}});
    }
    return out;
}

void report(const Cli &cli, const GenerateOptions &options, const SessionTurn &turn, api::EventReason missReason)
{
    const SequenceStats &stats = turn.stats;
    if (!cli.json) {
        std::printf("\n");
        std::fprintf(stderr, "%u prompt tokens (%u cached, %u computed), %u made; first token after %.0f ms, "
                             "prefill %.0f/s, decode %.1f/s\n",
                     stats.promptTokens, stats.cachedMemory + stats.cachedDisk, stats.computed,
                     stats.completionTokens, stats.ttftSeconds() * 1e3, stats.prefillTokensPerSecond(),
                     stats.decodeTokensPerSecond());
        return;
    }
    const std::string_view reason = turn.reason == api::FinishReason::error ? "error" : api::toString(turn.reason);
    nlohmann::json out = {{"tokens", turn.tokens},
                          {"text", turn.reply},
                          {"finish_reason", reason},
                          {"usage", usageJson(stats)},
                          {"timing", timingJson(stats)},
                          {"cache", {{"restored_blocks", stats.restoredBlocks},
                                     {"evicted_blocks", stats.evictedBlocks}}}};
    if (missReason != api::EventReason::none)
        out["cache"]["miss_reason"] = api::toString(missReason);
    if (options.logprobs > 0)
        out["logprobs"] = logprobsJson(turn.logprobs);
    printJson(out);
}

Result<void> generatePlain(const Cli &cli, const GenerateOptions &options, const api::SamplingSettings &sampling,
                           Engine &engine, Profile *profile, std::vector<TokenId> tokens)
{
    Request request{.tokens = std::move(tokens), .sampling = sampling, .useCache = !options.model.noCache,
                    .logprobs = std::uint32_t(options.logprobs)};
    KVILT_TRY_VOID(engine.submit(std::move(request)));
    SessionTurn turn;
    api::EventReason missReason = api::EventReason::none;
    KVILT_TRY_VOID(drive(engine, [&](SequenceOutput output) -> Result<void> {
        turn.reply += output.text;
        turn.tokens.insert(turn.tokens.end(), output.tokens.begin(), output.tokens.end());
        std::move(output.logprobs.begin(), output.logprobs.end(), std::back_inserter(turn.logprobs));
        turn.stats = output.stats;
        turn.reason = output.reason;
        if (output.finished) {
            turn.problem = output.problem;
            missReason = output.lookup.reason;
        }
        if (!cli.json) {
            printText(output.text);
            std::fflush(stdout);
        }
        return {};
    }));
    if (profile != nullptr && profile->journal)
        profile->journal->endTurn({}, {});
    report(cli, options, turn, missReason);
    return turn.reason == api::FinishReason::error ? fail(ErrorCode::device, turn.problem) : Result<void>{};
}

Result<void> generateInSession(const Cli &cli, const GenerateOptions &options, const api::SamplingSettings &sampling,
                               Engine &engine, Profile &profile, std::vector<store::MessageRow> append)
{
    KVILT_TRY(const auto session, findSession(*profile.sessions, options.session));
    SessionTurnRequest request{.session = session.value_or(SessionId{}), .name = options.session,
                               .append = std::move(append), .sampling = sampling,
                               .useCache = !options.model.noCache, .logprobs = std::uint32_t(options.logprobs)};
    if (!cli.json)
        request.onText = [](const std::string &text) {
            printText(text);
            std::fflush(stdout);
        };
    KVILT_TRY(const SessionTurn turn, runSessionTurn(engine, profile, request));
    report(cli, options, turn, turn.receipt.miss.reason);
    if (turn.reason == api::FinishReason::error)
        return fail(ErrorCode::device, turn.problem);
    return profile.sessionsStored(); // the disk may have filled up meanwhile
}

// What the engine would refuse as well, said before a profile is made. A session that is there already may add to
// the prompt: it is counted once more with it, before anything is appended.
Result<void> refuseEarly(const Cli &cli, const GenerateOptions &options, const LoadedModel &model,
                         const api::EngineSettings &settings, const api::SamplingSettings &sampling, const Input &input)
{
    Request request{.tokens = input.tokens, .sampling = sampling};
    if (options.session.empty())
        return Engine::checkBefore(model, settings, &request);
    KVILT_TRY_VOID(checkSessionName(options.session));
    KVILT_TRY(const store::ProfilePaths paths, store::profilePaths(cli.profile));
    std::error_code ignored;
    if (std::filesystem::exists(paths.sessionsDb(), ignored))
        return Engine::checkBefore(model, settings, nullptr);
    const std::uint32_t context = settings.contextLength > 0 ? std::uint32_t(settings.contextLength)
                                                             : model.model->description().contextLength;
    KVILT_TRY(chat::TurnPlan plan,
              planSessionTurn(model, context, {}, {.append = input.append, .sampling = sampling}));
    request.tokens = std::move(plan.prompt.ids);
    return Engine::checkBefore(model, settings, &request);
}

Result<void> generate(const Cli &cli, const GenerateOptions &options)
{
    KVILT_TRY(const api::EngineSettings settings, options.model.resolve());
    KVILT_TRY(const api::SamplingSettings sampling, options.sampling.resolve());
    if (options.logprobs < 0 || options.logprobs > 1 << 20)
        return fail(ErrorCode::badInput, "--logprobs must be between 0 and 2^20");
    KVILT_TRY(const LoadedModel model, loadModel(options.model.model));
    KVILT_TRY(Input input, readInput(options, model));

    Runtime runtime;
    const bool inSession = !options.session.empty();
    KVILT_TRY_VOID(refuseEarly(cli, options, model, settings, sampling, input));
    if (inSession || settings.cache) {
        KVILT_TRY(runtime.profile, Profile::open(cli.profile, {.sessions = inSession, .kv = settings.cache,
                                                               .events = settings.cache,
                                                               .mustStore = inSession}));
    }
    KVILT_TRY(runtime.engine, makeEngine(model, settings, runtime.profile.get()));
    KVILT_TRY_VOID(inSession ? generateInSession(cli, options, sampling, *runtime.engine, *runtime.profile,
                                                 std::move(input.append))
                             : generatePlain(cli, options, sampling, *runtime.engine, runtime.profile.get(),
                                             std::move(input.tokens)));
    if (auto kept = runtime.engine->flush(); !kept)
        note("KV was not stored: " + kept.error().message); // the answer stands all the same
    if (runtime.profile)
        runtime.profile->sayNotices();
    return {};
}

} // namespace

void addGenerate(Cli &cli)
{
    auto options = std::make_shared<GenerateOptions>();
    Command command = cli.add("generate", "Complete a prompt or answer messages",
                                [&cli, options] { return generate(cli, *options); });
    options->model.addTo(command);
    options->sampling.addTo(command);
    Command input = command.oneOf("input");
    input.option("--prompt-file", options->promptFile, "Text, byte for byte (with --session: what the user says); -: standard input");
    input.option("--messages", options->messages, "JSON array of OpenAI messages");
    input.option("--tokens-file", options->tokensFile, "JSON array of ids, taken as given");
    command.option("--logprobs", options->logprobs, "The K most probable tokens for each token made");
    command.option("--session", options->session, "Go on with this stored session (made if new)").notEmpty();
}

} // namespace kvilt::cli
