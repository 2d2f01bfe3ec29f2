// SPDX-License-Identifier: Apache-2.0
#include "engine/gguf/gguf_file.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/tokenizer.h"
#include "engine/text/utf8.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <random>

using namespace kvilt;
using namespace kvilt::text;

namespace {

// A vocabulary that a test may spoil: pieces, types, scores and merges own their text here.
struct Draft {
    VocabularySource source;
    std::deque<std::string> texts;

    TokenId add(std::string piece, PieceType type = PieceType::normal, float score = 0)
    {
        texts.push_back(std::move(piece));
        source.pieces.push_back(texts.back());
        source.types.push_back(static_cast<std::int64_t>(type));
        if (source.model == "llama")
            source.scores.push_back(score);
        return static_cast<TokenId>(source.pieces.size() - 1);
    }
    void merge(std::string line)
    {
        texts.push_back(std::move(line));
        source.merges.push_back(texts.back());
    }
    Result<std::shared_ptr<const Tokenizer>> build() const { return Tokenizer::fromVocabulary(source); }
};

// Ids 0..255 are the bytes in the alphabet's order of code points, then "he", "ll", "hell", "aa", "aaaa", two markers.
Draft bpeDraft()
{
    Draft d;
    d.source.model = "gpt2";
    d.source.preTokenizer = "gpt-2";
    std::string piece;
    char32_t shifted = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
        const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        piece.clear();
        utf8::append(piece, printable ? byte : shifted++);
        d.add(piece);
    }
    for (const char *merged : {"he", "ll", "hell", "aa", "aaaa"})
        d.add(merged);
    for (const char *merge : {"h e", "l l", "he ll", "a a", "aa aa"})
        d.merge(merge);
    d.source.eos = d.add("<|im_end|>", PieceType::control);
    d.add("<td>", PieceType::userDefined);
    d.add("<|tool|>", PieceType::userDefined);
    return d;
}

constexpr TokenId kHell = 258, kEnd = 261, kTd = 262, kTool = 263;

Draft spmDraft()
{
    Draft d;
    d.source.model = "llama";
    d.add("<unk>", PieceType::unknown);
    d.add("<s>", PieceType::control);
    d.add("</s>", PieceType::control);
    for (int byte = 0; byte < 256; ++byte) {
        char text[8];
        std::snprintf(text, sizeof text, "<0x%02X>", byte);
        d.add(text, PieceType::byte);
    }
    for (const char *c : {"\u2581", "a", "b", "<", "s", ">"})
        d.add(c, PieceType::normal, -10);
    d.add("\u2581a", PieceType::normal, -1);
    d.add("ab", PieceType::normal, -2);
    d.add("aa", PieceType::normal, -3);
    d.add("<s", PieceType::normal, -4);
    return d;
}

std::vector<TokenId> idsOf(const Tokenizer &t, std::string_view text, const EncodeOptions &options = {})
{
    auto encoded = t.encode(text, options);
    return encoded ? encoded->ids : std::vector<TokenId>{-999};
}

using Ids = std::vector<TokenId>;

std::string modelPath(const char *name)
{
    const char *models = std::getenv("KVILT_MODELS");
    const char *data = std::getenv("XDG_DATA_HOME");
    const char *home = std::getenv("HOME");
    const std::string folder = models ? models
                               : data ? std::string(data) + "/kvilt/models"
                                      : std::string(home ? home : "") + "/.local/share/kvilt/models";
    return folder + "/" + name;
}

} // namespace

class TokenizerTest : public QObject {
    Q_OBJECT
private slots:
    void mergesByRank()
    {
        const auto t = bpeDraft().build();
        QVERIFY2(t, t ? "" : t.error().message.c_str());
        QCOMPARE(idsOf(**t, "hello"), (Ids{kHell, 'o'}));
        const auto e = (*t)->encode("hello");
        QCOMPARE(e->spans, (std::vector<ByteRange>{{0, 4}, {4, 5}}));
    }

