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

// Every reply of a chat draws from a stream of its own, each branch from another one, and the same seed gives the same
// chat again.
std::uint64_t drawSeed(const OpenSession &open)
{
    std::uint64_t seed = open.settings.sampling.seed + open.messages.size();
    for (std::size_t i = 0; i < open.messages.size(); ++i)
        seed += 0x9e3779b97f4a7c15ull * std::uint64_t(open.messages[i].branchIndex) * (i + 1);
    return seed;
}

std::vector<api::Ribbon::MessageSpan> spansOf(const chat::Prompt &prompt)
{
    std::vector<api::Ribbon::MessageSpan> spans;
    for (const chat::MessageTokens &message : prompt.messages)
        spans.push_back({message.id, message.firstToken, message.endToken});
    return spans;
}

} // namespace

struct TurnDesk::Running {
    SessionId session;
    MessageId reply;
    chat::TurnRunner runner;
    std::vector<TokenId> prompt;
    std::size_t continuedIds = 0; // of the reply, standing in the prompt already
    std::vector<api::Ribbon::MessageSpan> spans; // of the messages in the prompt
    std::optional<std::string> systemPromptBefore; // see TurnTrace
    std::uint64_t lastProgressNs = 0;
    SequencePhase lastPhase = SequencePhase::queued;
    bool problemTold = false;
};

TurnDesk::TurnDesk(SessionDesk &sessions, trace::EventJournal &journal, Outlet out,
                   std::function<std::uint64_t()> clockNs, const std::atomic<bool> *stop)
    : m_sessions(sessions), m_journal(journal), m_out(std::move(out)), m_clockNs(std::move(clockNs)), m_stop(stop)
{
    m_sessions.askBusy([this](SessionId session) { return running(session); });
}

TurnDesk::~TurnDesk()
{
    m_sessions.askBusy({});
}

void TurnDesk::setEngine(Engine *engine)
{
    auto waiting = m_waiting;
    stopAll();
    m_engine = engine;
    m_builder.reset();
    m_traces.clear(); // token ids of another vocabulary
    m_lastTurn.clear();
    m_lastSystem.clear();
    m_tokenizer.clear();
    if (!engine)
        return;
    m_tokenizer = chat::tokenizerId(*engine->loaded().tokenizer);
    m_replies.emplace(m_sessions.store(), m_tokenizer);
    m_builder.emplace(engine->loaded().tokenizer, engine->loaded().chatTemplate);
    for (const auto &[session, dropOldest] : waiting) {
        if (OpenSession *open = m_sessions.findOpen(session))
            answer(*open, dropOldest, api::EventReason::none);
    }
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

chat::ContextBudget TurnDesk::budget(const OpenSession &open) const
{
    const std::uint32_t context = m_engine->contextLength();
    const auto wanted = static_cast<std::uint32_t>(std::max(0, open.settings.sampling.maxTokens));
    // A reply may ask for more than the context has: it then ends where the context does.
    const std::uint32_t reserve = std::clamp(wanted, kLeastReserve, std::max(kLeastReserve, context / 4));
    return {context, std::min(reserve, context / 2), m_engine->prefillTokensPerSecond()};
}

chat::TurnPlanOptions TurnDesk::planOptions(const OpenSession &open) const
{
    chat::TurnPlanOptions options{.settings = open.settings, .budget = budget(open), .stop = m_stop};
    options.unixSeconds = open.row.createdMs / 1000; // a date in the prompt stays what it was: it would break the prefix
    return options;
}

Result<chat::TurnPlan> TurnDesk::plan(const OpenSession &open, const std::string &draft, bool dropOldest) const
{
    chat::TurnPlanOptions options = planOptions(open);
    options.dropOldest = dropOldest;
    if (draft.empty())
        return chat::planTurn(*m_builder, open.messages, m_tokenizer, options);
    std::vector<store::MessageRow> branch = open.messages;
    store::MessageRow row;
    row.role = api::Role::user;
    row.text = draft;
    branch.push_back(std::move(row));
    return chat::planTurn(*m_builder, branch, m_tokenizer, options);
}

void TurnDesk::sendPreview(const OpenSession &open, const chat::TurnPlan &plan)
{
    const Engine::Peek peek = m_engine->peek(plan.prompt.ids, open.row.salt);
    api::update::PromptPreview preview;
    preview.session = open.row.id;
    preview.promptTokens = static_cast<std::uint32_t>(plan.prompt.ids.size());
    preview.cachedTokens = peek.memoryTokens + peek.diskTokens;
    preview.contextTokens = m_engine->contextLength();
    preview.replyReserve = budget(open).replyReserve;
    preview.overflows = plan.drop.needed;
    preview.dropMessages = static_cast<std::uint32_t>(plan.drop.dropped.size());
    preview.dropTokens = plan.drop.dropTokens;
    preview.recomputeTokens = plan.drop.recomputeTokens;
    preview.recomputeSeconds = plan.drop.recomputeSeconds;
    std::uint32_t fromThinking = 0; // tokens from the first thinking block on: their prefix changes if it goes
    for (std::size_t i = 0; i < plan.messages.size() && i < plan.prompt.messages.size(); ++i) {
        const chat::PromptMessage &message = plan.messages[i];
        const text::ByteRange thinking =
            message.role == api::Role::assistant ? chat::thinkingRange(message.content) : text::ByteRange{};
        if (thinking.end <= thinking.begin)
            continue;
        for (const api::TokenSpan &span : plan.prompt.messages[i].spans)
            preview.thinkingTokens += span.begin < thinking.end && span.begin + span.bytes > thinking.begin ? 1 : 0;
        if (fromThinking == 0)
            fromThinking = preview.promptTokens - static_cast<std::uint32_t>(plan.prompt.messages[i].firstToken);
    }
    if (const double rate = m_engine->prefillTokensPerSecond(); rate > 0)
        preview.thinkingStripSeconds = (fromThinking - std::min(fromThinking, preview.thinkingTokens)) / rate;
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
    if (const auto planned = plan(*open, command.draft, false))
        sendPreview(*open, *planned);
}

// --- commands

void TurnDesk::send(const api::command::Send &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open)
        return;
    if (command.text.empty() && running(command.session)) {
        ready(command.session);
        return;
    }
    if (!command.text.empty()) {
        const MessageId parent = open->messages.empty() ? MessageId{} : open->messages.back().id;
        auto row = m_sessions.append(*open, {.parent = parent, .role = api::Role::user, .text = command.text});
        if (!row) {
            giveBack(command.session, command.text, row.error());
            return;
        }
    }
    if (running(command.session)) {
        m_waiting[command.session] = command.dropOldest;
        return;
    }
    answer(*open, command.dropOldest, api::EventReason::none);
}

