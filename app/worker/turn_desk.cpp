// SPDX-License-Identifier: Apache-2.0
#include "app/worker/turn_desk.h"

#include "engine/chat/turn_record.h"
#include "engine/text/tokenizer.h"

#include <algorithm>

namespace kvilt::worker {

namespace {

constexpr std::size_t kMostTraces = 512;
constexpr std::uint64_t kProgressNs = 50'000'000;
constexpr std::uint32_t kLeastReserve = 64;

std::string hex(std::span<const std::uint8_t> bytes)
{
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

api::update::TurnPhase phaseOf(SequencePhase phase)
{
    switch (phase) {
    case SequencePhase::queued: return api::update::TurnPhase::queued;
    case SequencePhase::restoring: return api::update::TurnPhase::restoring;
    case SequencePhase::prefill: return api::update::TurnPhase::prefill;
    case SequencePhase::decode:
    case SequencePhase::finished: break;
    }
    return api::update::TurnPhase::decode;
}

} // namespace

struct TurnDesk::Draft {
    std::vector<chat::PromptMessage> messages; // with what is left out already gone
    chat::Prompt prompt;
    chat::DropPlan plan;                       // of the whole, before anything was left out
    std::uint32_t wholeTokens = 0;
};

struct TurnDesk::Running {
    SessionId session;
    MessageId reply;
    chat::TurnRunner runner;
    std::vector<TokenId> prompt;
    std::size_t continuedIds = 0; // of the reply, standing in the prompt already
    std::uint64_t lastProgressNs = 0;
    SequencePhase lastPhase = SequencePhase::queued;
    bool problemTold = false;
};

// Replies go to the store: while they grow with the next transaction, at the end with one of their own.
class TurnDesk::Replies final : public chat::ReplySink {
public:
    explicit Replies(TurnDesk &desk) : m_desk(desk) {}

