// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
// The whole engine behind the window's port: real stores in a folder, a real (tiny) model, real threads.
#include "app/worker/engine_worker.h"
#include "tests/support/port_driver.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QFile>
#include <QTemporaryDir>
#include <QTest>

#include <algorithm>
#include <map>
#include <semaphore>
#include <set>

using namespace kvilt;
using namespace kvilt::worker;
namespace command = api::command;
namespace update = api::update;

namespace {

// A worker on a profile, with a window's ear.
struct Desk {
    explicit Desk(const std::filesystem::path &profile)
    {
        WorkerOptions options;
        options.paths = *store::profilePaths(profile.string());
        options.settings.engine.threads = 2;
        options.settings.engine.kvBlocks = 256;
        worker = std::make_unique<EngineWorker>(std::move(options));
        window = std::make_unique<test::PortDriver>(*worker);
    }
    ~Desk()
    {
        window.reset();
        worker.reset();
    }

    update::ModelState load(const std::string &path, std::uint64_t blocks = 256, int context = 0)
    {
        api::EngineSettings settings;
        settings.threads = 2;
        settings.kvBlocks = blocks;
        settings.contextLength = context;
        window->post(command::LoadModel{path, settings});
        return window
            ->await<update::ModelState>([](const auto &s) {
                return s.phase == update::ModelPhase::ready || s.phase == update::ModelPhase::failed;
            })
            .value_or(update::ModelState{});
    }

    api::Conversation create(int maxTokens = 24)
    {
        api::SessionSettings settings;
        settings.sampling.maxTokens = maxTokens;
        settings.sampling.ignoreEos = true;
        window->post(command::CreateSession{settings});
        return window->await<update::SessionOpened>().value_or(update::SessionOpened{}).conversation;
    }

    api::Message say(SessionId session, const std::string &text)
    {
        window->post(command::Send{session, text});
        return finished(session);
    }

    api::Message finished(SessionId session)
    {
        return window->await<update::TurnFinished>([session](const auto &t) { return t.session == session; })
            .value_or(update::TurnFinished{})
            .message;
    }

    api::update::TurnInspected inspect(SessionId session, MessageId reply)
    {
        window->post(command::InspectTurn{session, TurnId{reply.value}});
        return window->await<update::TurnInspected>().value_or(update::TurnInspected{});
    }

    api::Ribbon ribbon(SessionId session, std::function<bool(const api::Ribbon &)> wanted = {})
    {
        window->post(command::RequestRibbon{session});
        return window
            ->await<update::RibbonChanged>([&](const auto &r) {
                return r.ribbon.session == session && (!wanted || wanted(r.ribbon));
            })
            .value_or(update::RibbonChanged{})
            .ribbon;
    }

    std::vector<api::CacheEvent> events()
    {
        std::vector<api::CacheEvent> all;
        std::uint64_t lost = 0;
        worker->takeEvents(all, 1u << 16, lost);
        return all;
    }

    std::unique_ptr<EngineWorker> worker;
    std::unique_ptr<test::PortDriver> window;
};

std::ptrdiff_t pinnedCells(const api::Ribbon &ribbon)
{
    return std::count_if(ribbon.cells.begin(), ribbon.cells.end(),
                         [](const auto &cell) { return cell.state == api::RibbonState::pinned; });
}

const std::string kLong = "Tell me, as plainly as you can and with all the words that you need, what a block is, "
                          "who holds it, and why it had to go.";

} // namespace

class EngineWorkerTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_folder;
    std::string m_model;
    int m_profiles = 0;

    std::filesystem::path newProfile()
    {
        return std::filesystem::path(m_folder.path().toStdString()) / ("profile" + std::to_string(++m_profiles));
    }