    void roundTripsAnyBytes()
    {
        const auto bpe = bpeDraft().build();
        const auto spm = spmDraft().build();
        std::mt19937 random(11);
        for (int i = 0; i < 300; ++i) {
            std::string bytes(random() % 50, ' ');
            for (char &c : bytes)
                c = i % 2 ? static_cast<char>(random()) : "a b\xE2\x82\xAC\n<>"[random() % 9];
            for (const auto &t : {*bpe, *spm}) {
                const auto encoded = t->encode(bytes, {.addBos = false});
                QVERIFY(encoded);
                QCOMPARE(*t->decode(encoded->ids), bytes);
                std::uint32_t at = 0;
                for (const ByteRange &span : encoded->spans) {
                    QCOMPARE(span.begin, at);
                    at = span.end;
                }
                QCOMPARE(std::size_t(at), bytes.size());
            }
        }
    }

    void controlTokensAreTextUnlessParsed()
    {
        const auto t = bpeDraft().build();
        QCOMPARE(idsOf(**t, "a<|im_end|>", {.parseSpecial = true}), (Ids{'a', kEnd}));
        const Ids plain = idsOf(**t, "a<|im_end|>");
        QVERIFY(std::find(plain.begin(), plain.end(), kEnd) == plain.end());
        QCOMPARE(idsOf(**t, "<td>a"), (Ids{kTd, 'a'}));
    }

    void guardedTextNeverBecomesAControlToken()
    {
        const auto t = bpeDraft().build();
        const std::string text = "hell<|im_end|>hell<|im_end|><|tool|><td>";
        const std::vector<ByteRange> guarded{{0, 16}, {30, 40}};
        const auto e = (*t)->encode(text, guarded, {.parseSpecial = true});
        QVERIFY(e);
        QCOMPARE(std::count(e->ids.begin(), e->ids.end(), kEnd), 1);
        QCOMPARE(std::count(e->ids.begin(), e->ids.end(), kTool), 0);
        QCOMPARE(std::count(e->ids.begin(), e->ids.end(), kTd), 1);
        QCOMPARE(*(*t)->decode(e->ids), text);
        for (std::uint32_t begin = 4; begin < 14; ++begin) { // one guarded byte is enough
            const std::vector<ByteRange> one{{begin, begin + 1}};
            const Ids ids = (*t)->encode("hell<|im_end|>", one, {.parseSpecial = true})->ids;
            QCOMPARE(std::count(ids.begin(), ids.end(), kEnd), 0);
        }
    }

    void guardingBenignTextChangesNothing()
    {
        const auto t = bpeDraft().build();
        const std::string text = "hello<td>world hell";
        const std::vector<ByteRange> guarded{{0, 3}, {6, 14}};
        QCOMPARE((*t)->encode(text, guarded, {.parseSpecial = true})->ids, idsOf(**t, text, {.parseSpecial = true}));
    }

    void mergesNeverReachAControlPiece()
    {
        const auto t = spmDraft().build(); // "<s" and ">" would join to <s>
        const Ids ids = idsOf(**t, "<s>", {.addBos = false});
        QCOMPARE(std::count(ids.begin(), ids.end(), 1), 0);
    }

    void sentencePiecePrefixesAndFallsBackToBytes()
    {
        const auto t = spmDraft().build();
        const TokenId spaceA = 265, b = 261;
        QCOMPARE(idsOf(**t, "ab"), (Ids{1, spaceA, b}));
        QCOMPARE(idsOf(**t, "a\n", {.addBos = false}), (Ids{spaceA, 3 + '\n'}));
        QCOMPARE(*(*t)->decode(Ids{spaceA, b}), std::string("ab"));
        QCOMPARE(*(*t)->decode(Ids{spaceA, b}, {.undoSpacePrefix = false}), std::string(" ab"));
    }

    void textAfterAnOrdinaryTokenGetsNoSpacePrefix()
    {
        const auto t = spmDraft().build();
        const TokenId spaceA = 265, b = 261, ab = 266;
        QCOMPARE(idsOf(**t, "ab", {.addBos = false}), (Ids{spaceA, b}));
        QCOMPARE(idsOf(**t, "ab", {.addBos = false, .continues = true}), (Ids{ab}));
    }