    Result<void> saveReply(const Reply &reply) override
    {
        store::ReplyUpdate update{reply.id, reply.text, reply.ids, m_desk.tokenizerId(), reply.state, {}};
        if (reply.state == api::MessageState::streaming) {
            m_desk.m_sessions.store().updateStreaming(std::move(update));
            return {};
        }
        std::optional<std::uint32_t> tokens;
        if (reply.hasReceipt) {
            update.receipt = chat::receiptToJson(reply.receipt);
            tokens = reply.receipt.promptTokens + reply.receipt.completionTokens;
        }
        return m_desk.m_sessions.store().commitTurn(std::move(update), tokens);
    }

private:
    TurnDesk &m_desk;
};

TurnDesk::TurnDesk(SessionDesk &sessions, trace::EventJournal &journal, Outlet out,
                   std::function<std::uint64_t()> clockNs)
    : m_sessions(sessions), m_journal(journal), m_out(std::move(out)), m_clockNs(std::move(clockNs)),
      m_replies(std::make_unique<Replies>(*this))
{
}

TurnDesk::~TurnDesk() = default;

void TurnDesk::setEngine(Engine *engine)
{
    stopAll();
    m_engine = engine;
    m_builder.reset();
    m_traces.clear(); // token ids of another vocabulary
    m_lastTurn.clear();
    if (engine)
        m_builder.emplace(engine->loaded().tokenizer, engine->loaded().chatTemplate);
}

std::string TurnDesk::tokenizerId() const
{
    return m_engine ? hex(m_engine->loaded().tokenizer->identity()) : std::string();
}

bool TurnDesk::ready(SessionId session)
{
    using api::update::Severity;
    if (running(session)) {
        m_sessions.notice(session, Severity::info, "A reply is still being written here; stop it first, or wait.");
        return false;
    }
    if (!m_engine) {
        m_sessions.notice(session, Severity::info, "Your message is kept. Choose a model, then it can be answered.");
        return false;
    }
    if (!m_engine->loaded().chatTemplate) {
        const std::string &problem = m_engine->loaded().templateProblem;
        m_sessions.notice(session, Severity::warning,
                          problem.empty() ? "This model has no chat template, so it cannot answer in a chat; choose an "
                                            "instruct model, or use kvilt-cli generate with a prompt file."
                                          : problem);
        return false;
    }
    return true;
}

// --- prompts

std::vector<chat::PromptMessage> TurnDesk::promptMessages(const OpenSession &open) const
{
    std::vector<chat::PromptMessage> messages;
    const bool hasSystem = !open.messages.empty() && open.messages.front().role == api::Role::system;
    if (!open.settings.systemPrompt.empty() && !hasSystem)
        messages.push_back({{}, api::Role::system, open.settings.systemPrompt, {}, {}, true});
    const std::string tokenizer = tokenizerId();
    for (const store::MessageRow &row : open.messages) {
        if (open.dropped.contains(row.id))
            continue;
        const bool usable = row.tokenizer == tokenizer;
        messages.push_back({row.id, row.role, row.text, row.json, usable ? row.ids : std::vector<TokenId>{}, row.pinned});
    }
    return messages;
}

chat::ContextBudget TurnDesk::budget(const OpenSession &open) const
{
    const std::uint32_t context = m_engine->contextLength();
    const auto wanted = static_cast<std::uint32_t>(std::max(0, open.settings.sampling.maxTokens));
    // A reply may ask for more than the context has: it then ends where the context does.
    const std::uint32_t reserve = std::clamp(wanted, kLeastReserve, std::max(kLeastReserve, context / 4));
    return {context, std::min(reserve, context / 2), m_engine->prefillTokensPerSecond()};
}

Result<chat::Prompt> TurnDesk::buildPrompt(const OpenSession &open, std::vector<chat::PromptMessage> &messages,
                                           bool generation, bool continuing) const
{
    chat::PromptOptions options;
    options.addGenerationPrompt = generation && !continuing;
    options.continueReply = continuing;
    options.thinking = open.settings.thinking;
    options.unixSeconds = open.row.createdMs / 1000; // a date in the prompt stays what it was: it would break the prefix
    return m_builder->build(messages, options);
}

Result<TurnDesk::Draft> TurnDesk::build(OpenSession &open, const std::string &draftText, bool generation, bool mayDrop)
{
    Draft draft;
    draft.messages = promptMessages(open);
    if (!draftText.empty())
        draft.messages.push_back({{}, api::Role::user, draftText, {}, {}, false});
    KVILT_TRY(draft.prompt, buildPrompt(open, draft.messages, generation, false));
    draft.wholeTokens = static_cast<std::uint32_t>(draft.prompt.ids.size());
    draft.plan = chat::planDrop(draft.prompt, draft.messages, budget(open));
    if (!draft.plan.needed || !mayDrop || !draft.plan.possible)
        return draft;
    std::set<MessageId> dropped;
    for (const std::size_t index : draft.plan.dropped)
        dropped.insert(draft.messages[index].id);
    m_sessions.rememberDropped(open, dropped);
    draft.messages = promptMessages(open);
    if (!draftText.empty())
        draft.messages.push_back({{}, api::Role::user, draftText, {}, {}, false});
    KVILT_TRY(draft.prompt, buildPrompt(open, draft.messages, generation, false));
    return draft;
}

void TurnDesk::sendPreview(const OpenSession &open, const Draft &draft)
{
    const Engine::Peek peek = m_engine->peek(draft.prompt.ids, open.row.salt);
    api::update::PromptPreview preview;
    preview.session = open.row.id;
    preview.promptTokens = draft.wholeTokens;
    preview.cachedTokens = peek.memoryTokens + peek.diskTokens;
    preview.contextTokens = m_engine->contextLength();
    preview.replyReserve = budget(open).replyReserve;
    preview.overflows = draft.plan.needed;
    preview.dropMessages = static_cast<std::uint32_t>(draft.plan.dropped.size());
    preview.dropTokens = draft.plan.dropTokens;
    preview.recomputeTokens = draft.plan.recomputeTokens;
    preview.recomputeSeconds = draft.plan.recomputeSeconds;
    std::uint32_t afterThinking = 0;
    for (std::size_t i = 0; i < draft.messages.size() && i < draft.prompt.messages.size(); ++i) {
        const chat::PromptMessage &message = draft.messages[i];
        if (message.role != api::Role::assistant)
            continue;
        const text::ByteRange thinking = chat::thinkingRange(message.content);
        if (thinking.end <= thinking.begin)
            continue;
        for (const api::TokenSpan &span : draft.prompt.messages[i].spans)
            preview.thinkingTokens += span.begin < thinking.end && span.begin + span.bytes > thinking.begin ? 1 : 0;
        if (afterThinking == 0)
            afterThinking = draft.wholeTokens - static_cast<std::uint32_t>(draft.prompt.messages[i].firstToken);
    }
    if (const double rate = m_engine->prefillTokensPerSecond(); rate > 0)
        preview.thinkingStripSeconds = (afterThinking - std::min(afterThinking, preview.thinkingTokens)) / rate;
    m_out(preview);
}

void TurnDesk::preview(const api::command::PreviewPrompt &command)
{
    OpenSession *open = m_sessions.findOpen(command.session);
    if (!open || !m_engine || !m_engine->loaded().chatTemplate)
        return;
    if (open->messages.empty() && command.draft.empty()) {
        m_out(api::update::PromptPreview{.session = command.session, .contextTokens = m_engine->contextLength()});
        return;
    }
    if (const auto draft = build(*open, command.draft, true, false))
        sendPreview(*open, *draft);
}

// --- commands

void TurnDesk::send(const api::command::Send &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open)
        return;
    if (running(command.session)) {
        ready(command.session);
        return;
    }
    if (!command.text.empty()) {
        const MessageId parent = open->messages.empty() ? MessageId{} : open->messages.back().id;
        auto row = m_sessions.append(*open, {.parent = parent, .role = api::Role::user, .text = command.text});
        if (!row) {
            m_sessions.notice(command.session, api::update::Severity::error, row.error().message);
            return;
        }
    }
    answer(*open, command.dropOldest, api::EventReason::none);
}

void TurnDesk::edit(const api::command::EditMessage &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open || running(command.session))
        return;
    const store::MessageRow *edited = open->find(command.message);
    if (!edited)
        return;
    const api::Role role = edited->role;
    auto row = m_sessions.append(*open, {.parent = edited->parent, .role = role, .text = command.text});
    if (!row) {
        m_sessions.notice(command.session, api::update::Severity::error, row.error().message);
        return;
    }
    if (m_sessions.reload(*open))
        m_sessions.sendOpened(*open, false);
    if (role == api::Role::user)
        answer(*open, false, api::EventReason::edited);
}

