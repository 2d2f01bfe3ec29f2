// SPDX-License-Identifier: Apache-2.0
// Two steps under way: the second one's token has been read by nobody when it is submitted. What comes out is what comes out
// one step at a time, whenever a reply ends, is cancelled, forked, interrupted or pushed out in between.
#include "engine/backend/cuda/backend.h"
#include "engine/text/utf8.h"
#include "tests/engine/backend/cuda/fake_device.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <map>

using namespace kvilt;
using test::FakeDevice;
using test::FakeDeviceOptions;

class CudaFlightTest : public QObject {
    Q_OBJECT

    test::EngineFixture m_fixture;

    EngineOptions onFake(std::uint32_t stepsInFlight, std::shared_ptr<FakeDevice::State> *state = nullptr) const
    {
        EngineOptions options = m_fixture.options();
        options.settings.backend = "cuda";
        options.stepsInFlight = stepsInFlight;
        options.openCuda = [state]() -> Result<std::unique_ptr<backend::Backend>> {
            auto device = std::make_unique<FakeDevice>(FakeDeviceOptions{});
            if (state)
                *state = device->state();
            return backend::cuda::backendOn(std::move(device));
        };
        return options;
    }
    Request request(std::uint32_t tokens, std::uint64_t seed, int reply = 20) const
    {
        Request r{.tokens = m_fixture.randomTokens(tokens, seed)};
        r.sampling = {.temperature = 0.9, .topK = 40, .topP = 0.95, .repeatPenalty = 1.15, .seed = seed, .maxTokens = reply,
                      .ignoreEos = true};
        return r;
    }
    // Steps until `tokens` of the sequence are there and another step is under way; what came out so far.
    static std::map<std::uint64_t, std::vector<TokenId>> stepUntil(Engine &engine, SequenceId sequence, std::size_t tokens)
    {
        std::map<std::uint64_t, std::vector<TokenId>> out;
        for (bool underWay = false; out[sequence.value].size() < tokens || !underWay;) {
            const auto report = engine.step();
            if (!report)
                qFatal("%s", report.error().message.c_str());
            underWay = report->underWay > 0;
            for (const SequenceOutput &o : engine.takeOutputs())
                out[o.sequence.value].insert(out[o.sequence.value].end(), o.tokens.begin(), o.tokens.end());
        }
        return out;
    }
    // KV that an ended reply left behind is as good as computed anew: the logits over it have the same bits.
    void leavesExactBlocks(Engine &engine, const Request &before, const std::vector<TokenId> &reply) const
    {
        Request next{.tokens = before.tokens};
        next.tokens.insert(next.tokens.end(), reply.begin(), reply.end());
        const auto more = m_fixture.randomTokens(9, 77);
        next.tokens.insert(next.tokens.end(), more.begin(), more.end());
        const auto from = std::int32_t(next.tokens.size()) - 9;
        Request again = next;
        again.useCache = false;
        QVERIFY(engine.peek(next.tokens, {}).memoryTokens >= before.tokens.size() / 16 * 16);
        QVERIFY(test::sameBits(test::logitsOf(engine, next, from), test::logitsOf(engine, again, from)));
    }

private slots:
    void aBatchSaysTheSame_data()
    {
        QTest::addColumn<double>("temperature");
        QTest::addColumn<int>("chunk");
        QTest::addRow("greedy") << 0.0 << 0;
        QTest::addRow("sampled") << 0.9 << 0;
        QTest::addRow("sampled, prompts in pieces") << 1.3 << 7;
    }
    void aBatchSaysTheSame()
    {
        QFETCH(double, temperature);
        QFETCH(int, chunk);
        std::vector<std::vector<TokenId>> replies[2];
        std::uint32_t most[2] = {};
        for (const std::uint32_t depth : {1u, 2u}) {
            EngineOptions options = onFake(depth);
            options.chunk = std::uint32_t(chunk);
            auto engine = test::EngineFixture::make(options);
            std::vector<SequenceId> ids;
            for (const std::uint32_t length : {5u, 40u, 64u, 17u}) { // of different ends: the batch shrinks in flight
                Request r = request(length, length, int(length) / 2 + 3);
                r.sampling.temperature = temperature;
                if (length == 17)
                    r.logprobs = 1; // the host chooses for this one
                ids.push_back(*engine->submit(r));
            }
            std::map<std::uint64_t, std::vector<TokenId>> tokens;
            while (!engine->idle()) {
                const auto report = *engine->step();
                most[depth - 1] = std::max(most[depth - 1], report.underWay);
                for (const SequenceOutput &o : engine->takeOutputs())
                    tokens[o.sequence.value].insert(tokens[o.sequence.value].end(), o.tokens.begin(), o.tokens.end());
            }
            for (const SequenceId id : ids)
                replies[depth - 1].push_back(tokens[id.value]);
        }
        QVERIFY(replies[0] == replies[1]);
        QCOMPARE(replies[1][2].size(), std::size_t(35));
        QCOMPARE(most[0], 0u);
        QCOMPARE(most[1], 1u);
    }

