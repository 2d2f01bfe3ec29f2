// SPDX-License-Identifier: Apache-2.0
#include "app/worker/engine_worker.h"

#include "app/worker/background.h"
#include "app/worker/cache_desk.h"
#include "app/worker/exports.h"
#include "app/worker/mailbox.h"
#include "app/worker/model_desk.h"
#include "app/worker/pin_desk.h"
#include "app/worker/policy_compare.h"
#include "app/worker/session_desk.h"
#include "app/worker/turn_desk.h"
#include "engine/store/event_store.h"
#include "engine/store/kv_store.h"
#include "engine/store/profile_lock.h"
#include "engine/store/profile_start.h"
#include "engine/store/session_store.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace kvilt::worker {

using api::update::Severity;
namespace command = api::command;

namespace {

constexpr std::size_t kRingEvents = 1u << 16;
constexpr auto kIdleTick = std::chrono::milliseconds(500);

std::uint64_t steadyNs()
{
    using namespace std::chrono;
    return static_cast<std::uint64_t>(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

template <typename... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

} // namespace

// The profile's files, in the order they have to be opened and closed.
struct Stores {
    std::optional<store::ProfileLock> lock;
    std::unique_ptr<store::SessionStore> sessions;
    std::unique_ptr<store::KvStore> kv;
    std::unique_ptr<store::EventStore> events;
};

struct EngineWorker::Impl {
    using Letter = std::variant<api::Command, std::function<void()>>;

    explicit Impl(WorkerOptions given) : options(std::move(given)), ring(kRingEvents)
    {
        thread = std::jthread([this](std::stop_token stop) { run(stop); });
    }

    void send(api::Update update)
    {
        if (outbox.add(std::move(update)))
            wake();
    }

    void wake()
    {
        const std::lock_guard lock(wakeupMutex);
        if (wakeup)
            wakeup();
    }

    void notice(Severity severity, std::string place, std::string text)
    {
        send(api::update::Notice{severity, std::move(place), std::move(text)});
    }

    Stores openStores();
    void run(std::stop_token stop);
    void loop(std::stop_token stop);
    void handle(api::Command &command);
    void handleModel(api::Command &command);
    void listSessions(const std::string &query);
    void tellSessions(const std::string &query, Result<std::vector<api::SessionSummary>> &listed);
    void tellNotices();
    void installEngine(std::unique_ptr<Engine> next);
    void comparePolicies();
    void showOtherBranch(SessionId session, const std::function<void()> &change, bool deleted = false);
    // What the engine runs with may come from the command line, for once: only what is named here is kept.
    void remember(std::function<void(settings::AppSettings &)> change)
    {
        if (options.keepSettings)
            models->saveSettings(std::move(change));
    }
    void restoreOpenSession();
    void tellDeviceNote();

    WorkerOptions options;
    Mailbox<Letter> mailbox;
    Outbox<api::Update> outbox;
    trace::EventRing ring;
    std::uint64_t droppedTold = 0; // reader thread
    std::mutex wakeupMutex;
    std::function<void()> wakeup;  // guarded by wakeupMutex
    std::atomic<bool> ending = false; // the window's thread: what takes long is given up
    std::mutex engineMutex;
    Engine *interruptible = nullptr; // guarded by engineMutex: what Stop interrupts from the window's thread

    // Worker thread only, alive while run() is.
    Stores stores;
    std::unique_ptr<trace::EventJournal> journal;
    std::unique_ptr<Background> background;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<SessionDesk> sessions;
    std::unique_ptr<TurnDesk> turns;
    std::unique_ptr<CacheDesk> cache;
    std::unique_ptr<PinDesk> pins;
    std::unique_ptr<ModelDesk> models;
    std::uint64_t engineFirstEvent = 0; // of the journal, when the engine was made
    std::string lastQuery;
    bool listing = false, listAgain = false; // the list is being made, and something has changed since

    std::jthread thread; // last: starts when the rest stands
};

Stores EngineWorker::Impl::openStores()
{
    Stores opened;
    auto lock = store::ProfileLock::tryAcquire(options.paths.lock());
    bool writable = false;
    if (!lock) {
        notice(Severity::error, "storage:chats", "Your chats are not being saved: " + lock.error().message +
                                                   " They are kept until you close this window.");
    } else if (!*lock) {
        notice(Severity::error, "storage:chats",
               "Another Kvilt is using this profile. Chats can be read here and go on, but nothing is stored; close "
               "the other window first, or start with --profile and another folder.");
    } else {
        opened.lock = std::move(**lock);
        writable = true;
    }
    const auto wakeUp = [this] { mailbox.post(std::function<void()>([this] { tellNotices(); })); };
    store::SessionStoreOptions sessionOptions{.file = options.paths.sessionsDb(), .writable = writable, .wake = wakeUp};
    opened.sessions = std::make_unique<store::SessionStore>(std::move(sessionOptions));
    store::KvStoreOptions kvOptions{.file = options.paths.kvDb(), .writable = writable};
    kvOptions.quotaBytes = options.settings.engine.diskQuota;
    if (auto kv = store::KvStore::open(std::move(kvOptions)))
        opened.kv = std::move(*kv);
    else
        notice(Severity::warning, "storage", kv.error().message);
    if (auto events = store::EventStore::open({.file = options.paths.eventsDb(), .writable = writable}))
        opened.events = std::move(*events);
    else
        notice(Severity::warning, "storage", events.error().message);
    return opened;
}

void EngineWorker::Impl::tellNotices()
{
    // An error: what is written now is nowhere but in memory.
    const bool kept = stores.sessions->kept();
    for (std::string &text : stores.sessions->takeNotices())
        notice(kept ? Severity::warning : Severity::error, "storage:chats", std::move(text));
    if (stores.kv) {
        for (std::string &text : stores.kv->takeNotices())
            notice(Severity::warning, "storage", std::move(text));
    }
    if (stores.events) {
        for (std::string &text : stores.events->takeNotices())
            notice(Severity::warning, "storage", std::move(text));
    }
}

void EngineWorker::Impl::run(std::stop_token stop)
{
    stores = openStores();
    journal = std::make_unique<trace::EventJournal>(
        trace::JournalOptions{.store = stores.events.get(), .ring = &ring});
    background = std::make_unique<Background>();
    const Outlet out = [this](api::Update update) { send(std::move(update)); };
    sessions = std::make_unique<SessionDesk>(*stores.sessions, out);
    turns = std::make_unique<TurnDesk>(*sessions, *journal, out, steadyNs, &ending);
    cache = std::make_unique<CacheDesk>(*sessions, *turns, *journal, stores.kv.get(), out);
    pins = std::make_unique<PinDesk>(*sessions, *turns);
    turns->whenFinished([this](SessionId session) { pins->refresh(session); });
    // Where chats are not saved, that settings are not is no news worth its place.
    const Outlet aboutModels = [this](api::Update update) {
        const auto *said = std::get_if<api::update::Notice>(&update);
        if (!said || said->place != "storage" || stores.sessions->kept())
            send(std::move(update));
    };
    models = std::make_unique<ModelDesk>(
        options.paths, *background, aboutModels, [this](std::function<void()> task) { mailbox.post(std::move(task)); });
    (void)store::settleProfile(*stores.sessions, stores.kv.get());
    (void)store::purgeDeleted(*stores.sessions, stores.kv.get());
    tellNotices();

    loop(stop);
    // What was said just before the end is kept: a message is stored, only not answered any more.
    while (auto letter = mailbox.take())
        if (auto *command = std::get_if<api::Command>(&*letter); command && !std::holds_alternative<command::LoadModel>(*command))
            handle(*command);

    installEngine(nullptr);
    background.reset(); // its tasks may post to this thread and read the stores: it goes before them
    (void)stores.sessions->flush();
    models.reset();
    turns->whenFinished({});
    pins.reset();
    cache.reset();
    turns.reset();
    sessions.reset();
    journal.reset();
    stores = {};
}

void EngineWorker::Impl::loop(std::stop_token stop)
{
    while (!stop.stop_requested()) {
        const bool busy = engine && !engine->idle();
        auto letter = busy ? mailbox.take()
                           : mailbox.waitUntil(stop, std::chrono::steady_clock::now() + kIdleTick);
        while (letter) {
            if (auto *task = std::get_if<std::function<void()>>(&*letter))
                (*task)();
            else
                handle(std::get<api::Command>(*letter));
            letter = mailbox.take();
        }
        if (engine && !engine->idle()) {
            if (auto step = engine->step(); !step) {
                notice(Severity::error, "model", step.error().message);
                turns->stopAll();
            }
            tellDeviceNote();
            turns->distribute();
        } else if (engine) {
            engine->takeStored();
        }
        turns->tick();
        cache->refresh(steadyNs(), false);
    }
}

void EngineWorker::Impl::installEngine(std::unique_ptr<Engine> next)
{
    turns->setEngine(nullptr); // stops turns while the old engine stands
    if (engine)
        (void)engine->flush();
    {
        const std::lock_guard lock(engineMutex);
        interruptible = next.get();
    }
    cache->setEngine(nullptr);
    pins->setEngine(nullptr);
    engine = std::move(next);
    engineFirstEvent = journal->nextNumber();
    turns->setEngine(engine.get());
    cache->setEngine(engine.get());
    pins->setEngine(engine.get());
    if (engine) {
        if (const std::string note = engine->takeDeviceNote(); !note.empty())
            notice(Severity::warning, "model", note);
        cache->refresh(steadyNs(), true);
        pins->refresh(sessions->lastOpened()); // what is still on disk is pinned as it returns
        restoreOpenSession();
    }
}

void EngineWorker::Impl::comparePolicies()
{
    if (!engine) {
        send(api::update::PoliciesCompared{.problem = "No model is loaded: load one and chat, then compare."});
        return;
    }
    const api::EngineSettings &now = engine->settings();
    PolicyQuestion question{*journal, engineFirstEvent, std::uint32_t(now.blockSize), engine->counts().capacity, now.policy};
    background->post([this, question = std::move(question)](const std::atomic<bool> &) {
        send(worker::comparePolicies(question));
    });
}

// The GPU was lost or full and the CPU has taken over: the window shows the new device and an empty pool.
void EngineWorker::Impl::tellDeviceNote()
{
    const std::string note = engine->takeDeviceNote();
    if (note.empty())
        return;
    notice(Severity::warning, "model", note);
    send(ModelDesk::stateOf(*engine));
    cache->refresh(steadyNs(), true);
}

// What the open chat has on disk is read now, before anybody asks: its next turn then starts at once. Only what is
// stored: one token after it is computed, nothing else.
void EngineWorker::Impl::restoreOpenSession()
{
    const SessionId session = sessions->lastOpened();
    OpenSession *open = session.value != 0 ? sessions->findOpen(session) : nullptr;
    if (!open || !engine)
        return;
    std::vector<TokenId> tokens = turns->branchTokens(session);
    const Engine::Peek peek = engine->peek(tokens, open->row.salt);
    if (peek.diskTokens == 0)
        return;
    tokens.resize(std::min<std::size_t>(tokens.size(), peek.memoryTokens + peek.diskTokens + 1));
    Request request;
    request.tokens = std::move(tokens);
    request.sampling.maxTokens = 0;
    request.salt = open->row.salt;
    request.session = session;
    (void)engine->submit(std::move(request));
}

// A search through a long history takes its time: replies go on meanwhile, and of several wishes the last one counts.
void EngineWorker::Impl::listSessions(const std::string &query)
{
    lastQuery = query;
    listAgain = listing;
    if (std::exchange(listing, true))
        return;
    stores.sessions->post([this, query](store::SessionDb &db) {
        mailbox.post(std::function<void()>([this, query, listed = db.list(query)]() mutable { tellSessions(query, listed); }));
    });
}

void EngineWorker::Impl::tellSessions(const std::string &query, Result<std::vector<api::SessionSummary>> &listed)
{
    listing = false;
    if (!listed) {
        notice(Severity::error, "storage", listed.error().message);
    } else if (cache) {
        cache->complete(*listed);
        send(api::update::Sessions{query, std::move(*listed)});
    }
    if (listAgain)
        listSessions(lastQuery);
}

// The blocks follow what the user sees: those of the branch that is left are nobody's, the others are wanted again.
void EngineWorker::Impl::showOtherBranch(SessionId session, const std::function<void()> &change, bool deleted)
{
    const auto branch = [&] {
        const OpenSession *open = sessions->findOpen(session);
        return open ? chat::branchOf(open->messages) : MessageId{};
    };
    const MessageId before = branch();
    const std::vector<TokenId> left = turns->branchTokens(session);
    change();
    cache->branchSwitched(session, left);
    if (deleted && stores.kv && before.value != 0 && before != branch())
        stores.kv->endBranch(session, before); // undone, its next turn makes it live again
    pins->refresh(session);
}

void EngineWorker::Impl::handleModel(api::Command &posted)
{
    std::visit(
        Overloaded{
            [&](command::LoadModel &c) {
                options.settings.engine = c.settings;
                installEngine(nullptr);
                models->load(c, stores.kv.get(), journal.get(), [this](ModelDesk::Loaded loaded) {
                    if (loaded.engine) {
                        options.settings.lastModel = loaded.state.facts.path;
                        remember([path = loaded.state.facts.path](settings::AppSettings &s) { s.lastModel = path; });
                    }
                    const bool ready = loaded.engine != nullptr;
                    if (ready)
                        installEngine(std::move(loaded.engine));
                    send(std::move(loaded.state));
                    if (ready)
                        listSessions(lastQuery);
                });
            },
            [&](command::UnloadModel &) {
                installEngine(nullptr);
                models->forget();
                send(api::update::ModelState{});
            },
            [&](command::ProbeModel &c) { models->probe(c.path, options.settings.engine); },
            [&](command::ScanModels &c) { models->scan(c.folders, options.settings.engine, !turns->anyRunning()); },
            [&](command::ComparePolicies &) { comparePolicies(); },
            [&](command::SetQuota &c) {
                options.settings.engine.diskQuota = c.bytes;
                if (stores.kv)
                    stores.kv->setQuota(c.bytes);
                remember([bytes = c.bytes](settings::AppSettings &s) { s.engine.diskQuota = bytes; });
            },
            [](auto &) {},
        },
        posted);
}

void EngineWorker::Impl::handle(api::Command &posted)
{
    bool relist = true; // does the list of chats look different afterwards?
    std::visit(
        Overloaded{
            [&](command::ListSessions &c) { listSessions(c.query), relist = false; },
            [&](command::OpenSession &c) { sessions->open(c.session), pins->refresh(c.session), relist = false; },
            [&](command::OpenLastSession &) {
                sessions->openLast(options.settings.newSession);
                pins->refresh(sessions->lastOpened());
            },
            [&](command::CreateSession &c) { sessions->create(c.settings); },
            [&](command::RenameSession &c) { sessions->rename(c.session, c.title); },
            [&](command::FileSession &c) { sessions->file(c); },
            [&](command::DeleteSession &c) {
                turns->leave(c.session);
                pins->forget(c.session);
                cache->sessionDeleted(c.session);
                sessions->remove(c.session);
            },
            [&](command::UndoDelete &c) { sessions->undoRemove(c.session), pins->refresh(c.session); },
            [&](command::SetSessionSettings &c) { sessions->setSettings(c.session, c.settings), relist = false; },
            [&](command::Send &c) { turns->send(c); },
            [&](command::EditMessage &c) { turns->edit(c); },
            [&](command::Regenerate &c) { turns->regenerate(c); },
            [&](command::Continue &c) { turns->continueReply(c); },
            [&](command::SwitchBranch &c) {
                relist = false;
                turns->leave(c.session); // the reply being written may not be on the branch shown next
                showOtherBranch(c.session, [&] { sessions->switchBranch(c); });
            },
            [&](command::DeleteMessage &c) {
                turns->leave(c.session);
                showOtherBranch(c.session, [&] { sessions->deleteMessage(c.session, c.message, false); }, true);
            },
            [&](command::UndoDeleteMessage &c) {
                turns->leave(c.session);
                showOtherBranch(c.session, [&] { sessions->deleteMessage(c.session, c.message, true); });
            },
            [&](command::PinMessage &c) { pins->pinMessage(c), relist = false; },
            [&](command::Stop &c) { turns->stop(c.session); },
            [&](command::PreviewPrompt &c) { turns->preview(c), relist = false; },
            [&](command::InspectTurn &c) { cache->inspect(c), relist = false; },
            [&](command::DescribeBlock &c) { cache->describe(c), relist = false; },
            [&](command::TokenSpans &c) { turns->spans(c.session, c.message), relist = false; },
            [&](command::PinBlocks &c) { pins->pinBlocks(c), relist = false; },
            [&](command::DropKv &c) {
                if (!turns->running(c.session)) // it is refused then
                    pins->forget(c.session);
                cache->dropKv(c.session);
            },
            [&](command::RequestSnapshot &) { cache->snapshot(), relist = false; },
            [&](command::RequestRibbon &c) { cache->ribbon(c.session), relist = false; },
            [&](command::ExportSession &c) {
                relist = false;
                exportSession(c, *stores.sessions, stores.kv.get(), *background, [this](api::Update u) { send(std::move(u)); });
            },
            [&](command::ImportSession &c) {
                if (const auto imported = importSession(c.path, *stores.sessions, stores.kv.get()))
                    sessions->open(*imported);
                else
                    notice(Severity::error, "export", imported.error().message);
            },
            [&](command::ExportEvents &c) {
                relist = false;
                exportEvents(c, *journal, *background, [this](api::Update u) { send(std::move(u)); });
            },
            [&](auto &) { handleModel(posted), relist = false; },
        },
        posted);
    tellNotices();
    cache->refresh(steadyNs(), relist);
    if (relist)
        listSessions(lastQuery);
}

EngineWorker::EngineWorker(WorkerOptions options) : m_impl(std::make_unique<Impl>(std::move(options))) {}

EngineWorker::~EngineWorker()
{
    setWakeup({});
    m_impl->ending.store(true, std::memory_order_relaxed);
    {
        const std::lock_guard lock(m_impl->engineMutex);
        if (m_impl->interruptible)
            m_impl->interruptible->interrupt();
    }
    m_impl->thread.request_stop();
    m_impl->mailbox.wake();
    m_impl->thread.join();
}

void EngineWorker::post(api::Command command)
{
    const bool stop = std::holds_alternative<command::Stop>(command);
    if (stop)
        m_impl->mailbox.postUrgent(std::move(command));
    else
        m_impl->mailbox.post(std::move(command));
    // The running step is abandoned at its next layer, so that a long prompt on a big model answers a Stop at once.
    const std::lock_guard lock(m_impl->engineMutex);
    if (stop && m_impl->interruptible)
        m_impl->interruptible->interrupt();
}

std::vector<api::Update> EngineWorker::takeUpdates()
{
    return m_impl->outbox.takeAll();
}

std::size_t EngineWorker::takeEvents(std::vector<api::CacheEvent> &out, std::size_t limit, std::uint64_t &lost)
{
    const std::size_t before = out.size();
    out.resize(before + limit);
    const std::size_t taken = m_impl->ring.pop(std::span(out).subspan(before));
    out.resize(before + taken);
    const std::uint64_t dropped = m_impl->ring.dropped();
    lost = dropped - m_impl->droppedTold;
    m_impl->droppedTold = dropped;
    return taken;
}

void EngineWorker::setWakeup(std::function<void()> wakeup)
{
    const std::lock_guard lock(m_impl->wakeupMutex);
    m_impl->wakeup = std::move(wakeup);
    if (m_impl->wakeup)
        m_impl->wakeup(); // what came before somebody listened rang for nobody
}

} // namespace kvilt::worker
