// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/chat/receipt_line.h"

#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;

class ReceiptLineTest : public QObject {
    Q_OBJECT
private slots:
    void saysWhatCameFromWhere()
    {
        api::TurnReceipt r;
        r.promptTokens = 71;
        r.fromMemory = 32;
        r.computed = 39;
        r.ttftSeconds = 0.06;
        r.decodeTokensPerSecond = 231;
        QCOMPARE(plainReceipt(receiptParts(r, true)),
                 "32 of 71 tokens from cache · 39 computed · first token 0.06 s · 231 tok/s");
        QCOMPARE(plainReceipt(receiptParts(r, false)), "32 of 71 tokens from cache · 39 computed · 0.06 s · 231 tok/s");
    }

    void restoredTokensCountAsCachedAndAreNamed()
    {
        api::TurnReceipt r;
        r.promptTokens = 1043;
        r.fromMemory = 512;
        r.fromDisk = 512;
        r.computed = 19;
        r.savedSeconds = 0.49;
        const auto parts = receiptParts(r, false);
        QCOMPARE(parts[0].text, "1,024 of 1,043 tokens from cache");
        QCOMPARE(parts[1].text, "512 restored");
        QCOMPARE(parts.back().text, "0.49 s saved");
        QVERIFY(parts.back().tone == Tone::saved);
    }

    void aLossSaysToWhat()
    {
        api::TurnReceipt r;
        r.promptTokens = 428;
        r.fromMemory = 16;
        r.computed = 412;
        r.savedSeconds = 0.02;
        r.miss.lostSeconds = 0.31;
        r.miss.reason = api::EventReason::edited;
        const auto parts = receiptParts(r, false);
        QVERIFY(parts.front().tone == Tone::lost);
        QCOMPARE(parts.back().text, "0.31 s lost to an edit");
    }

    void aChangedSystemPromptIsAnEdit()
    {
        api::TurnReceipt r;
        r.miss.lostSeconds = 1.03;
        r.miss.repeatedTokens = 185;
        r.miss.reason = api::EventReason::systemPromptEdited;
        QCOMPARE(receiptParts(r, false).back().text, "1.03 s lost to an edit");
        r.miss.reason = api::EventReason::neverStored;
        QCOMPARE(receiptParts(r, false).back().text, "1.03 s lost to a changed beginning");
    }

    void aReplyThatWaitsForRoomDoesNotSayItWrites()
    {
        api::update::TurnProgress p;
        p.promptTokens = 100;
        p.tokensPerSecond = 33.5;
        p.phase = api::update::TurnPhase::decode;
        QCOMPARE(writingParts(p).back().text, "33.5 tok/s, writing");
        p.phase = api::update::TurnPhase::queued;
        QCOMPARE(writingParts(p).back().text, "waiting for room");
        p.phase = api::update::TurnPhase::restoring;
        QCOMPARE(writingParts(p).back().text, "restoring");
    }

    void prefillAddsUp()
    {
        api::update::TurnProgress p;
        p.phase = api::update::TurnPhase::prefill;
        p.promptTokens = 4096;
        p.cachedTokens = 2544;
        p.computedTokens = 528;
        p.tokensPerSecond = 352;
        p.secondsLeft = 2.9;
        const PrefillWords words = prefillWords(p);
        QCOMPARE(words.title, "Reading the prompt");
        QCOMPARE(words.left, "3 s left");
        QCOMPARE(words.total, "3,072 of 4,096 tokens");
        QCOMPARE(words.cached, "2,544 from cache (62 %)");
        QCOMPARE(words.computed, "528 computed, 1,024 to go at 352 tok/s");
        QVERIFY(std::abs(words.cachedShare + words.computedShare - 0.75) < 1e-9);
    }

    void progressBeyondThePromptStaysInTheBar()
    {
        api::update::TurnProgress p;
        p.promptTokens = 100;
        p.cachedTokens = 90;
        p.computedTokens = 90;
        const PrefillWords words = prefillWords(p);
        QVERIFY(words.cachedShare + words.computedShare <= 1.0);
        QCOMPARE(words.total, "100 of 100 tokens");
    }
};

KVILT_TEST_CLASS(ReceiptLineTest)
#include "tst_receipt_line.moc"