void TurnDesk::edit(const api::command::EditMessage &command)
{
    leave(command.session);
    OpenSession *open = m_sessions.require(command.session);
    if (!open)
        return;
    const store::MessageRow *edited = open->find(command.message);
    if (!edited) {
        giveBack(command.session, command.text,
                 {ErrorCode::notFound, "The message that was edited is no longer shown here, so its new text was not "
                                       "stored; send it as a message of its own."});
        return;
    }
    const api::Role role = edited->role;
    auto row = m_sessions.append(*open, {.parent = edited->parent, .role = role, .text = command.text});
    if (!row) {
        giveBack(command.session, command.text, row.error());
        return;
    }
    if (m_sessions.reload(*open))
        m_sessions.sendOpened(*open);
    if (role == api::Role::user)
        answer(*open, false, api::EventReason::edited);
}

void TurnDesk::regenerate(const api::command::Regenerate &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open || !ready(command.session))
        return;
    const store::MessageRow *reply = open->find(command.message);
    if (!reply || reply->role != api::Role::assistant) {
        m_sessions.notice(command.session, api::update::Severity::info, "That reply is no longer shown here, so it cannot be made again.");
        return;
    }
    const MessageId parent = reply->parent;
    const auto at = std::find_if(open->messages.begin(), open->messages.end(), [&](const auto &m) { return m.id == parent; });
    open->messages.erase(at == open->messages.end() ? open->messages.begin() : at + 1, open->messages.end());
    if (!answer(*open, false, api::EventReason::regenerated))
        m_sessions.reload(*open); // the earlier reply stands where it stood
}