    // Found when the next step runs already: its token is never seen, its row of KV never used.
    void aStopStringIsFoundInFlight()
    {
        auto one = test::EngineFixture::make(onFake(1));
        const auto whole = test::runOne(*one, request(50, 3, 30));
        QVERIFY(whole.text.size() > 12);
        for (std::size_t at = 3; at + 4 < whole.text.size(); at += 5) {
            Request r = request(50, 3, 30);
            r.sampling.stop = {whole.text.substr(at, 2)};
            if (!text::utf8::isValid(r.sampling.stop[0]))
                continue;
            auto engine = test::EngineFixture::make(onFake(2));
            auto before = test::EngineFixture::make(onFake(1));
            const auto got = test::runOne(*engine, r), wanted = test::runOne(*before, r);
            QVERIFY(got.text == wanted.text && got.tokens == wanted.tokens);
            QVERIFY(got.reason == api::FinishReason::stop);
            QCOMPARE(got.stats.completionTokens, wanted.stats.completionTokens);
            leavesExactBlocks(*engine, r, got.tokens);
            QCOMPARE(engine->counts().inUse + engine->counts().partlyFilled, 0u);
        }
    }

    void anEndTokenIsFoundInFlight()
    {
        int ended = 0;
        for (std::uint64_t seed = 1; seed < 60 && ended < 3; ++seed) {
            Request r = request(31, 4, 60);
            r.sampling = {.temperature = 2.0, .topK = 256, .seed = seed, .maxTokens = 60};
            const auto wanted = test::runOne(*test::EngineFixture::make(onFake(1)), r);
            if (wanted.reason != api::FinishReason::stop || wanted.tokens.size() < 3)
                continue;
            ++ended;
            auto engine = test::EngineFixture::make(onFake(2));
            const auto got = test::runOne(*engine, r);
            QVERIFY(got.tokens == wanted.tokens && got.reason == api::FinishReason::stop);
            leavesExactBlocks(*engine, r, got.tokens);
        }
        QCOMPARE(ended, 3);
    }

    void aCancelLeavesTheOthersAlone()
    {
        const Request gone = request(60, 5, 40), stays = request(30, 6, 25);
        const auto wanted = test::runOne(*test::EngineFixture::make(onFake(1)), stays).tokens;
        const auto whole = test::runOne(*test::EngineFixture::make(onFake(1)), gone).tokens;
        for (const std::size_t after : {1u, 3u, 4u, 5u, 20u}) { // 4: its row goes into the next block
            auto engine = test::EngineFixture::make(onFake(2));
            const SequenceId a = *engine->submit(gone), b = *engine->submit(stays);
            auto out = stepUntil(*engine, a, after);
            engine->cancel(a);
            for (const auto &[id, finished] : test::runAll(*engine))
                out[id].insert(out[id].end(), finished.tokens.begin(), finished.tokens.end());
            QVERIFY(out[b.value] == wanted);
            QVERIFY(std::equal(out[a.value].begin(), out[a.value].end(), whole.begin()));
            // Everything again, on what the cancelled reply left.
            QVERIFY(test::runOne(*engine, gone).tokens == whole);
        }
    }

    void aCancelledLastReplyLeavesNothingBehind()
    {
        std::shared_ptr<FakeDevice::State> state;
        auto engine = test::EngineFixture::make(onFake(2, &state));
        const SequenceId a = *engine->submit(request(60, 5, 40));
        stepUntil(*engine, a, 4);
        engine->cancelAll();
        QVERIFY(engine->idle());
        QVERIFY(engine->clearCache());
        const Request next = request(70, 8);
        QVERIFY(test::runOne(*engine, next).tokens == test::runOne(*test::EngineFixture::make(onFake(1)), next).tokens);
    }

    void aForkSharesWhatHasLanded()
    {
        const Request first = request(45, 7, 30);
        api::SamplingSettings other = first.sampling;
        other.seed = 1234;
        Request second = first;
        second.sampling = other;
        const auto wanted = test::runOne(*test::EngineFixture::make(onFake(1)), first).tokens;
        const auto wantedOther = test::runOne(*test::EngineFixture::make(onFake(1)), second).tokens;
        for (const std::size_t after : {1u, 2u, 3u, 4u, 10u}) {
            auto engine = test::EngineFixture::make(onFake(2));
            const SequenceId a = *engine->submit(first);
            auto out = stepUntil(*engine, a, after);
            const auto b = engine->fork(a, other);
            QVERIFY2(b.has_value(), b ? "" : b.error().message.c_str());
            for (const auto &[id, finished] : test::runAll(*engine))
                out[id].insert(out[id].end(), finished.tokens.begin(), finished.tokens.end());
            QVERIFY(out[a.value] == wanted);
            QVERIFY(out[b->value] == wantedOther);
        }
    }

