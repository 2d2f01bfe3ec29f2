// SPDX-License-Identifier: Apache-2.0
// labels: concurrent
#include "engine/reply_text.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::test;

namespace {

TinyModelOptions modelOf(const QByteArray &architecture)
{
    TinyModelOptions options;
    options.architecture = architecture.toStdString();
    return options;
}

} // namespace

class EngineTest : public QObject {
    Q_OBJECT
private slots:
    void logitsDoNotDependOnHowTheyAreComputed_data()
    {
        QTest::addColumn<QByteArray>("architecture");
        QTest::addColumn<int>("chunk");
        QTest::addColumn<int>("threads");
        QTest::addColumn<int>("blockSize");
        for (const char *name : {"llama", "gemma3"}) {
            QTest::addRow("%s chunk 1", name) << QByteArray(name) << 1 << 1 << 16;
            QTest::addRow("%s chunk 7", name) << QByteArray(name) << 7 << 2 << 16;
            QTest::addRow("%s chunk 64, blocks of 32", name) << QByteArray(name) << 64 << 2 << 32;
            QTest::addRow("%s whole, blocks of 512", name) << QByteArray(name) << 512 << 1 << 512;
        }
    }
    void logitsDoNotDependOnHowTheyAreComputed()
    {
        QFETCH(QByteArray, architecture);
        QFETCH(int, chunk);
        QFETCH(int, threads);
        QFETCH(int, blockSize);
        EngineFixture fixture(modelOf(architecture));
        const auto tokens = fixture.randomTokens(150, 3);
        auto reference = EngineFixture::make(fixture.options());
        EngineOptions options = fixture.options();
        options.chunk = std::uint32_t(chunk);
        options.settings.threads = threads;
        options.settings.blockSize = blockSize;
        auto other = EngineFixture::make(std::move(options));
        QVERIFY(sameBits(logitsOf(*reference, {.tokens = tokens}), logitsOf(*other, {.tokens = tokens})));
    }

    void aHitChangesNoBit()
    {
        EngineFixture fixture;
        const auto tokens = fixture.randomTokens(100, 5);
        auto engine = EngineFixture::make(fixture.options());
        const auto first = logitsOf(*engine, {.tokens = tokens}, 99);
        const auto again = logitsOf(*engine, {.tokens = tokens}, 99);
        QVERIFY(sameBits(first, again));
        const Finished hit = runOne(*engine, {.tokens = tokens, .sampling = {.maxTokens = 1}});
        QCOMPARE(hit.stats.cachedMemory, 96u); // six full blocks; four tokens of the seventh run
        QCOMPARE(hit.stats.computed, 4u);
    }

    void theLastTokenRunsOnAFullHit()
    {
        EngineFixture fixture;
        const auto tokens = fixture.randomTokens(96, 5);
        auto engine = EngineFixture::make(fixture.options());
        const Finished first = runOne(*engine, {.tokens = tokens, .sampling = {.maxTokens = 4}});
        const Finished again = runOne(*engine, {.tokens = tokens, .sampling = {.maxTokens = 4}});
        QCOMPARE(again.tokens, first.tokens);
        QVERIFY(again.stats.computed >= 1);
        QCOMPARE(again.stats.cachedMemory + again.stats.computed, 96u);
        QVERIFY(again.lookup.reason != api::EventReason::none);
    }

