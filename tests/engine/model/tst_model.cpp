// SPDX-License-Identifier: Apache-2.0
#include "engine/model/fingerprint.h"
#include "engine/model/model.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTemporaryDir>
#include <QTest>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

using namespace kvilt;
using gguf::GgufFile;
using gguf::TensorType;
using gguf::ValueType;
using model::Model;
using model::ModelDescription;
using test::ByteSink;

namespace {

constexpr const char *kArchitectures[] = {"llama", "gemma3"};

test::GgufWriter writerFor(const std::string &architecture)
{
    test::TinyModelOptions options;
    options.architecture = architecture;
    options.layers = architecture == "gemma3" ? 6 : 1;
    return test::tinyModelWriter(options);
}

// Empty when the model loads; else the refusal, which must be one sentence that names the file.
std::string refusal(const test::GgufWriter &writer)
{
    const auto bytes = writer.build();
    const auto file = GgufFile::parse(bytes, "m.gguf");
    const auto model = file ? Model::load(*file) : tl::unexpected(file.error());
    if (model)
        return {};
    const std::string &message = model.error().message;
    const bool sentence = message.starts_with("m.gguf") && message.back() == '.' && message.find('\n') == std::string::npos;
    return sentence ? message : "NO SENTENCE: " + message;
}

bool refused(const test::GgufWriter &writer)
{
    return refusal(writer).starts_with("m.gguf");
}

// A value of each of the 13 types, as scalar bytes; for arrays, `element` repeated `count` times.
std::vector<std::byte> valueOf(ValueType type)
{
    switch (type) {
    case ValueType::string: return ByteSink().putString("x").take();
    case ValueType::array: return ByteSink().put(ValueType::u32).put(std::uint64_t(1)).put(3u).take();
    case ValueType::f32: return ByteSink().put(1.5f).take();
    case ValueType::f64: return ByteSink().put(1.5).take();
    case ValueType::u64:
    case ValueType::i64: return ByteSink().put(std::uint64_t(3)).take();
    case ValueType::u32:
    case ValueType::i32: return ByteSink().put(3u).take();
    case ValueType::u16:
    case ValueType::i16: return ByteSink().put(std::uint16_t(3)).take();
    default: return ByteSink().put(std::uint8_t(1)).take();
    }
}

const std::vector<std::string> kIntegerKeys = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count",
    "attention.sliding_window", "vocab_size", "expert_count"};
const std::vector<std::string> kFloatKeys = {"attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.factor",
                                             "attention.scale", "rope.freq_base_swa", "final_logit_softcapping"};
const std::vector<std::string> kStringKeys = {"rope.scaling.type"};

std::vector<std::string> allKeys()
{
    std::vector<std::string> keys = kIntegerKeys;
    keys.insert(keys.end(), kFloatKeys.begin(), kFloatKeys.end());
    keys.insert(keys.end(), kStringKeys.begin(), kStringKeys.end());
    return keys;
}

} // namespace

class ModelTest : public QObject {
    Q_OBJECT
private slots:
    void describesLlama()
    {
        test::TinyModelOptions options;
        options.ropeFactors = true;
        options.ropeScaling = 4;
        options.tied = false;
        const auto bytes = test::tinyModelBytes(options);
        const auto model = *Model::load(*GgufFile::parse(bytes, "m.gguf"));
        const ModelDescription &d = model->description();
        QVERIFY(d.architecture->name == "llama");
        QCOMPARE(d.layers, 3u);
        QCOMPARE(d.queryWidth(), 128u);
        QCOMPARE(d.keyWidth(), 64u);
        QCOMPARE(d.rope.frequencyScale, 0.25);
        QVERIFY(d.rope.useFactors);
        QCOMPARE(d.attentionScale, 1 / std::sqrt(32.0f));
        QCOMPARE(d.embeddingScale, 1.0f);
        QCOMPARE(d.window, 0u);
        QVERIFY(!model->headTied());
        QVERIFY(model->head().name == "output.weight");
        QVERIFY(model->tensor(model::TensorRole::queryNorm) == nullptr);
        QCOMPARE(model->quantisation(), std::string("Q8_0"));
        QCOMPARE(model->name(), std::string("Tiny llama"));
        QCOMPARE(model->tensorTypes().at("Q8_0"), std::uint64_t(2 + 3 * 7));
    }