    // Interrupts come whenever they like: between steps, while one is queued, while it runs.
    void interruptsLoseNothing()
    {
        const auto wanted = test::runOne(*test::EngineFixture::make(onFake(1)), request(80, 9, 30)).tokens;
        for (const std::uint64_t every : {3u, 11u, 29u}) {
            std::shared_ptr<FakeDevice::State> state;
            auto engine = test::EngineFixture::make(onFake(2, &state));
            int left = 60; // a prompt that is always interrupted would never be through
            const auto interruptAt = [running = engine.get(), &left](std::uint64_t count, std::uint64_t each) {
                if (count % each == 0 && left-- > 0)
                    running->interrupt();
            };
            state->beforeOperation = [interruptAt, state = state.get(), every] { interruptAt(state->operations, every); };
            state->beforeCall = [interruptAt, state = state.get(), every] { interruptAt(state->calls, every * 5); };
            const SequenceId id = *engine->submit(request(80, 9, 30));
            std::vector<TokenId> tokens;
            int interrupted = 0;
            for (int step = 0; step < 5000 && !engine->idle(); ++step) {
                const auto report = engine->step();
                QVERIFY2(report.has_value(), report ? "" : report.error().message.c_str());
                interrupted += report->interrupted ? 1 : 0;
                for (const SequenceOutput &o : engine->takeOutputs())
                    tokens.insert(tokens.end(), o.tokens.begin(), o.tokens.end());
            }
            QVERIFY(engine->idle() && id.value > 0);
            QVERIFY(interrupted > 3);
            QVERIFY(tokens == wanted);
            state->beforeOperation = {};
            state->beforeCall = {};
        }
    }

    // A pool too small for all: blocks are evicted, sequences preempted, payloads promoted while steps are under way.
    void evictionWhileInFlightChangesNoToken()
    {
        std::map<std::uint64_t, std::vector<TokenId>> wanted;
        for (std::uint64_t seed = 1; seed <= 5; ++seed)
            wanted[seed] = test::runOne(*test::EngineFixture::make(onFake(1)), request(30 + 9 * seed, seed, 40)).tokens;
        for (const std::uint64_t blocks : {9u, 20u})
            for (const std::uint64_t host : {std::uint64_t(0), std::uint64_t(1) << 20}) {
                EngineOptions options = onFake(2);
                options.settings.kvBlocks = blocks;
                options.hostTierBytes = host;
                auto engine = test::EngineFixture::make(options);
                bool ahead = false;
                for (int round = 0; round < 2; ++round) {
                    std::map<std::uint64_t, std::uint64_t> seeds;
                    std::map<std::uint64_t, std::vector<TokenId>> out;
                    for (const auto &[seed, reply] : wanted)
                        seeds[engine->submit(request(30 + 9 * seed, seed, 40))->value] = seed;
                    while (!engine->idle()) {
                        ahead = engine->step()->underWay > 0 || ahead;
                        for (const SequenceOutput &o : engine->takeOutputs())
                            out[o.sequence.value].insert(out[o.sequence.value].end(), o.tokens.begin(), o.tokens.end());
                    }
                    for (const auto &[id, seed] : seeds)
                        QVERIFY(out[id] == wanted[seed]);
                }
                QVERIFY(ahead);
                QVERIFY(engine->counts().evictions > 0);
            }
    }

    // With a step under way at whatever moment the device goes: the CPU has every token that was read.
    void aLossInFlightEndsNoReply()
    {
        int lost = 0;
        for (std::uint64_t later = 90; later < 420; later += 23) {
            std::shared_ptr<FakeDevice::State> state;
            EngineOptions options = onFake(2, &state);
            options.cpuInstead = true;
            auto engine = test::EngineFixture::make(options);
            state->loseAtCall = state->calls + later;
            const auto done = test::runOne(*engine, request(20, 3, 30));
            QCOMPARE(done.tokens.size(), std::size_t(30));
            QVERIFY(done.reason == api::FinishReason::length && done.problem.empty());
            lost += engine->settings().backend == "cpu" ? 1 : 0;
        }
        QVERIFY(lost > 4);
    }
};

KVILT_TEST_CLASS(CudaFlightTest)
#include "tst_cuda_flight.moc"