    void goesOnFromDiskInANewEngine_data()
    {
        QTest::addColumn<QByteArray>("architecture");
        QTest::newRow("llama") << QByteArray("llama");
        QTest::newRow("gemma3") << QByteArray("gemma3");
    }
    void goesOnFromDiskInANewEngine()
    {
        QFETCH(QByteArray, architecture);
        EngineFixture fixture(modelOf(architecture));
        const auto tokens = fixture.randomTokens(120, 11);
        EngineOptions options = fixture.options();
        options.fingerprint.fill(7);
        Finished before;
        std::vector<float> logits;
        {
            auto kv = fixture.openStore();
            options.kvStore = kv.get();
            auto engine = EngineFixture::make(options);
            logits = logitsOf(*engine, {.tokens = tokens, .useCache = false}, 119);
            before = runOne(*engine, {.tokens = tokens, .sampling = {.maxTokens = 20, .ignoreEos = true}});
            QVERIFY(engine->flush().has_value());
        }
        auto kv = fixture.openStore();
        options.kvStore = kv.get();
        auto engine = EngineFixture::make(options);
        std::vector<float> restored = logitsOf(*engine, {.tokens = tokens}, 119);
        QVERIFY(sameBits(logits, restored));
        auto other = EngineFixture::make(options);
        const Finished after = runOne(*other, {.tokens = tokens, .sampling = {.maxTokens = 20, .ignoreEos = true}});
        QCOMPARE(after.tokens, before.tokens);
        QCOMPARE(after.stats.cachedDisk, 112u);
        QVERIFY(after.stats.restoredBlocks >= 7);
    }

    void anotherModelsKvIsNeverUsed()
    {
        EngineFixture fixture;
        const auto tokens = fixture.randomTokens(64, 1);
        auto kv = fixture.openStore();
        EngineOptions options = fixture.options();
        options.kvStore = kv.get();
        options.fingerprint.fill(1);
        auto first = EngineFixture::make(options);
        runOne(*first, {.tokens = tokens, .sampling = {.maxTokens = 1}});
        QVERIFY(first->flush().has_value());
        options.fingerprint.fill(2);
        auto second = EngineFixture::make(options);
        QCOMPARE(runOne(*second, {.tokens = tokens, .sampling = {.maxTokens = 1}}).stats.cachedDisk, 0u);
        QCOMPARE(runOne(*first, {.tokens = tokens, .sampling = {.maxTokens = 1}, .salt = "x"}).stats.cachedMemory, 0u);
    }

    void sevenNeighboursChangeNothing()
    {
        EngineFixture fixture;
        std::vector<Finished> alone;
        std::vector<Request> requests;
        for (std::uint64_t i = 0; i < 8; ++i)
            requests.push_back({.tokens = fixture.randomTokens(20 + 13 * i, i),
                                .sampling = {.temperature = 1, .seed = i, .maxTokens = 24, .ignoreEos = true}});
        for (const Request &request : requests)
            alone.push_back(runOne(*EngineFixture::make(fixture.options()), request));
        auto engine = EngineFixture::make(fixture.options());
        for (const Request &request : requests)
            QVERIFY(engine->submit(request).has_value());
        auto together = runAll(*engine);
        for (std::size_t i = 0; i < alone.size(); ++i)
            QCOMPARE(together.at(i + 1).tokens, alone[i].tokens);
    }