    void describesGemma3()
    {
        test::TinyModelOptions options;
        options.architecture = "gemma3";
        const auto bytes = test::tinyModelBytes(options);
        const auto model = *Model::load(*GgufFile::parse(bytes, "m.gguf"));
        const ModelDescription &d = model->description();
        QCOMPARE(d.rope.base, 1e6);
        QCOMPARE(d.windowRope.base, 1e4);
        QCOMPARE(d.embeddingScale, 8.0f);
        QVERIFY((d.windowed == std::vector<bool>{true, true, true, true, true, false, true}));
        QVERIFY(model->headTied());
        QVERIFY(&model->head() == model->tensor(model::TensorRole::tokenEmbedding));
        QVERIFY(model->tensor(model::TensorRole::postFeedForwardNorm, 6) != nullptr);
    }

    void laysOutKv()
    {
        test::TinyModelOptions options;
        options.architecture = "gemma3";
        const auto bytes = test::tinyModelBytes(options);
        const auto gemma = *Model::load(*GgufFile::parse(bytes, "m.gguf"));
        const kv::KvLayout layout = model::makeKvLayout(gemma->description(), api::KvType::f16, api::KvType::q8, 32);
        QCOMPARE(layout.groups.size(), std::size_t(2));
        QVERIFY((layout.groups[0].layers == std::vector<std::uint32_t>{5}));
        QVERIFY(layout.groups[0].kind == kv::GroupKind::rows);
        QVERIFY((layout.groups[1].layers == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 6}));
        QCOMPARE(layout.groups[1].window, 32u);
        QCOMPARE(layout.bytesPerToken(), std::uint64_t(7 * (2 * 32 * 2 + 2 * 34)));
    }

    void refusesAnUnknownArchitecture()
    {
        auto writer = writerFor("llama");
        writer.setString("general.architecture", "mamba\n9");
        const std::string message = refusal(writer);
        QVERIFY(message.find("mamba?9") != std::string::npos && message.find("llama, gemma3") != std::string::npos);
        writer.remove("general.architecture");
        QVERIFY(refused(writer));
    }

    void refusesAMissingHyperparameter()
    {
        for (const std::string architecture : kArchitectures)
            for (const char *key : {"context_length", "embedding_length", "block_count", "feed_forward_length",
                                    "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
                auto writer = writerFor(architecture);
                writer.remove(architecture + "." + key);
                QVERIFY2(refused(writer), key);
            }
        auto writer = writerFor("gemma3");
        writer.remove("gemma3.attention.sliding_window");
        QVERIFY(refused(writer));
    }

    void refusesNumbersThatCannotBe()
    {
        for (const std::string architecture : kArchitectures) {
            const std::vector<std::uint64_t> nasty = {0, 1ull << 31, 1ull << 32, 1ull << 63, ~0ull, ~0ull - 1};
            for (const std::string &key : kIntegerKeys)
                for (const std::uint64_t value : nasty) {
                    if (key == "expert_count" && value == 0)
                        continue; // says: no experts
                    if (key == "attention.sliding_window" && architecture == "llama")
                        continue; // nothing reads it there
                    auto writer = writerFor(architecture);
                    writer.setRaw(architecture + "." + key, ValueType::u64, ByteSink().put(value).take());
                    QVERIFY2(refused(writer), qPrintable(QString::fromStdString(key) + " " + QString::number(value)));
                }
            const float infinity = std::numeric_limits<float>::infinity();
            for (const std::string &key : kFloatKeys)
                for (const float value : {std::nanf(""), infinity, -infinity, -1.0f, 1e38f}) {
                    auto writer = writerFor(architecture);
                    writer.setF32(architecture + "." + key, value);
                    QVERIFY2(refused(writer), qPrintable(QString::fromStdString(key) + " " + QString::number(value)));
                }
            for (const char *key : {"attention.layer_norm_rms_epsilon", "rope.freq_base", "attention.scale"}) {
                auto writer = writerFor(architecture);
                writer.setF32(architecture + "." + key, 0);
                QVERIFY2(refused(writer), key);
            }
        }
    }

    // Each known key with each of the 13 types, alone and as elements of an array: a sentence or a working model.
    void answersEveryTypeOfEveryKey()
    {
        for (const std::string architecture : kArchitectures)
            for (const std::string &key : allKeys())
                for (std::uint32_t type = 0; type < gguf::kValueTypes; ++type) {
                    const auto value = valueOf(static_cast<ValueType>(type));
                    auto scalar = writerFor(architecture);
                    scalar.setRaw(architecture + "." + key, static_cast<ValueType>(type), value);
                    QVERIFY2(!refusal(scalar).starts_with("NO"), refusal(scalar).c_str());
                    auto array = writerFor(architecture);
                    ByteSink sink;
                    sink.put(type).put(std::uint64_t(2)).put(std::span<const std::byte>(value)).put(std::span<const std::byte>(value));
                    array.setRaw(architecture + "." + key, ValueType::array, sink.take());
                    QVERIFY2(!refusal(array).starts_with("NO"), refusal(array).c_str());
                }
        // And a type that cannot be right is refused, not guessed.
        auto writer = writerFor("llama");
        writer.setString("llama.block_count", "3");
        QVERIFY(refused(writer));
        writer.setF32("llama.block_count", 3);
        QVERIFY(refused(writer));
    }

    void takesListsThatAgree()
    {
        auto writer = writerFor("llama");
        const auto list = [](std::initializer_list<std::uint32_t> values) {
            ByteSink sink;
            sink.put(ValueType::u32).put(std::uint64_t(values.size()));
            for (const std::uint32_t value : values)
                sink.put(value);
            return sink.take();
        };
        writer.setRaw("llama.attention.head_count_kv", ValueType::array, list({2, 2, 2}));
        QVERIFY(refusal(writer).empty());
        writer.setRaw("llama.attention.head_count_kv", ValueType::array, list({2, 1, 2}));
        QVERIFY(refused(writer));
        writer.setRaw("llama.attention.head_count_kv", ValueType::array, list({}));
        QVERIFY(refused(writer));
    }

    void refusesFeaturesItCannotCompute()
    {
        for (const char *key : {"llama.expert_count", "split.count"}) {
            auto writer = writerFor("llama");
            writer.setU32(key, 8);
            QVERIFY2(refused(writer), key);
        }
        for (const char *key : {"llama.final_logit_softcapping", "llama.attn_logit_softcapping", "llama.logit_scale"}) {
            auto writer = writerFor("llama");
            writer.setF32(key, 30);
            QVERIFY2(refused(writer), key);
        }
        auto writer = writerFor("llama");
        writer.setString("llama.rope.scaling.type", "yarn");
        QVERIFY(refused(writer));
        auto pattern = writerFor("gemma3");
        pattern.setU32("gemma3.attention.sliding_window_pattern", 4);
        QVERIFY(refused(pattern));
    }

    void refusesTensorsThatDoNotFit()
    {
        auto missing = writerFor("llama");
        missing.removeTensor("blk.0.attn_k.weight");
        QVERIFY(refusal(missing).find("blk.0.attn_k.weight") != std::string::npos);
        auto noWeights = writerFor("llama");
        noWeights.removeTensor("token_embd.weight");
        QVERIFY(refusal(noWeights).find("no weights") != std::string::npos);
        auto wrongShape = writerFor("llama");
        wrongShape.removeTensor("blk.0.attn_k.weight");
        wrongShape.addTensor("blk.0.attn_k.weight", TensorType::f32, {64, 32}, std::vector<std::byte>(64 * 32 * 4));
        QVERIFY(refusal(wrongShape).find("64x32") != std::string::npos);
        auto wrongType = writerFor("llama");
        wrongType.removeTensor("blk.0.attn_norm.weight");
        wrongType.addTensor("blk.0.attn_norm.weight", TensorType::f16, {64}, std::vector<std::byte>(128));
        QVERIFY(refused(wrongType));
        auto integers = writerFor("llama");
        integers.removeTensor("blk.0.attn_k.weight");
        integers.addTensor("blk.0.attn_k.weight", TensorType::i8, {64, 64}, std::vector<std::byte>(64 * 64));
        QVERIFY(refused(integers));
        auto surplus = writerFor("llama");
        surplus.addTensor("blk.0.attn_q.bias", TensorType::f32, {128}, std::vector<std::byte>(512));
        QVERIFY(refusal(surplus).find("attn_q.bias") != std::string::npos);
    }

    void aVocabularyAloneIsAFileButNoModel()
    {
        test::TinyModelOptions options;
        options.vocabularyOnly = true;
        const auto bytes = test::tinyModelBytes(options);
        const auto file = GgufFile::parse(bytes, "m.gguf");
        QVERIFY(file.has_value() && (*file)->has("tokenizer.ggml.tokens"));
        QVERIFY(!Model::load(*file).has_value());
    }

    void fingerprintsEveryByte()
    {
        const auto bytes = test::tinyModelBytes({});
        const auto print = [](const std::vector<std::byte> &of, int threads) {
            return *model::computeFingerprint(**GgufFile::parse(of, "m.gguf"), threads, nullptr);
        };
        const auto original = print(bytes, 1);
        QVERIFY(print(bytes, 3) == original);
        QCOMPARE(model::toHex(original).size(), std::size_t(64));
        const auto file = *GgufFile::parse(bytes, "m.gguf");
        const gguf::TensorInfo &last = file->tensors().back();
        for (const std::size_t at : {std::size_t(file->tensors()[0].offset), std::size_t(last.offset + last.bytes - 1)}) {
            auto changed = bytes;
            changed[at] ^= std::byte(1);
            QVERIFY(print(changed, 2) != original);
        }
        test::TinyModelOptions options;
        options.contextLength = 4096; // metadata only
        QVERIFY(print(test::tinyModelBytes(options), 1) != original);
        std::atomic<bool> cancel = true;
        QCOMPARE(model::computeFingerprint(*file, 2, &cancel).error().code, ErrorCode::cancelled);
    }

    void remembersFingerprintsOfUnchangedFiles()
    {
        QTemporaryDir folder;
        const std::string path = folder.filePath("m.gguf").toStdString();
        const std::string list = folder.filePath("fingerprints.txt").toStdString();
        QVERIFY(test::writeTinyModel(path, {}));
        model::FingerprintCache cache(list);
        QVERIFY(!cache.find(path).has_value());
        model::Fingerprint print{};
        print[0] = 0xab;
        QVERIFY(cache.remember(path, print).has_value());
        QVERIFY(cache.find(path) == print);
        QVERIFY(model::FingerprintCache(list).find(path) == print);
        // Another time of modification is another file.
        std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(5));
        QVERIFY(!cache.find(path).has_value());
        // A damaged list is an empty one, and gets overwritten.
        std::ofstream(list, std::ios::binary) << std::string(10000, 'z') << "\n1 2 3 4 xyz\n";
        QVERIFY(!cache.find(path).has_value());
        QVERIFY(cache.remember(path, print).has_value());
        QVERIFY(cache.find(path) == print);
        QVERIFY(!model::FingerprintCache(folder.filePath("none/x").toStdString()).remember(path, print).has_value());
    }

    // The facts that the command line promises of the real files.
    void readsTheRealModels()
    {
        const char *home = std::getenv("HOME");
        const char *given = std::getenv("KVILT_MODELS");
        const char *data = std::getenv("XDG_DATA_HOME");
        const std::string folder = given ? given : data ? std::string(data) + "/kvilt/models" : std::string(home ? home : "") + "/.local/share/kvilt/models";
        const auto smollm = Model::open(folder + "/smollm2-135m-instruct-q4_1.gguf");
        const auto gemma = Model::open(folder + "/gemma-3-270m-q4_k_m.gguf");
        if (!smollm || !gemma)
            QSKIP("the real models are not installed");
        const auto perToken = [](const Model &m) {
            return model::makeKvLayout(m.description(), api::KvType::f16, api::KvType::f16, 16).bytesPerToken();
        };
        QCOMPARE(perToken(**smollm), std::uint64_t(23040));
        QCOMPARE(perToken(**gemma), std::uint64_t(18432));
        QCOMPARE((*smollm)->parameters(), std::uint64_t(134515008));
        QCOMPARE((*smollm)->quantisation(), std::string("Q4_1"));
        QCOMPARE((*gemma)->description().window, 512u);
        QCOMPARE((*gemma)->tensorTypes().at("Q4_K"), std::uint64_t(27));
    }
};

KVILT_TEST_CLASS(ModelTest)
#include "tst_model.moc"