void TurnDesk::continueReply(const api::command::Continue &command)
{
    OpenSession *open = m_sessions.require(command.session);
    if (!open || !ready(command.session))
        return;
    if (open->messages.empty() || open->messages.back().id != command.message ||
        open->messages.back().role != api::Role::assistant) {
        m_sessions.notice(command.session, api::update::Severity::info, "Only the last reply of a chat can be continued.");
        return;
    }
    const store::MessageRow reply = open->messages.back();
    chat::TurnPlanOptions options = planOptions(*open);
    options.continueReply = true;
    auto planned = chat::planTurn(*m_builder, open->messages, m_tokenizer, options);
    if (!planned) {
        m_sessions.notice(command.session, api::update::Severity::error, planned.error().message);
        return;
    }
    if (!planned->fits) {
        tellFull(*open, *planned);
        return;
    }
    begin(*open, reply, std::move(*planned), api::EventReason::none);
}

void TurnDesk::tellFull(const OpenSession &open, const chat::TurnPlan &plan)
{
    sendPreview(open, plan);
    m_sessions.notice(open.row.id, api::update::Severity::warning,
                      plan.drop.possible
                          ? "The context is full: your message is kept. Drop the oldest turns to go on, or start a new chat."
                          : "The last message alone is too long for this model's context: shorten it, or choose a "
                            "model with a longer context.");
}

bool TurnDesk::answer(OpenSession &open, bool dropOldest, api::EventReason supersedes)
{
    using api::update::Severity;
    const SessionId session = open.row.id;
    if (m_stop && m_stop->load(std::memory_order_relaxed))
        return false; // the program ends
    if (open.messages.empty() || open.messages.back().role == api::Role::assistant) {
        m_sessions.notice(session, Severity::info, "There is nothing to answer here yet; write a message.");
        return false;
    }
    if (!ready(session))
        return false;
    const bool mayDrop = dropOldest || open.settings.contextFull == api::ContextFull::dropOldest;
    auto planned = plan(open, {}, mayDrop);
    if (!planned) {
        m_sessions.notice(session, Severity::error, planned.error().message);
        return false;
    }
    if (!planned->fits) {
        tellFull(open, *planned);
        return false;
    }
    const MessageId parent = open.messages.back().id;
    auto row = m_sessions.append(open, {.parent = parent, .role = api::Role::assistant, .state = api::MessageState::streaming});
    if (!row) {
        m_sessions.notice(session, Severity::error, row.error().message);
        return false;
    }
    begin(open, *row, std::move(*planned), supersedes);
    return true;
}