    void preemptionRecomputesAndChangesNothing()
    {
        EngineFixture fixture;
        const api::SamplingSettings sampling{.temperature = 1, .seed = 4, .maxTokens = 100, .ignoreEos = true};
        std::vector<Finished> alone;
        for (std::uint64_t i = 0; i < 3; ++i)
            alone.push_back(runOne(*EngineFixture::make(fixture.options()),
                                   {.tokens = fixture.randomTokens(40, i), .sampling = sampling}));
        EngineOptions options = fixture.options();
        options.settings.kvBlocks = 14; // three sequences of 140 tokens want 27
        auto engine = EngineFixture::make(std::move(options));
        for (std::uint64_t i = 0; i < 3; ++i)
            QVERIFY(engine->submit({.tokens = fixture.randomTokens(40, i), .sampling = sampling}).has_value());
        auto crowded = runAll(*engine);
        std::uint32_t preemptions = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            QCOMPARE(crowded.at(i + 1).tokens, alone[i].tokens);
            preemptions += crowded.at(i + 1).stats.preemptions;
            const SequenceStats &s = crowded.at(i + 1).stats;
            QCOMPARE(s.cachedMemory + s.computed, s.promptTokens);
        }
        QVERIFY(preemptions > 0);
    }

    void aForkGoesOnWithTheSameBits()
    {
        EngineFixture fixture;
        const auto tokens = fixture.randomTokens(50, 9);
        const api::SamplingSettings sampling{.maxTokens = 30, .ignoreEos = true};
        const Finished alone = runOne(*EngineFixture::make(fixture.options()), {.tokens = tokens, .sampling = sampling});
        auto engine = EngineFixture::make(fixture.options());
        const auto first = engine->submit({.tokens = tokens, .sampling = sampling});
        while (engine->stats(*first)->phase != SequencePhase::decode)
            QVERIFY(engine->step().has_value());
        const auto second = engine->fork(*first, sampling);
        QVERIFY(second.has_value());
        auto both = runAll(*engine);
        QCOMPARE(both.at(second->value).tokens, alone.tokens);
        QCOMPARE(both.at(second->value).stats.computed, 1u);
        QCOMPARE(both.at(first->value).tokens, alone.tokens);
    }

    // Both hold the same two blocks and each has to write into the second: there is no third to copy it to.
    void aForkWithoutABlockForItsCopyWaitsForTheOther()
    {
        EngineFixture fixture;
        const auto tokens = fixture.randomTokens(24, 9);
        const api::SamplingSettings sampling{.maxTokens = 6, .ignoreEos = true};
        const Finished alone = runOne(*EngineFixture::make(fixture.options()), {.tokens = tokens, .sampling = sampling});
        EngineOptions options = fixture.options();
        options.settings.kvBlocks = 2;
        auto engine = EngineFixture::make(std::move(options));
        const auto first = engine->submit({.tokens = tokens, .sampling = sampling});
        while (engine->stats(*first)->phase != SequencePhase::decode)
            QVERIFY(engine->step().has_value());
        const auto second = engine->fork(*first, sampling);
        QVERIFY(second.has_value());
        auto both = runAll(*engine);
        QCOMPARE(QString::fromStdString(both.at(first->value).problem), QString());
        QCOMPARE(both.at(first->value).tokens, alone.tokens);
        QCOMPARE(QString::fromStdString(both.at(second->value).problem), QString());
        QCOMPARE(both.at(second->value).tokens, alone.tokens);
        QCOMPARE(both.at(second->value).stats.preemptions, 1u);
    }

    void cancelAnswersAndGivesBlocksBack()
    {
        EngineFixture fixture;
        auto engine = EngineFixture::make(fixture.options());
        const auto id = engine->submit({.tokens = fixture.randomTokens(100, 2), .sampling = {.maxTokens = 500}});
        QVERIFY(engine->step().has_value());
        engine->cancel(*id);
        const auto outputs = engine->takeOutputs();
        QCOMPARE(outputs.size(), std::size_t(1));
        QVERIFY(outputs[0].finished);
        QVERIFY(outputs[0].reason == api::FinishReason::cancelled);
        QVERIFY(engine->idle());
        QCOMPARE(engine->counts().inUse + engine->counts().partlyFilled, 0u);
    }

    void anInterruptedStepIsDoneAgain()
    {
        EngineFixture fixture;
        const Request request{.tokens = fixture.randomTokens(80, 2), .sampling = {.maxTokens = 10, .ignoreEos = true}};
        const Finished expected = runOne(*EngineFixture::make(fixture.options()), request);
        auto engine = EngineFixture::make(fixture.options());
        const auto id = engine->submit(request);
        engine->interrupt();
        const auto step = engine->step();
        QVERIFY(step->interrupted);
        QCOMPARE(engine->stats(*id)->computed, 0u);
        QCOMPARE(runAll(*engine).at(id->value).tokens, expected.tokens);
    }

    void pinnedBlocksThatFillThePoolAreAnAnswerNotAHang()
    {
        EngineFixture fixture;
        EngineOptions options = fixture.options();
        options.settings.kvBlocks = 8;
        auto engine = EngineFixture::make(std::move(options));
        const auto tokens = fixture.randomTokens(112, 1);
        runOne(*engine, {.tokens = tokens, .sampling = {.maxTokens = 1}});
        std::vector<NodeId> nodes;
        for (const api::RibbonCell &cell : engine->cache().ribbon(tokens, {}))
            nodes.push_back(cell.node);
        engine->cache().pin(nodes, true);
        const Finished refused = runOne(*engine, {.tokens = fixture.randomTokens(100, 2), .sampling = {.maxTokens = 1}});
        QVERIFY(refused.reason == api::FinishReason::error);
        QVERIFY(!refused.problem.empty());
    }

    void aPoolSmallerThanTheContextIsTheContext()
    {
        EngineFixture fixture;
        EngineOptions options = fixture.options();
        options.settings.kvBlocks = 8;
        const auto small = EngineFixture::make(std::move(options));
        QCOMPARE(small->contextLength(), 128u);
        QCOMPARE(small->settings().contextLength, 2048);
        QCOMPARE(EngineFixture::make(fixture.options())->contextLength(), 2048u);
    }

    void refusesWhatCannotRun()
    {
        EngineFixture fixture;
        auto engine = EngineFixture::make(fixture.options());
        QVERIFY(!engine->submit({.tokens = {}}));
        QVERIFY(!engine->submit({.tokens = {-1}}));
        QVERIFY(!engine->submit({.tokens = {1 << 30}}));
        QVERIFY(!engine->submit({.tokens = std::vector<TokenId>(2049, 5)}));
        QVERIFY(!engine->submit({.tokens = {5}, .sampling = {.temperature = -1}}));
        for (int blockSize : {0, 8, 17, 1024})
            QVERIFY(!Engine::create([&] {
                EngineOptions o = fixture.options();
                o.settings.blockSize = blockSize;
                return o;
            }()));
        EngineOptions huge = fixture.options();
        huge.settings.kvBlocks = 1ull << 62;
        QVERIFY(!Engine::create(std::move(huge)));
    }

    void aPromptAsLongAsTheContextStillAnswers()
    {
        EngineFixture fixture;
        auto engine = EngineFixture::make(fixture.options());
        const Finished full = runOne(*engine, {.tokens = fixture.randomTokens(2048, 1),
                                               .sampling = {.maxTokens = 100, .ignoreEos = true}});
        QCOMPARE(full.tokens.size(), std::size_t(1));
        QVERIFY(full.reason == api::FinishReason::length);
    }

    void stopStringsAreHeldBackAndCut()
    {
        EngineFixture fixture;
        const auto encode = [&](std::string_view s) {
            return fixture.loaded.tokenizer->encode(s, {.addBos = false})->ids;
        };
        ReplyText reply(fixture.loaded.tokenizer, {"###", "END"});
        std::string shown;
        bool stopped = false;
        std::size_t released = 0;
        for (TokenId id : encode("abc ## d#"))
            stopped = stopped || reply.push(id);
        shown += reply.takeText();
        released += reply.takeTokens();
        QVERIFY(!stopped);
        QCOMPARE(shown, std::string("abc ## d")); // the last # may still become a stop string
        for (TokenId id : encode("##xyz"))
            stopped = stopped || reply.push(id);
        reply.finish();
        shown += reply.takeText();
        QVERIFY(stopped);
        QCOMPARE(shown, std::string("abc ## d"));
        ReplyText other(fixture.loaded.tokenizer, {"###"});
        for (TokenId id : encode("a#"))
            QVERIFY(!other.push(id));
        other.finish();
        QCOMPARE(other.takeText(), std::string("a#"));
        QCOMPARE(other.takeTokens(), encode("a#").size());
        QVERIFY(released > 0);
    }
};

KVILT_TEST_CLASS(EngineTest)
#include "tst_engine.moc"