void TurnDesk::regenerate(const api::command::Regenerate &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open || !ready(command.session))
        return;
    const store::MessageRow *reply = open->find(command.message);
    if (!reply || reply->role != api::Role::assistant)
        return;
    const MessageId parent = reply->parent;
    const auto at = std::find_if(open->messages.begin(), open->messages.end(), [&](const auto &m) { return m.id == parent; });
    open->messages.erase(at == open->messages.end() ? open->messages.begin() : at + 1, open->messages.end());
    answer(*open, false, api::EventReason::regenerated);
}

void TurnDesk::continueReply(const api::command::Continue &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open || !ready(command.session) || open->messages.empty() || open->messages.back().id != command.message ||
        open->messages.back().role != api::Role::assistant)
        return;
    const store::MessageRow reply = open->messages.back();
    Draft draft;
    draft.messages = promptMessages(*open);
    auto prompt = buildPrompt(*open, draft.messages, true, true);
    if (!prompt) {
        m_sessions.notice(command.session, api::update::Severity::error, prompt.error().message);
        return;
    }
    draft.prompt = std::move(*prompt);
    begin(*open, reply, std::move(draft), api::EventReason::none);
}

void TurnDesk::answer(OpenSession &open, bool dropOldest, api::EventReason supersedes)
{
    using api::update::Severity;
    const SessionId session = open.row.id;
    if (open.messages.empty() || open.messages.back().role == api::Role::assistant || !ready(session))
        return;
    const bool mayDrop = dropOldest || open.settings.contextFull == api::ContextFull::dropOldest;
    auto draft = build(open, {}, true, mayDrop);
    if (!draft) {
        m_sessions.notice(session, Severity::error, draft.error().message);
        return;
    }
    if (draft->plan.needed && (!mayDrop || !draft->plan.possible)) {
        sendPreview(open, *draft);
        m_sessions.notice(session, Severity::warning,
                          draft->plan.possible
                              ? "The context is full: your message is kept. Drop the oldest turns to go on, or start a new chat."
                              : "The last message alone is too long for this model's context: shorten it, or choose a "
                                "model with a longer context.");
        return;
    }
    const MessageId parent = open.messages.back().id;
    auto row = m_sessions.append(open, {.parent = parent, .role = api::Role::assistant, .state = api::MessageState::streaming});
    if (!row) {
        m_sessions.notice(session, Severity::error, row.error().message);
        return;
    }
    begin(open, *row, std::move(*draft), supersedes);
}