void TurnDesk::begin(OpenSession &open, const store::MessageRow &reply, chat::TurnPlan plan, api::EventReason supersedes)
{
    const SessionId session = open.row.id;
    const bool knownIds = reply.tokenizer == m_tokenizer;
    auto turn = std::make_unique<Running>(Running{session, reply.id,
                                                  chat::TurnRunner(*m_engine, &*m_replies, m_clockNs), plan.prompt.ids,
                                                  knownIds ? reply.ids.size() : 0, spansOf(plan.prompt)});
    chat::TurnRequest request;
    request.session = session;
    request.reply = reply.id;
    request.sampling = open.settings.sampling;
    request.sampling.seed = drawSeed(open);
    request.prompt = std::move(plan.prompt.ids);
    request.continuedText = reply.text;
    if (knownIds)
        request.continuedIds = reply.ids;
    request.salt = open.row.salt;
    request.branch = chat::branchOf(open.messages);
    request.contextStart = plan.contextStart;
    request.systemPrompt = plan.systemPrompt;
    // A reply that is made again is the first one: what it was made from before is not in the branch any more.
    if (const auto last = m_lastSystem.find(session); last != m_lastSystem.end() && last->second != open.settings.systemPrompt) {
        turn->systemPromptBefore = last->second;
        plan.systemEdited = true;
    }
    m_lastSystem[session] = open.settings.systemPrompt;
    request.knownChange = chat::knownChange(plan);
    request.supersedes = plan.oldestDropped ? api::EventReason::contextDropped
                         : plan.systemEdited && supersedes == api::EventReason::none ? request.knownChange
                                                                                    : supersedes;
    if (auto begun = turn->runner.begin(std::move(request)); !begun) {
        store::ReplyUpdate failed{reply.id, reply.text, reply.ids, reply.tokenizer, api::MessageState::failed, {}};
        (void)m_sessions.store().commitTurn(failed);
        m_sessions.notice(session, api::update::Severity::error, begun.error().message);
        if (m_sessions.reload(open))
            m_sessions.sendOpened(open);
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

void TurnDesk::leave(SessionId session)
{
    m_waiting.erase(session);
    if (running(session))
        stop(session);
}

void TurnDesk::giveBack(SessionId session, const std::string &text, const Error &why)
{
    m_out(api::update::TextReturned{session, text});
    m_sessions.notice(session, api::update::Severity::error, why.message);
}

void TurnDesk::stopAll()
{
    m_waiting.clear();
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
        if (std::string text = turn->runner.takeText(); !text.empty()) {
            // A window that opens the chat in mid-reply gets what stands there so far.
            OpenSession *open = m_sessions.findOpen(session);
            if (store::MessageRow *row = open ? open->find(turn->reply) : nullptr)
                row->text += text;
            m_out(api::update::TextAppended{session, turn->reply, std::move(text)});
        }
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
    TurnTrace trace{turn.session, std::move(turn.prompt), 0, turn.systemPromptBefore};
    trace.promptTokens = static_cast<std::uint32_t>(trace.tokens.size());
    trace.preemptions = turn.runner.stats().preemptions;
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
        row.tokenizer = m_tokenizer;
        row.state = reply.state;
        if (reply.hasReceipt)
            row.receipt = chat::receiptToJson(reply.receipt);
        m_out(api::update::TurnFinished{turn.session, toMessage(row)});
    }
    if (m_whenFinished)
        m_whenFinished(turn.session);
    if (!turn.runner.problem().empty())
        m_sessions.notice(turn.session, api::update::Severity::error, turn.runner.problem());
    if (const auto waiting = m_waiting.extract(turn.session))
        answer(*open, waiting.mapped(), api::EventReason::none);
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

std::vector<TokenId> TurnDesk::promptOf(const OpenSession &open, const store::MessageRow &reply, const api::TurnReceipt &receipt)
{
    if (const TurnTrace *found = trace(TurnId{reply.id.value})) {
        const auto prompt = std::span(found->tokens).first(found->promptTokens);
        return {prompt.begin(), prompt.end()};
    }
    if (!m_builder || !m_engine->loaded().chatTemplate)
        return {};
    const auto end = std::find_if(open.messages.begin(), open.messages.end(), [&](const auto &m) { return m.id == reply.id; });
    chat::TurnPlanOptions options = planOptions(open);
    options.contextStart = receipt.contextStart;
    auto planned = chat::planTurn(*m_builder, {open.messages.begin(), end}, m_tokenizer, options);
    const bool same = planned && planned->prompt.ids.size() == receipt.promptTokens;
    return same ? std::move(planned->prompt.ids) : std::vector<TokenId>{};
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
    auto prompt = currentPrompt(session);
    return prompt ? std::move(prompt->ids) : std::vector<TokenId>{};
}

std::optional<chat::Prompt> TurnDesk::currentPrompt(SessionId session)
{
    const OpenSession *open = m_sessions.findOpen(session);
    if (!open || !m_engine || !m_engine->loaded().chatTemplate || open->messages.empty())
        return std::nullopt;
    // A reply at the end stands unclosed, as it was generated; the next prompt extends it.
    chat::TurnPlanOptions options = planOptions(*open);
    options.continueReply = open->messages.back().role == api::Role::assistant;
    auto planned = chat::planTurn(*m_builder, open->messages, m_tokenizer, options);
    return planned ? std::optional(std::move(planned->prompt)) : std::nullopt;
}

std::vector<api::Ribbon::MessageSpan> TurnDesk::messageSpans(SessionId session)
{
    // Asked ten times a second while a reply grows: the messages before it are where they were when it began.
    if (const auto found = m_running.find(session); found != m_running.end()) {
        auto spans = found->second->spans;
        spans.push_back({found->second->reply, static_cast<std::int32_t>(found->second->prompt.size()),
                         static_cast<std::int32_t>(found->second->prompt.size() + found->second->runner.progress().completionTokens)});
        return spans;
    }
    const auto prompt = currentPrompt(session);
    return prompt ? spansOf(*prompt) : std::vector<api::Ribbon::MessageSpan>{};
}

void TurnDesk::spans(SessionId session, MessageId message)
{
    auto prompt = currentPrompt(session);
    if (!prompt)
        return;
    for (chat::MessageTokens &tokens : prompt->messages) {
        if (tokens.id == message)
            m_out(api::update::MessageSpans{session, message, std::move(tokens.spans)});
    }
}

} // namespace kvilt::worker