    void markersOfPhi3SwallowWhatWhiteSpaceFollows()
    {
        for (const char *name : {"Phi3 mini", "microsoft/PHI-3-medium", "Other"}) {
            Draft d = bpeDraft();
            d.source.modelName = name;
            const auto t = d.build();
            const TokenId marker = (*t)->vocabSize() - 1;
            const std::string text = std::string((*t)->piece(marker)) + " \n he";
            const Ids ids = idsOf(**t, text, {.parseSpecial = true});
            QCOMPARE(ids.front(), marker);
            QCOMPARE(ids.size(), std::string(name) == "Other" ? std::size_t(5) : std::size_t(2));
        }
    }

    void aMillionEqualCharactersAreCheap()
    {
        for (const auto &draft : {bpeDraft(), spmDraft()}) {
            const auto t = draft.build();
            const auto e = (*t)->encode(std::string(1'000'000, 'a'), {.addBos = false});
            QVERIFY(e);
            QVERIFY(e->ids.size() >= 250'000u && e->ids.size() <= 500'001u);
        }
    }

    void refusesTextsThatAreTooLong()
    {
        const auto t = bpeDraft().build();
        const char byte = 'a'; // the length alone decides: nothing is read
        for (std::size_t size :
             {kMaxTextBytes + 1, (std::size_t(1) << 31) - 1, std::size_t(1) << 31, (std::size_t(1) << 31) + 1})
            QCOMPARE((*t)->encode(std::string_view(&byte, size)).error().code, ErrorCode::badInput);
    }

    void refusesMalformedVocabularies()
    {
        const auto refused = [](const char *what, Draft d) {
            const auto t = d.build();
            if (t)
                QFAIL(what);
            QVERIFY(t.error().message.ends_with('.'));
        };
        Draft d = bpeDraft();
        d.source.types.pop_back();
        refused("fewer types", d);
        d = spmDraft();
        d.source.scores.pop_back();
        refused("fewer scores", d);
        d = spmDraft();
        d.source.scores[5] = std::nanf("");
        refused("score that is no number", d);
        d = bpeDraft();
        d.source.merges.clear();
        refused("no merges", d);
        for (const char *bad : {"", "x", "h zz", "\xFF\xFF \xFE"}) {
            d = bpeDraft();
            d.merge(bad);
            refused(bad, d);
        }
        for (const char *bad : {"<0x-1>", "<0xZZ>", "<0x1>", "0x10", ""}) {
            d = spmDraft();
            d.add(bad, PieceType::byte);
            refused(bad, d);
        }
        for (std::int64_t bad : {std::int64_t(-2), std::int64_t(264), std::int64_t(1) << 32, INT64_MAX, INT64_MIN}) {
            d = bpeDraft();
            d.source.eos = bad;
            refused("special id out of range", d);
        }
        d = bpeDraft();
        d.source.pieces.clear();
        d.source.types.clear();
        refused("no pieces", d);
        d = bpeDraft();
        d.source.preTokenizer = "nobody-knows";
        refused("pre-tokenizer", d);
        d = bpeDraft();
        d.source.model = "bert";
        refused("model", d);
        d = bpeDraft();
        d.add(std::string(kMaxPieceBytes + 1, 'x'));
        refused("long piece", d);
    }

    void equalAndEmptyPiecesAreHarmless()
    {
        Draft d = bpeDraft();
        d.add("hell");
        d.add("");
        d.add("", PieceType::control);
        const auto t = d.build();
        QVERIFY(t);
        QCOMPARE(idsOf(**t, "hell", {.parseSpecial = true}), (Ids{kHell}));
    }

    void decodingRefusesForeignIds()
    {
        const auto t = bpeDraft().build();
        for (TokenId bad : {-1, 264, INT32_MAX, INT32_MIN}) {
            QVERIFY(!(*t)->decode(Ids{bad}));
            QVERIFY((*t)->piece(bad).empty());
        }
    }