private slots:
    void initTestCase()
    {
        m_model = m_folder.filePath("tiny.gguf").toStdString();
        QVERIFY(test::writeTinyModel(m_model, {}));
    }

    // The worker may have listed the chats before the window listens.
    void whoListensLateHearsWhatWaits()
    {
        WorkerOptions options;
        options.paths = *store::profilePaths(newProfile().string());
        EngineWorker worker(std::move(options));
        std::counting_semaphore<> early(0), late(0);
        worker.setWakeup([&] { early.release(); });
        early.acquire(); // as it was set; nothing is taken
        worker.setWakeup([&] { late.release(); });
        QVERIFY(late.try_acquire());
        worker.setWakeup({});
    }

    void answersAndKeepsBothMessages()
    {
        Desk desk(newProfile());
        QCOMPARE(desk.load(m_model).phase, update::ModelPhase::ready);
        const auto chat = desk.create();
        const api::Message reply = desk.say(chat.id, kLong);
        QVERIFY(reply.state == api::MessageState::complete);
        QVERIFY(reply.hasReceipt);
        QCOMPARE(reply.receipt.completionTokens, 24u);
        QCOMPARE(reply.receipt.fromMemory + reply.receipt.fromDisk + reply.receipt.computed, reply.receipt.promptTokens);
        std::string streamed;
        for (const auto &part : desk.window->all<update::TextAppended>())
            streamed += part.text;
        QCOMPARE(QByteArray::fromStdString(streamed), QByteArray::fromStdString(reply.text));
        desk.window->post(command::OpenSession{chat.id});
        const auto opened = desk.window->await<update::SessionOpened>();
        QCOMPARE(opened->conversation.messages.size(), std::size_t(2));
        QCOMPARE(opened->conversation.messages[0].text, kLong);
        QCOMPARE(opened->conversation.messages[1].text, reply.text);
    }

    void theNextTurnHitsEveryFullBlockOfTheOneBefore()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create();
        std::uint32_t sofar = 0;
        for (int turn = 0; turn < 4; ++turn) {
            const auto reply = desk.say(chat.id, kLong);
            if (turn > 0)
                QVERIFY2(reply.receipt.fromMemory >= (sofar - 1) / 16 * 16,
                         qPrintable(QString("%1 of %2").arg(reply.receipt.fromMemory).arg(sofar)));
            sofar = reply.receipt.promptTokens + reply.receipt.completionTokens;
        }
    }

    void goesOnFromDiskAfterARestart()
    {
        const auto profile = newProfile();
        SessionId session;
        std::uint32_t before = 0;
        {
            Desk desk(profile);
            desk.load(m_model);
            session = desk.create().id;
            const auto reply = desk.say(session, kLong);
            before = reply.receipt.promptTokens + reply.receipt.completionTokens;
        }
        Desk desk(profile);
        desk.window->post(command::OpenLastSession{});
        const auto opened = desk.window->await<update::SessionOpened>();
        QCOMPARE(opened->conversation.id, session);
        QCOMPARE(opened->conversation.messages.size(), std::size_t(2));
        desk.load(m_model);
        const auto reply = desk.say(session, "And then?");
        QVERIFY2(reply.receipt.fromMemory + reply.receipt.fromDisk >= (before - 1) / 16 * 16,
                 qPrintable(QString("%1 of %2").arg(reply.receipt.fromDisk).arg(before)));
    }

    void aRegeneratedReplyIsASiblingAndBothCanBeShown()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create();
        const auto first = desk.say(chat.id, kLong);
        desk.window->post(command::Regenerate{chat.id, first.id});
        const auto second = desk.finished(chat.id);
        QVERIFY(second.id != first.id);
        QCOMPARE(second.branchIndex, 1);
        QCOMPARE(second.branchCount, 2);
        desk.window->post(command::SwitchBranch{chat.id, second.id, 0});
        const auto shown = desk.window->await<update::SessionOpened>();
        QCOMPARE(shown->conversation.messages.back().id, first.id);
        QCOMPARE(shown->conversation.messages.back().text, first.text);
    }

    void aRegeneratedReplyIsDrawnAnewAndTheSameSeedGivesTheSamePair()
    {
        std::vector<std::vector<std::string>> runs;
        for (int run = 0; run < 2; ++run) {
            Desk desk(newProfile());
            desk.load(m_model);
            api::SessionSettings settings;
            settings.sampling.maxTokens = 24;
            settings.sampling.ignoreEos = true;
            settings.sampling.temperature = 1;
            desk.window->post(command::CreateSession{settings});
            const SessionId chat = desk.window->await<update::SessionOpened>()->conversation.id;
            std::vector<std::string> texts{desk.say(chat, kLong).text};
            for (int again = 0; again < 2; ++again) {
                const auto last = desk.window->all<update::TurnFinished>().back().message;
                desk.window->post(command::Regenerate{chat, last.id});
                texts.push_back(desk.finished(chat).text);
            }
            QVERIFY(texts[0] != texts[1] && texts[1] != texts[2] && texts[0] != texts[2]);
            runs.push_back(texts);
        }
        QVERIFY(runs[0] == runs[1]);
    }

    void aRefusedRegenerateOrContinueLeavesTheBranchAsItWas()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create(8);
        const auto reply = desk.say(chat.id, kLong);
        const auto branch = [&] {
            desk.window->post(command::OpenSession{chat.id});
            const auto opened = desk.window->await<update::SessionOpened>();
            std::vector<std::int64_t> ids;
            for (const auto &m : opened->conversation.messages)
                ids.push_back(m.id.value);
            return ids;
        };
        const auto before = branch();
        api::SessionSettings tooLong;
        tooLong.sampling.maxTokens = 8;
        tooLong.systemPrompt = std::string(9000, 'x');
        desk.window->post(command::SetSessionSettings{chat.id, tooLong});
        for (const api::Command &refused : std::vector<api::Command>{command::Regenerate{chat.id, reply.id},
                                                                     command::Continue{chat.id, reply.id},
                                                                     command::Regenerate{chat.id, MessageId{99}},
                                                                     command::Continue{chat.id, MessageId{99}},
                                                                     command::Send{chat.id, ""}}) {
            desk.window->post(refused);
            QCOMPARE(desk.window->await<update::Notice>()->place, "session:" + std::to_string(chat.id.value));
            QVERIFY(branch() == before);
        }
        QCOMPARE(desk.window->all<update::TurnFinished>().size(), std::size_t(1));
    }

    void aDeletedChatLeavesSharedBlocksToTheOther()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        api::SessionSettings settings;
        settings.sampling.maxTokens = 4;
        settings.systemPrompt = kLong;
        std::vector<SessionId> chats;
        for (int i = 0; i < 2; ++i) {
            desk.window->post(command::CreateSession{settings});
            chats.push_back(desk.window->await<update::SessionOpened>()->conversation.id);
            desk.say(chats.back(), i == 0 ? "First" : "Second");
        }
        desk.window->post(command::DeleteSession{chats[0]});
        QVERIFY(desk.window->await<update::SessionClosed>().has_value());
        const auto reply = desk.say(chats[1], "Go on.");
        QVERIFY(reply.receipt.fromMemory >= kLong.size() / 16 * 16 / 2);
        QCOMPARE(reply.receipt.fromDisk, 0u);
    }

    void aPinnedMessageKeepsItsBlocksThroughEvictionAndARestart()
    {
        const auto profile = newProfile();
        std::ptrdiff_t whole = 0; // blocks up to the end of the message
        SessionId session;
        MessageId question;
        {
            Desk desk(profile);
            desk.load(m_model, 64);
            session = desk.create(8).id;
            question = desk.say(session, kLong).parent;
            for (const auto &span : desk.ribbon(session).messages)
                whole = span.message == question ? span.endToken / 16 : whole;
            QVERIFY(whole >= 4);
            desk.window->post(command::PinMessage{session, question, true});
            QVERIFY(desk.window->await<update::MessageAdded>([](const auto &m) { return m.message.pinned; }));
            for (int i = 0; i < 3; ++i)
                desk.say(desk.create(8).id, std::string(500, char('a' + i)));
            QVERIFY(pinnedCells(desk.ribbon(session)) >= whole);
            const auto events = desk.events();
            QVERIFY(std::any_of(events.begin(), events.end(), [](const auto &e) { return e.kind == api::EventKind::evict; }));
            const auto pins = std::count_if(events.begin(), events.end(), [&](const auto &e) {
                return e.kind == api::EventKind::pin && e.reason == api::EventReason::pinnedMessage &&
                       e.session == std::uint32_t(session.value);
            });
            QVERIFY(pins >= whole);
            const auto next = desk.say(session, "And?");
            QVERIFY(next.receipt.fromMemory >= std::uint32_t(whole * 16));
            desk.window->post(command::OpenSession{session});
            QVERIFY(desk.window->await<update::SessionOpened>().has_value());
        }
        Desk desk(profile);
        desk.window->post(command::OpenLastSession{});
        QVERIFY(desk.window->await<update::SessionOpened>()->conversation.messages.front().pinned);
        desk.load(m_model, 64);
        desk.ribbon(session, [&](const auto &r) { return pinnedCells(r) >= whole; }); // as it comes back from the disk
        desk.window->post(command::PinMessage{session, question, false});
        desk.ribbon(session, [](const auto &r) { return pinnedCells(r) == 0; });
        const auto events = desk.events();
        QVERIFY(std::any_of(events.begin(), events.end(), [](const auto &e) {
            return e.kind == api::EventKind::unpin && e.reason == api::EventReason::pinnedMessage;
        }));
    }

    void pinsBeyondHalfThePoolAreRefusedWithASentence()
    {
        Desk desk(newProfile());
        desk.load(m_model, 32);
        const SessionId session = desk.create(8).id;
        const auto reply = desk.say(session, std::string(350, 'x'));
        desk.window->post(command::PinMessage{session, reply.parent, true});
        const auto notice = desk.window->await<update::Notice>();
        QVERIFY2(QString::fromStdString(notice->text).contains("half of the KV pool"), notice->text.c_str());
        QCOMPARE(pinnedCells(desk.ribbon(session)), std::ptrdiff_t(16));
        QVERIFY(desk.say(desk.create(8).id, kLong).state == api::MessageState::complete); // others find room
    }

    void blocksOfAnotherChatAreHeldByItAndNotDead()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const SessionId first = desk.create(8).id;
        desk.say(first, kLong);
        const SessionId second = desk.create(8).id;
        const auto reply = desk.say(second, "Write a poem about the sun, which is nobody's and shines on all.");
        auto seen = desk.inspect(second, reply.id);
        QVERIFY(seen.receipt.miss.heldBlocks > 0);
        QCOMPARE(seen.receipt.miss.heldBy, first);
        QCOMPARE(seen.receipt.miss.deadBlocks, 0u);
        QCOMPARE(seen.heldByTitle, api::titleFrom(kLong));
        QVERIFY(seen.remedies.empty());
        desk.window->post(command::OpenSession{first});
        desk.window->post(command::DropKv{first});
        const auto gone = desk.window->await<update::RibbonChanged>([&](const auto &r) {
            return r.ribbon.session == first && std::all_of(r.ribbon.cells.begin() + 1, r.ribbon.cells.end(), [](const auto &c) {
                       return c.state == api::RibbonState::evicted || c.state == api::RibbonState::unused;
                   });
        });
        QVERIFY(gone.has_value());
        seen = desk.inspect(second, reply.id);
        QVERIFY(seen.receipt.miss.droppedBlocks > 0);
        QCOMPARE(seen.receipt.miss.heldBlocks + seen.receipt.miss.deadBlocks, 0u);
    }

    void aTurnIsExplainedBlockByBlockAfterARestartToo()
    {
        const auto profile = newProfile();
        SessionId session;
        api::Message reply;
        {
            Desk desk(profile);
            desk.load(m_model);
            session = desk.create(8).id;
            desk.say(session, kLong);
            reply = desk.say(session, "Go on.");
        }
        Desk desk(profile);
        desk.load(m_model);
        const auto seen = desk.inspect(session, reply.id);
        QCOMPARE(seen.asked.size(), std::size_t((reply.receipt.promptTokens + 15) / 16));
        QCOMPARE(seen.asked.front().state, api::RibbonState::disk);
        QVERIFY(seen.asked.front().node.value != 0);
        QCOMPARE(seen.cached.size(), std::size_t(reply.receipt.fromMemory / 16));
    }

    void anEditedSystemPromptIsNamedAndCanBeUndone_data()
    {
        QTest::addColumn<bool>("restarted");
        QTest::newRow("at once") << false;
        QTest::newRow("after a restart") << true;
    }
    void anEditedSystemPromptIsNamedAndCanBeUndone()
    {
        QFETCH(bool, restarted);
        const auto profile = newProfile();
        std::optional<Desk> desk(std::in_place, profile);
        desk->load(m_model);
        api::SessionSettings settings;
        settings.sampling.maxTokens = 8;
        settings.systemPrompt = "You are a helpful assistant.";
        desk->window->post(command::CreateSession{settings});
        const SessionId chat = desk->window->await<update::SessionOpened>()->conversation.id;
        desk->say(chat, kLong);
        if (restarted) {
            desk.emplace(profile);
            desk->load(m_model);
        }
        settings.systemPrompt = "You are a pirate, and rude.";
        desk->window->post(command::SetSessionSettings{chat, settings});
        const auto reply = desk->say(chat, "Go on.");
        QCOMPARE(int(reply.receipt.miss.reason), int(api::EventReason::systemPromptEdited));
        const auto seen = desk->inspect(chat, reply.id);
        QVERIFY2(QString::fromStdString(seen.explanation).contains("system prompt was edited"), seen.explanation.c_str());
        if (!restarted) {
            QVERIFY(seen.receipt.miss.repeatedTokens >= kLong.size() / 2);
            QVERIFY(seen.receipt.miss.lostSeconds > 0);
            QVERIFY(seen.receipt.miss.deadBlocks > 0);
            const auto &undo = std::get<command::SetSessionSettings>(seen.remedies.at(0).commands.at(0));
            QCOMPARE(undo.settings.systemPrompt, std::string("You are a helpful assistant."));
        }
        const auto next = desk->say(chat, "And on."); // said once
        QVERIFY(next.receipt.miss.reason != api::EventReason::systemPromptEdited);
    }

    void droppingTheOldestLetsTheNextTurnsHitAgain()
    {
        Desk desk(newProfile());
        desk.load(m_model, 128, 512);
        api::SessionSettings settings;
        settings.sampling.maxTokens = 40;
        settings.sampling.ignoreEos = true;
        settings.contextFull = api::ContextFull::dropOldest;
        desk.window->post(command::CreateSession{settings});
        const SessionId chat = desk.window->await<update::SessionOpened>()->conversation.id;
        api::Message last, dropped;
        for (int turn = 0; turn < 12 && dropped.id.value == 0; ++turn) {
            const auto reply = desk.say(chat, "Say something about number " + std::to_string(turn));
            if (reply.receipt.contextStart.value != 0)
                dropped = reply;
            else
                last = reply;
        }
        QVERIFY(dropped.id.value != 0);
        QCOMPARE(int(dropped.receipt.miss.reason), int(api::EventReason::contextDropped));
        QVERIFY(last.receipt.promptTokens + last.receipt.completionTokens >= dropped.receipt.promptTokens + 512 / 4 - 60);
        const auto seen = desk.inspect(chat, dropped.id);
        QVERIFY2(QString::fromStdString(seen.explanation).contains("oldest turns were dropped"), seen.explanation.c_str());
        const auto next = desk.say(chat, "Next");
        QCOMPARE(next.receipt.contextStart, dropped.receipt.contextStart);
        QVERIFY(next.receipt.fromMemory + 16 >= dropped.receipt.promptTokens + dropped.receipt.completionTokens);
    }

    void anotherBranchShownIsAliveAndTheOneLeftGoesFirst()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const SessionId chat = desk.create(40).id;
        const auto first = desk.say(chat, kLong);
        desk.window->post(command::EditMessage{chat, first.parent, kLong + " But briefly, and in other words than these."});
        const auto second = desk.finished(chat);
        const auto left = desk.ribbon(chat);
        desk.window->post(command::SwitchBranch{chat, second.parent, 0});
        QVERIFY(desk.window->await<update::SessionOpened>().has_value());
        const auto shown = desk.ribbon(chat);
        desk.window->post(command::RequestSnapshot{});
        const auto pool = desk.window->await<update::Snapshot>()->pool;
        const auto deadOf = [&](const api::Ribbon &ribbon) {
            int dead = 0;
            for (const auto &cell : ribbon.cells)
                if (cell.block != kNoBlock)
                    dead += pool.groups[0].blocks[cell.block.value].state == api::BlockState::deadBranch;
            return dead;
        };
        QCOMPARE(deadOf(shown), 0);
        QVERIFY(deadOf(left) >= 2);
        const auto events = desk.events();
        const auto switched = [&](std::uint32_t a) {
            return std::count_if(events.begin(), events.end(), [a](const auto &e) {
                return e.kind == api::EventKind::deadBranch && e.reason == api::EventReason::branchSwitched && e.a == a;
            });
        };
        QVERIFY(switched(0) >= 2 && switched(1) >= 2);
    }

    void anEditedMessageIsAnsweredOnABranchOfItsOwn()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create();
        desk.say(chat.id, kLong);
        desk.window->post(command::OpenSession{chat.id});
        const auto opened = desk.window->await<update::SessionOpened>();
        desk.window->post(command::EditMessage{chat.id, opened->conversation.messages[0].id, kLong + " Briefly."});
        const auto reply = desk.finished(chat.id);
        QVERIFY(reply.state == api::MessageState::complete);
        QVERIFY(reply.receipt.fromMemory > 0); // the head of the prompt is the same
        desk.window->post(command::OpenSession{chat.id});
        const auto after = desk.window->await<update::SessionOpened>();
        QCOMPARE(after->conversation.messages.size(), std::size_t(2));
        QCOMPARE(after->conversation.messages[0].text, kLong + " Briefly.");
        QCOMPARE(after->conversation.messages[0].branchCount, 2);
    }

    void goesOnWithAReplyThatWasCutShort()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create(8);
        const auto cut = desk.say(chat.id, kLong);
        QVERIFY(cut.receipt.finish == api::FinishReason::length);
        desk.window->post(command::Continue{chat.id, cut.id});
        const auto whole = desk.finished(chat.id);
        QCOMPARE(whole.id, cut.id);
        QVERIFY(whole.text.size() > cut.text.size());
        QCOMPARE(whole.text.substr(0, cut.text.size()), cut.text);
    }

    void twoChatsAnswerAtTheSameTime()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto one = desk.create(200);
        const auto two = desk.create(20);
        desk.window->post(command::Send{one.id, kLong});
        desk.window->post(command::Send{two.id, "Short."});
        QVERIFY(desk.finished(two.id).state == api::MessageState::complete);
        // The long one was begun first and is still at it, or ended meanwhile: either way it ends whole.
        const auto all = desk.window->all<update::TurnFinished>();
        const bool oneDone = std::any_of(all.begin(), all.end(), [&](const auto &t) { return t.session == one.id; });
        QCOMPARE(oneDone ? 200u : desk.finished(one.id).receipt.completionTokens, 200u);
    }

    // Two chats that do not fit the pool together: one waits, says so, and its turn tells what that cost.
    void aChatThatWaitsForAnotherSaysSo()
    {
        Desk desk(newProfile());
        desk.load(m_model, 24);
        const std::vector<SessionId> chats{desk.create(200).id, desk.create(200).id};
        for (const SessionId chat : chats)
            desk.window->post(command::Send{chat, kLong});
        std::map<SessionId, api::Message> replies;
        while (replies.size() < 2) {
            const auto turn = desk.window->await<update::TurnFinished>();
            QVERIFY(turn.has_value());
            replies[turn->session] = turn->message;
        }
        std::set<std::int64_t> wrote, waited;
        for (const auto &now : desk.window->all<update::TurnProgress>()) {
            if (now.phase == update::TurnPhase::decode)
                wrote.insert(now.session.value);
            if (now.phase == update::TurnPhase::queued && wrote.contains(now.session.value))
                waited.insert(now.session.value);
        }
        QVERIFY(!waited.empty());
        for (const auto &[chat, reply] : replies) {
            QCOMPARE(reply.receipt.completionTokens, 200u);
            const bool told = desk.inspect(chat, reply.id).explanation.find("lent to another chat") != std::string::npos;
            QCOMPARE(told, waited.contains(chat.value));
        }
    }

    void stopKeepsWhatWasWritten()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create(1900);
        desk.window->post(command::Send{chat.id, kLong});
        QVERIFY(desk.window->await<update::TextAppended>().has_value());
        desk.window->post(command::Stop{chat.id});
        const auto reply = desk.finished(chat.id);
        QVERIFY(reply.state == api::MessageState::stopped);
        QVERIFY(!reply.text.empty());
        QVERIFY(reply.receipt.completionTokens < 1900);
    }

    // The window does not send while a reply is written; whoever does loses nothing.
    void whatIsSentInMidReplyIsStoredAndAnsweredAfterIt()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create(150);
        desk.window->post(command::Send{chat.id, kLong});
        QVERIFY(desk.window->await<update::TextAppended>().has_value());
        desk.window->post(command::Send{chat.id, "And who paid for it?"});
        const auto added = desk.window->await<update::MessageAdded>(
            [](const auto &m) { return m.message.text == "And who paid for it?"; });
        QVERIFY(added.has_value());
        const auto first = desk.finished(chat.id);
        QCOMPARE(first.receipt.completionTokens, 150u);
        QCOMPARE(added->message.parent, first.id);
        const auto second = desk.finished(chat.id);
        QCOMPARE(second.parent, added->message.id);
        QCOMPARE(second.receipt.completionTokens, 150u);
        QVERIFY(second.receipt.fromMemory > 0);
    }

    void stopInMidReplyAnswersWhatWaitsBehindIt()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create(1500);
        desk.window->post(command::Send{chat.id, kLong});
        QVERIFY(desk.window->await<update::TextAppended>().has_value());
        api::SessionSettings brief;
        brief.sampling.maxTokens = 5;
        brief.sampling.ignoreEos = true;
        desk.window->post(command::SetSessionSettings{chat.id, brief});
        desk.window->post(command::Send{chat.id, "Never mind."});
        QVERIFY(desk.window->await<update::MessageAdded>([](const auto &m) { return m.message.text == "Never mind."; }));
        desk.window->post(command::Stop{chat.id});
        QVERIFY(desk.finished(chat.id).state == api::MessageState::stopped);
        QCOMPARE(desk.finished(chat.id).receipt.completionTokens, 5u);
    }

    void anEditInMidReplyEndsThatReplyAndIsAnswered()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create(1500);
        desk.window->post(command::Send{chat.id, kLong});
        QVERIFY(desk.window->await<update::TextAppended>().has_value());
        const auto added = desk.window->all<update::MessageAdded>();
        api::SessionSettings brief;
        brief.sampling.maxTokens = 5;
        desk.window->post(command::SetSessionSettings{chat.id, brief});
        desk.window->post(command::EditMessage{chat.id, added.front().message.id, "Something else."});
        QVERIFY(desk.finished(chat.id).state == api::MessageState::stopped);
        const auto opened = desk.window->await<update::SessionOpened>();
        QCOMPARE(opened->conversation.messages.size(), std::size_t(1));
        QCOMPARE(opened->conversation.messages[0].text, std::string("Something else."));
        QVERIFY(!opened->busy);
        QCOMPARE(desk.finished(chat.id).parent, opened->conversation.messages[0].id);
    }

    void aChatOpenedInMidReplyIsBusyAndHasTheTextSoFar()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create(1500);
        desk.window->post(command::Send{chat.id, kLong});
        QVERIFY(desk.window->await<update::TextAppended>().has_value());
        desk.window->post(command::RenameSession{chat.id, "Another name"});
        const auto opened = desk.window->await<update::SessionOpened>(
            [](const auto &o) { return o.conversation.title == "Another name"; });
        QVERIFY(opened->busy);
        const std::size_t at = std::size_t(std::find_if(desk.window->seen.begin(), desk.window->seen.end(), [](const auto &u) {
            const auto *o = std::get_if<update::SessionOpened>(&u);
            return o && o->conversation.title == "Another name";
        }) - desk.window->seen.begin());
        std::string before;
        for (std::size_t i = 0; i < at; ++i)
            if (const auto *part = std::get_if<update::TextAppended>(&desk.window->seen[i]))
                before += part->text;
        QCOMPARE(QByteArray::fromStdString(opened->conversation.messages.back().text), QByteArray::fromStdString(before));
        desk.window->post(command::Stop{chat.id});
        QVERIFY(desk.finished(chat.id).state == api::MessageState::stopped);
    }

    void aTextThatCannotBeStoredComesBack()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create();
        desk.say(chat.id, kLong);
        desk.window->post(command::EditMessage{chat.id, MessageId{4711}, "Words of mine"});
        QCOMPARE(desk.window->await<update::TextReturned>()->text, std::string("Words of mine"));
        QVERIFY(desk.window->await<update::Notice>()->text.find("not stored") != std::string::npos);
    }

    void whatIsSentJustBeforeTheEndIsKept()
    {
        const auto profile = newProfile();
        SessionId session;
        {
            Desk desk(profile);
            desk.load(m_model);
            session = desk.create(8).id;
            desk.window->post(command::Send{session, "The last word"});
        }
        Desk desk(profile);
        desk.window->post(command::OpenSession{session});
        const auto opened = desk.window->await<update::SessionOpened>();
        QVERIFY(!opened->conversation.messages.empty());
        QCOMPARE(opened->conversation.messages.front().text, std::string("The last word"));
    }

    void keepsTheMessageWhenThereIsNoModel()
    {
        Desk desk(newProfile());
        const auto chat = desk.create();
        desk.window->post(command::Send{chat.id, "Hello"});
        const auto notice = desk.window->await<update::Notice>();
        QVERIFY(QString::fromStdString(notice->text).contains("is kept"));
        desk.load(m_model);
        desk.window->post(command::Send{chat.id, ""}); // answers what stands there
        QVERIFY(desk.finished(chat.id).state == api::MessageState::complete);
    }

    void saysWhatIsWrongWithABadModel()
    {
        Desk desk(newProfile());
        const std::string path = m_folder.filePath("bad.gguf").toStdString();
        QFile bad(QString::fromStdString(path));
        QVERIFY(bad.open(QIODevice::WriteOnly));
        bad.write("GGUF but not really");
        bad.close();
        const auto state = desk.load(path);
        QCOMPARE(state.phase, update::ModelPhase::failed);
        QVERIFY2(QString::fromStdString(state.problem).contains("bad.gguf"), state.problem.c_str());
        QCOMPARE(desk.load(m_model).phase, update::ModelPhase::ready); // and goes on
    }

    void aDeletedChatComesBack()
    {
        Desk desk(newProfile());
        const auto chat = desk.create();
        desk.window->post(command::DeleteSession{chat.id});
        QCOMPARE(desk.window->await<update::SessionClosed>()->session, chat.id);
        desk.window->post(command::UndoDelete{chat.id});
        QCOMPARE(desk.window->await<update::SessionOpened>()->conversation.id, chat.id);
    }

    void exportsAndImportsAChat_data()
    {
        QTest::addColumn<int>("format");
        QTest::newRow("json") << static_cast<int>(command::ExportFormat::json);
        QTest::newRow("kvilt") << static_cast<int>(command::ExportFormat::kvilt);
    }
    void exportsAndImportsAChat()
    {
        QFETCH(int, format);
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create();
        const auto reply = desk.say(chat.id, kLong);
        const std::string path = m_folder.filePath("chat.out").toStdString();
        desk.window->post(command::ExportSession{chat.id, path, static_cast<command::ExportFormat>(format), true});
        QCOMPARE(desk.window->await<update::Exported>()->path, path);
        desk.window->post(command::ImportSession{path});
        const auto copy = desk.window->await<update::SessionOpened>();
        QVERIFY(copy->conversation.id != chat.id);
        QCOMPARE(copy->conversation.messages.size(), std::size_t(2));
        QCOMPARE(copy->conversation.messages[0].text, kLong);
        QCOMPARE(QByteArray::fromStdString(copy->conversation.messages[1].text), QByteArray::fromStdString(reply.text));
    }

    void aSecondProcessReadsButDoesNotStore()
    {
        const auto profile = newProfile();
        Desk first(profile);
        const auto chat = first.create();
        Desk second(profile);
        const auto notice = second.window->await<update::Notice>();
        QVERIFY2(QString::fromStdString(notice->text).contains("Another Kvilt"), notice->text.c_str());
        second.load(m_model);
        const auto mine = second.create();
        QVERIFY(second.say(mine.id, "Hello").state == api::MessageState::complete);
        first.window->post(command::ListSessions{});
        const auto listed = first.window->await<update::Sessions>();
        QCOMPARE(listed->sessions.size(), std::size_t(1));
        QCOMPARE(listed->sessions[0].id, chat.id);
    }

    void aProfileThatCannotBeLockedSaysThatChatsAreNotSaved()
    {
        const auto profile = newProfile();
        std::filesystem::create_directories(store::profilePaths(profile.string())->lock()); // a folder in its place
        Desk desk(profile);
        const auto notice = desk.window->await<update::Notice>();
        QCOMPARE(notice->place, std::string("storage:chats"));
        QVERIFY(notice->severity == update::Severity::error);
        QVERIFY2(QString::fromStdString(notice->text).contains("not being saved"), notice->text.c_str());
    }

    void explainsATurn()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create();
        desk.say(chat.id, kLong);
        const auto reply = desk.say(chat.id, "Go on.");
        desk.window->post(command::InspectTurn{chat.id, TurnId{reply.id.value}});
        const auto inspected = desk.window->await<update::TurnInspected>();
        QCOMPARE(inspected->turnNumber, 2);
        QCOMPARE(inspected->turns, 2);
        QCOMPARE(inspected->receipt.promptTokens, reply.receipt.promptTokens);
        QVERIFY(!inspected->explanation.empty());
        QCOMPARE(inspected->asked.size(), std::size_t((reply.receipt.promptTokens + 15) / 16));
    }

    void theEventsAddUpToTheSnapshot()
    {
        Desk desk(newProfile());
        desk.load(m_model);
        const auto chat = desk.create();
        desk.say(chat.id, kLong);
        std::vector<api::CacheEvent> events;
        std::uint64_t lost = 0;
        while (desk.worker->takeEvents(events, 4096, lost) > 0)
            QCOMPARE(lost, std::uint64_t(0));
        std::set<std::uint32_t> held;
        for (std::size_t i = 0; i < events.size(); ++i) {
            QCOMPARE(events[i].sequenceNumber, events.front().sequenceNumber + i);
            if (events[i].kind == api::EventKind::allocate)
                held.insert(events[i].block);
        }
        desk.window->post(command::RequestSnapshot{});
        const auto snapshot = desk.window->await<update::Snapshot>(
            [&](const auto &s) { return s.pool.sequenceNumber >= events.back().sequenceNumber; });
        QVERIFY(snapshot.has_value());
        const auto &blocks = snapshot->pool.groups.at(0).blocks;
        const auto used = std::count_if(blocks.begin(), blocks.end(),
                                        [](const auto &b) { return b.state != api::BlockState::free; });
        QVERIFY(used > 0);
        QVERIFY(std::size_t(used) <= held.size());
    }
};

KVILT_TEST_CLASS(EngineWorkerTest)
#include "tst_engine_worker.moc"
