// SPDX-License-Identifier: Apache-2.0
#include "app/cli/runtime.h"
#include "app/cli/session_turn.h"
#include "app/settings/settings.h"
#include "engine/chat/turn_record.h"

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>
#include <unistd.h>

namespace kvilt::cli {

namespace {

constexpr const char *kDefaultModel = "smollm2-135m-instruct-q4_1.gguf";

struct ChatOptions {
    ModelOptions model;
    SamplingOptions sampling;
    std::string session, system;
};

// The model named, else the one used last, else the default one.
Result<std::string> modelPath(const ChatOptions &options, const std::string &profileFolder)
{
    if (!options.model.model.empty())
        return options.model.model;
    KVILT_TRY(const store::ProfilePaths paths, store::profilePaths(profileFolder));
    const settings::LoadedSettings loaded = settings::loadSettings(paths.settings);
    std::error_code ignored;
    if (!loaded.settings.lastModel.empty() && std::filesystem::exists(loaded.settings.lastModel, ignored))
        return loaded.settings.lastModel;
    const auto fallback = paths.models / kDefaultModel;
    if (std::filesystem::exists(fallback, ignored))
        return fallback.string();
    return fail(ErrorCode::notFound, "no model is named and " + fallback.string() +
                                         " is not there; give a GGUF file, or run ./packaging/run --no-launch");
}

void showReceipt(const SessionTurn &turn)
{
    const api::TurnReceipt &r = turn.receipt;
    std::fprintf(stderr, "[%u prompt tokens: %u from memory, %u from disk, %u computed; %u made, %.1f/s. %s]\n",
                 r.promptTokens, r.fromMemory, r.fromDisk, r.computed, r.completionTokens, r.decodeTokensPerSecond,
                 chat::describe(r.miss).c_str());
}

// `first` carries session or name, and what a new one begins with.
Result<void> talk(Engine &engine, Profile &profile, const SessionTurnRequest &first)
{
    SessionTurnRequest next = first;
    const bool terminal = isatty(STDIN_FILENO) != 0;
    std::string line;
    while (true) {
        if (terminal)
            std::fprintf(stderr, "> ");
        if (!std::getline(std::cin, line) || line == "/quit" || line == "/exit")
            break;
        if (line.empty())
            continue;
        SessionTurnRequest request = next;
        request.append.push_back({.role = api::Role::user, .text = line});
        request.onText = [](const std::string &text) {
            printText(text);
            std::fflush(stdout);
        };
        auto turn = runSessionTurn(engine, profile, request);
        if (!turn) {
            note(turn.error().message); // this message was refused; the conversation goes on
            if (exitCode(turn.error().code) == 1)
                return tl::unexpected(turn.error());
            continue;
        }
        next.session = turn->session;
        next.append.clear();
        std::printf("\n");
        std::fflush(stdout);
        if (turn->reason == api::FinishReason::error)
            note(turn->problem);
        showReceipt(*turn);
        profile.sayNotices();
    }
    return engine.flush();
}

// By the clock, and by count where a chat of that second is stored already.
Result<std::string> freeName(store::SessionStore &sessions)
{
    const std::string second = "chat-" + std::to_string(std::time(nullptr));
    for (int n = 1;; ++n) {
        const std::string name = n == 1 ? second : second + "-" + std::to_string(n);
        KVILT_TRY(const auto taken, findSession(sessions, name));
        if (!taken)
            return name;
    }
}

Result<void> chat(const Cli &cli, ChatOptions &options)
{
    if (cli.json)
        return fail(ErrorCode::badInput, "chat is a conversation and prints no JSON; use generate --session --json");
    KVILT_TRY(options.model.model, modelPath(options, cli.profile));
    KVILT_TRY(const api::EngineSettings settings, options.model.resolve());
    KVILT_TRY(const api::SamplingSettings sampling, options.sampling.resolve());
    KVILT_TRY(const LoadedModel model, loadModel(options.model.model));
    if (!model.chatTemplate)
        return fail(ErrorCode::unsupported, options.model.model + " has no usable chat template; use an "
                                            "instruction-tuned model, or generate --prompt-file");
    if (!options.session.empty())
        KVILT_TRY_VOID(checkSessionName(options.session));
    KVILT_TRY_VOID(Engine::checkBefore(model, settings, nullptr));
    Runtime runtime;
    KVILT_TRY(runtime.profile,
              Profile::open(cli.profile, {.sessions = true, .kv = settings.cache, .events = true}));
    KVILT_TRY(runtime.engine, makeEngine(model, settings, runtime.profile.get()));
    KVILT_TRY(const std::string name, options.session.empty() ? freeName(*runtime.profile->sessions)
                                                              : Result<std::string>(options.session));
    KVILT_TRY(const auto session, findSession(*runtime.profile->sessions, name));
    SessionTurnRequest first{.session = session.value_or(SessionId{}), .name = name, .sampling = sampling,
                             .useCache = settings.cache};
    if (!options.system.empty() && !session)
        first.append.push_back({.role = api::Role::system, .text = options.system});
    std::fprintf(stderr, "%s on %s (%s). Session %s. An empty line is ignored; /quit or Ctrl-D ends.\n",
                 options.model.model.c_str(), runtime.engine->deviceName().c_str(), runtime.engine->isa().c_str(),
                 name.c_str());
    return talk(*runtime.engine, *runtime.profile, first);
}

} // namespace

void addChat(Cli &cli)
{
    auto options = std::make_shared<ChatOptions>();
    options->sampling.settings.temperature = 0.7;
    options->sampling.settings.topP = 0.95;
    options->sampling.settings.minP = 0.05;
    options->sampling.settings.repeatPenalty = 1.1;
    options->sampling.topK = 40;
    Command command = cli.add("chat", "Talk with a model in the terminal", [&cli, options] { return chat(cli, *options); });
    options->model.addTo(command, false);
    options->sampling.addTo(command);
    command.option("--session", options->session, "Go on with this stored session (made if new)").notEmpty();
    command.option("--system", options->system, "System prompt of a new session");
}

} // namespace kvilt::cli