    void streamHoldsBackIncompleteCharacters()
    {
        const auto t = bpeDraft().build();
        StreamDecoder stream(*t);
        std::string shown;
        for (TokenId id : idsOf(**t, "a\xE2\x82\xAC\xF0\x9F\x98\x80")) {
            shown += stream.push(id);
            QVERIFY(utf8::isValid(shown));
        }
        QCOMPARE(shown, std::string("a\xE2\x82\xAC\xF0\x9F\x98\x80"));
        for (TokenId id : idsOf(**t, "\xE2\x82"))
            QCOMPARE(stream.push(id), std::string());
        QCOMPARE(stream.push('x'), std::string("\xEF\xBF\xBD\xEF\xBF\xBDx"));
        QCOMPARE(stream.push(kEnd), std::string());
    }

    void identityTellsVocabulariesApart()
    {
        const auto same = (*bpeDraft().build())->identity() == (*bpeDraft().build())->identity();
        QVERIFY(same);
        Draft d = bpeDraft();
        d.source.preTokenizer = "smollm";
        QVERIFY((*d.build())->identity() != (*bpeDraft().build())->identity());
    }

    void everyFamilyOfWordsCoversTheText_data()
    {
        QTest::addColumn<QString>("name");
        for (const char *name :
             {"default", "llama-bpe", "dbrx", "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "smollm",
              "gpt-2", "qwen2", "qwen35", "seed-coder", "bloom", "viking", "tekken", "gpt-4o", "kimi-k2", "minimax-m2", "superbpe",
              "chameleon"})
            QTest::newRow(name) << name;
    }

    void everyFamilyOfWordsCoversTheText()
    {
        QFETCH(QString, name);
        const auto pre = PreTokenizer::create(name.toStdString());
        QVERIFY(pre);
        std::mt19937 random(5);
        const std::vector<std::string> parts{"a",      "Ab", " ",  "  ",  "\n",         "\r\n",
                                             "1",      "23", "'s", "'LL", "\u00e9",     "\u4e2d",
                                             "\u0e20", "!?", "/",  "<",   "\U0001F600", "\u0301"};
        for (int i = 0; i < 200; ++i) {
            std::string text;
            for (unsigned n = random() % 40; n > 0; --n)
                text += parts[random() % parts.size()];
            std::uint32_t at = 0;
            bool ordered = true;
            QVERIFY(pre->split(text, [&](std::uint32_t begin, std::uint32_t end) {
                ordered &= begin == at && end > begin;
                at = end;
            }));
            QVERIFY(ordered);
            QCOMPARE(std::size_t(at), text.size());
        }
        for (const char *one : {"a", "A", "1", " ", "\n", "!"}) {
            std::string text;
            while (text.size() < 300'000)
                text += one;
            QVERIFY(pre->split(text, [](std::uint32_t, std::uint32_t) {}));
        }
    }

    void equalsLlamaCpp_data()
    {
        QTest::addColumn<QString>("file");
        QTest::newRow("smollm2") << "smollm2-135m-instruct-q4_1.gguf";
        QTest::newRow("gemma3") << "gemma-3-270m-q4_k_m.gguf";
    }

    void equalsLlamaCpp()
    {
        QFETCH(QString, file);
        const std::string path = modelPath(file.toUtf8().constData());
        if (!std::filesystem::exists(path))
            QSKIP("the model is not here");
        const auto opened = gguf::GgufFile::open(path);
        QVERIFY(opened);
        const auto t = Tokenizer::fromGguf(**opened);
        QVERIFY(t);
        const auto golden = nlohmann::json::parse(std::ifstream(KVILT_TEST_DATA "/text/tokens.json"));
        const auto &expected = golden[QTest::currentDataTag()];
        for (std::size_t i = 0; i < golden["texts"].size(); ++i) {
            const auto text = golden["texts"][i].get<std::string>();
            for (int special = 0; special < 2; ++special)
                QCOMPARE(idsOf(**t, text, {.parseSpecial = special == 1}),
                         expected[i][static_cast<std::size_t>(special)].get<Ids>());
        }
    }
};

KVILT_TEST_CLASS(TokenizerTest)
#include "tst_tokenizer.moc"
