// SPDX-License-Identifier: Apache-2.0
#include "app/cli/session_turn.h"

#include "app/settings/settings_json.h"
#include "engine/chat/turn_runner.h"

#include <chrono>

namespace kvilt::cli {

namespace {

std::uint64_t steadyNs()
{
    return std::uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
}

std::int64_t unixSeconds()
{
    return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

Result<store::MessageRow> appendAll(store::SessionStore &sessions, std::vector<store::MessageRow> &rows,
                                    MessageId tip)
{
    store::MessageRow last;
    last.id = tip;
    for (store::MessageRow &row : rows) {
        row.parent = last.id;
        KVILT_TRY(last, sessions.append(row));
    }
    return last;
}

} // namespace

Result<chat::TurnPlan> planSessionTurn(const LoadedModel &model, std::uint32_t contextLength,
                                       const store::StoredConversation &stored, const SessionTurnRequest &request)
{
    std::vector<store::MessageRow> branch = stored.messages;
    branch.insert(branch.end(), request.append.begin(), request.append.end());
    if (!model.chatTemplate && !model.templateProblem.empty())
        return fail(ErrorCode::unsupported, "the model's chat template cannot be used: " + model.templateProblem);
    const chat::PromptBuilder builder(model.tokenizer, model.chatTemplate);
    const auto reserve = std::uint32_t(std::min<std::int64_t>(request.sampling.maxTokens, contextLength / 4));
    const chat::TurnPlanOptions options{.settings = sessionSettings(stored.session),
                                        .budget = {.contextTokens = contextLength, .replyReserve = reserve},
                                        .dropOldest = request.contextFull == api::ContextFull::dropOldest,
                                        .unixSeconds = stored.session.createdMs > 0 ? stored.session.createdMs / 1000
                                                                                   : unixSeconds()};
    KVILT_TRY(chat::TurnPlan plan, chat::planTurn(builder, branch, chat::tokenizerId(*model.tokenizer), options));
    if (!plan.fits)
        return fail(ErrorCode::badInput, "the conversation has " + std::to_string(plan.prompt.ids.size()) +
                                             " tokens, the context holds " + std::to_string(contextLength) +
                                             "; shorten the last message or begin a new session");
    if (plan.drop.needed && options.dropOldest && !plan.drop.dropped.empty())
        note("the context is full: the oldest " + std::to_string(plan.drop.dropped.size()) + " messages (" +
             std::to_string(plan.drop.dropTokens) + " tokens) are left out, " +
             std::to_string(plan.drop.recomputeTokens) + " tokens are computed again");
    return plan;
}

api::SessionSettings sessionSettings(const store::SessionRow &row)
{
    api::SessionSettings defaults;
    defaults.sampling = {};
    const nlohmann::json stored = nlohmann::json::parse(row.settings, nullptr, false);
    return stored.is_object() ? settings::sessionFromJson(stored, defaults) : defaults;
}

Result<std::vector<store::MessageRow>> rowsFromMessages(const std::string &jsonText, const std::string &where)
{
    KVILT_TRY(const auto messages, text::parseMessages(jsonText));
    if (messages.empty())
        return fail(ErrorCode::badInput, where + " holds no messages");
    std::vector<store::MessageRow> rows;
    for (const text::ChatMessage &message : messages) {
        store::MessageRow row;
        bool known = false;
        for (api::Role role : {api::Role::system, api::Role::user, api::Role::assistant, api::Role::tool}) {
            if (message.role != api::toString(role))
                continue;
            row.role = role;
            known = true;
        }
        if (!known)
            return fail(ErrorCode::badInput, where + ": the role \"" + message.role.substr(0, 40) +
                                                 "\" is unknown; there are system, user, assistant, tool");
        row.text = message.content;
        row.json = message.json;
        rows.push_back(std::move(row));
    }
    return rows;
}

Result<SessionTurn> runSessionTurn(Engine &engine, Profile &profile, const SessionTurnRequest &request)
{
    store::SessionStore &sessions = *profile.sessions;
    store::StoredConversation stored;
    SessionId session = request.session;
    if (session.value != 0) {
        KVILT_TRY(stored, sessions.conversation(session));
    }
    // Prompt first, writing second: what cannot be answered leaves everything as it was.
    KVILT_TRY(const chat::TurnPlan plan, planSessionTurn(engine.loaded(), engine.contextLength(), stored, request));
    KVILT_TRY_VOID(engine.check({.tokens = plan.prompt.ids, .sampling = request.sampling}));

    if (session.value == 0) {
        KVILT_TRY(session, makeSession(sessions, request.name, request.append.back().text));
    }
    std::vector<store::MessageRow> rows = request.append;
    for (store::MessageRow &row : rows)
        row.session = session;
    KVILT_TRY(const store::MessageRow last, appendAll(sessions, rows, stored.session.tip));
    KVILT_TRY(const store::MessageRow reply,
              sessions.append({.parent = last.id, .session = session, .role = api::Role::assistant,
                               .state = api::MessageState::streaming}));
    KVILT_TRY(const store::StoredConversation now, sessions.conversation(session));

    const std::string tokenizer = chat::tokenizerId(*engine.loaded().tokenizer);
    chat::StoredReply sink(sessions, tokenizer);
    chat::TurnRunner runner(engine, &sink, steadyNs);
    KVILT_TRY_VOID(runner.begin({.session = session,
                                 .reply = reply.id,
                                 .sampling = request.sampling,
                                 .prompt = plan.prompt.ids,
                                 .salt = stored.session.salt,
                                 .branch = chat::branchOf(now.messages),
                                 .contextStart = plan.contextStart,
                                 .systemPrompt = plan.systemPrompt,
                                 .knownChange = chat::knownChange(plan),
                                 .useCache = request.useCache,
                                 .logprobs = request.logprobs}));
    SessionTurn turn{.session = session};
    const auto consume = [&](SequenceOutput output) -> Result<void> {
        if (output.finished)
            turn.reason = output.reason;
        KVILT_TRY_VOID(runner.consume(std::move(output)));
        if (const std::string fresh = runner.takeText(); request.onText && !fresh.empty())
            request.onText(fresh);
        return {};
    };
    KVILT_TRY_VOID(drive(engine, consume));
    if (profile.journal)
        profile.journal->endTurn(session, TurnId{reply.id.value});
    turn.reply = runner.reply().text;
    turn.tokens = runner.reply().ids;
    turn.logprobs = runner.logprobs();
    turn.stats = runner.stats();
    turn.receipt = runner.reply().receipt;
    turn.problem = runner.problem();
    return turn;
}

} // namespace kvilt::cli