void TurnDesk::begin(OpenSession &open, const store::MessageRow &reply, Draft draft, api::EventReason supersedes)
{
    const SessionId session = open.row.id;
    auto turn = std::make_unique<Running>(
        Running{session, reply.id, chat::TurnRunner(*m_engine, m_replies.get(), m_clockNs), draft.prompt.ids,
                reply.tokenizer == tokenizerId() ? reply.ids.size() : 0});
    chat::TurnRequest request;
    request.session = session;
    request.reply = reply.id;
    request.sampling = open.settings.sampling;
    // Every reply of a chat draws from its own stream, and the same seed gives the same chat again.
    request.sampling.seed += open.messages.size();
    request.prompt = std::move(draft.prompt.ids);
    request.continuedText = reply.text;
    request.continuedIds = reply.tokenizer == tokenizerId() ? reply.ids : std::vector<TokenId>{};
    request.salt = open.row.salt;
    request.supersedes = supersedes;
    if (auto begun = turn->runner.begin(std::move(request)); !begun) {
        store::ReplyUpdate failed{reply.id, reply.text, reply.ids, reply.tokenizer, api::MessageState::failed, {}};
        (void)m_sessions.store().commitTurn(failed);
        m_sessions.notice(session, api::update::Severity::error, begun.error().message);
        if (m_sessions.reload(open))
            m_sessions.sendOpened(open, false);
        return;
    }
    Running &started = *m_running.insert_or_assign(session, std::move(turn)).first->second;
    sendProgress(started, true);
}

void TurnDesk::stop(SessionId session)
{
    if (const auto found = m_running.find(session); found != m_running.end())
        found->second->runner.stop();
    distribute();
}

void TurnDesk::stopAll()
{
    for (auto &[session, turn] : m_running)
        turn->runner.stop();
    distribute();
    m_running.clear();
}

// --- while turns run

void TurnDesk::distribute()
{
    if (!m_engine)
        return;
    for (SequenceOutput &output : m_engine->takeOutputs()) {
        for (auto &[session, turn] : m_running) {
            if (turn->runner.sequence() != output.sequence)
                continue;
            if (auto saved = turn->runner.consume(std::move(output)); !saved && !turn->problemTold) {
                turn->problemTold = true; // once a turn: a full disk would say it at every save
                m_sessions.notice(session, api::update::Severity::error, saved.error().message);
            }
            break;
        }
    }
    std::vector<SessionId> done;
    for (auto &[session, turn] : m_running) {
        if (std::string text = turn->runner.takeText(); !text.empty())
            m_out(api::update::TextAppended{session, turn->reply, std::move(text)});
        sendProgress(*turn, false);
        if (turn->runner.finished())
            done.push_back(session);
    }
    for (const SessionId session : done) {
        const auto turn = std::move(m_running.find(session)->second);
        m_running.erase(session);
        finish(*turn);
    }
}

void TurnDesk::sendProgress(Running &turn, bool force)
{
    const chat::TurnProgress now = turn.runner.progress();
    const std::uint64_t time = m_clockNs();
    if (!force && now.phase == turn.lastPhase && time - turn.lastProgressNs < kProgressNs)
        return;
    turn.lastProgressNs = time;
    turn.lastPhase = now.phase;
    m_out(api::update::TurnProgress{turn.session, turn.reply, phaseOf(now.phase), now.promptTokens, now.cachedTokens,
                                    now.computedTokens, now.tokensPerSecond, now.secondsLeft});
}

void TurnDesk::finish(Running &turn)
{
    const chat::ReplySink::Reply &reply = turn.runner.reply();
    const TurnId id{reply.id.value};
    m_journal.endTurn(turn.session, id);
    TurnTrace trace{turn.session, std::move(turn.prompt), 0};
    trace.promptTokens = static_cast<std::uint32_t>(trace.tokens.size());
    const std::size_t known = std::min(turn.continuedIds, reply.ids.size());
    trace.tokens.insert(trace.tokens.end(), reply.ids.begin() + static_cast<std::ptrdiff_t>(known), reply.ids.end());
    m_traces.insert_or_assign(id, std::move(trace));
    m_lastTurn[turn.session] = id;
    if (m_traces.size() > kMostTraces)
        m_traces.erase(m_traces.begin());
    OpenSession *open = m_sessions.findOpen(turn.session);
    if (!open)
        return;
    for (store::MessageRow &row : open->messages) {
        if (row.id != reply.id)
            continue;
        row.text = reply.text;
        row.ids = reply.ids;
        row.tokenizer = tokenizerId();
        row.state = reply.state;
        if (reply.hasReceipt)
            row.receipt = chat::receiptToJson(reply.receipt);
        m_out(api::update::TurnFinished{turn.session, toMessage(row)});
    }
    if (!turn.runner.problem().empty())
        m_sessions.notice(turn.session, api::update::Severity::error, turn.runner.problem());
}

void TurnDesk::tick()
{
    for (auto &[session, turn] : m_running) {
        if (auto saved = turn->runner.tick(); !saved && !turn->problemTold) {
            turn->problemTold = true;
            m_sessions.notice(session, api::update::Severity::error, saved.error().message);
        }
    }
}

// --- what views ask for

SequenceId TurnDesk::sequenceOf(SessionId session) const
{
    const auto found = m_running.find(session);
    return found == m_running.end() ? SequenceId{} : found->second->runner.sequence();
}

std::vector<std::pair<SessionId, SequenceId>> TurnDesk::sequences() const
{
    std::vector<std::pair<SessionId, SequenceId>> all;
    for (const auto &[session, turn] : m_running)
        all.emplace_back(session, turn->runner.sequence());
    return all;
}

const TurnTrace *TurnDesk::trace(TurnId turn) const
{
    const auto found = m_traces.find(turn);
    return found == m_traces.end() ? nullptr : &found->second;
}

std::vector<TokenId> TurnDesk::branchTokens(SessionId session)
{
    OpenSession *open = m_sessions.findOpen(session);
    if (!open || !m_engine || !m_engine->loaded().chatTemplate || open->messages.empty())
        return {};
    if (const auto last = m_lastTurn.find(session);
        last != m_lastTurn.end() && open->messages.back().id.value == last->second.value) {
        if (const TurnTrace *found = trace(last->second))
            return found->tokens;
    }
    auto messages = promptMessages(*open);
    auto prompt = buildPrompt(*open, messages, false, false);
    return prompt ? std::move(prompt->ids) : std::vector<TokenId>{};
}

std::vector<api::Ribbon::MessageSpan> TurnDesk::messageSpans(SessionId session)
{
    OpenSession *open = m_sessions.findOpen(session);
    if (!open || !m_engine || !m_engine->loaded().chatTemplate || open->messages.empty())
        return {};
    auto messages = promptMessages(*open);
    const auto prompt = buildPrompt(*open, messages, false, false);
    std::vector<api::Ribbon::MessageSpan> spans;
    if (prompt) {
        for (const chat::MessageTokens &message : prompt->messages)
            spans.push_back({message.id, message.firstToken, message.endToken});
    }
    return spans;
}

void TurnDesk::spans(SessionId session, MessageId message)
{
    OpenSession *open = m_sessions.findOpen(session);
    if (!open || !m_engine || !m_engine->loaded().chatTemplate)
        return;
    auto messages = promptMessages(*open);
    auto prompt = buildPrompt(*open, messages, false, false);
    if (!prompt)
        return;
    for (chat::MessageTokens &tokens : prompt->messages) {
        if (tokens.id == message)
            m_out(api::update::MessageSpans{session, message, std::move(tokens.spans)});
    }
}

} // namespace kvilt::worker
