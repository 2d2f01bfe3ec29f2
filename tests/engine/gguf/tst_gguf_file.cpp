// SPDX-License-Identifier: Apache-2.0
#include "engine/gguf/gguf_file.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTemporaryDir>
#include <QTest>

#include <fstream>
#include <limits>

using namespace kvilt;
using gguf::GgufFile;
using gguf::TensorType;
using gguf::ValueType;
using test::ByteSink;

namespace {

std::string refusal(std::span<const std::byte> bytes)
{
    const auto file = GgufFile::parse(bytes, "m.gguf");
    return file ? std::string() : file.error().message;
}

// A one-line sentence that names the file: what every refusal must be.
bool isSentence(const std::string &message)
{
    return message.starts_with("m.gguf") && message.back() == '.' && message.find('\n') == std::string::npos &&
           message.size() < 300;
}

ByteSink header(std::uint64_t tensors, std::uint64_t entries)
{
    ByteSink sink;
    sink.put(std::as_bytes(std::span("GGUF", 4))).put(std::uint32_t(3)).put(tensors).put(entries);
    return sink;
}

// One F32 tensor 'a' with the given fields, 4 KiB of data behind it.
std::vector<std::byte> withTensor(std::uint32_t dimensions, std::vector<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset)
{
    ByteSink sink = header(1, 0);
    sink.putString("a").put(dimensions);
    for (const std::uint64_t dim : dims)
        sink.put(dim);
    sink.put(type).put(offset);
    sink.alignTo(32);
    sink.put(std::span<const std::byte>(std::vector<std::byte>(4096)));
    return sink.take();
}

std::vector<std::byte> withEntry(std::uint32_t type, std::span<const std::byte> value)
{
    ByteSink sink = header(0, 1);
    sink.putString("k").put(type).put(value);
    return sink.take();
}

constexpr std::uint64_t kMax64 = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kNasty[] = {kMax64, kMax64 - 1, 1ull << 63, (1ull << 63) - 1, 1ull << 32, (1ull << 32) - 1, 1ull << 31, kMax64 / 4 + 1, kMax64 / 3};

} // namespace

class GgufFileTest : public QObject {
    Q_OBJECT
private slots:
    void readsWhatTheWriterWrote()
    {
        test::GgufWriter writer;
        writer.setU32("n", 7);
        writer.setF32("f", 0.5f);
        writer.setBool("b", true);
        writer.setString("s", "text");
        writer.setStrings("list", {"one", "", "three"});
        writer.setF32s("floats", {1, 2});
        writer.addTensor("t", TensorType::q4_0, {64, 3}, test::randomWeights(TensorType::q4_0, 192, 1, 5));
        writer.addTensor("u", TensorType::f32, {2}, std::vector<std::byte>(8));
        const auto bytes = writer.build();
        const auto parsed = GgufFile::parse(bytes, "m.gguf");
        QVERIFY(parsed.has_value());
        const GgufFile &file = **parsed;
        QCOMPARE(*file.get<std::uint64_t>("n"), std::uint64_t(7));
        QCOMPARE(*file.get<std::int64_t>("n"), std::int64_t(7));
        QCOMPARE(*file.get<double>("f"), 0.5);
        QCOMPARE(*file.get<bool>("b"), true);
        QVERIFY(*file.get<std::string_view>("s") == "text");
        QVERIFY((*file.get<std::vector<std::string_view>>("list") == std::vector<std::string_view>{"one", "", "three"}));
        QVERIFY((*file.get<std::vector<float>>("floats") == std::vector<float>{1, 2}));
        QVERIFY(!file.find<bool>("absent")->has_value());
        QVERIFY(!file.get<bool>("absent").has_value());
        const gguf::TensorInfo *tensor = file.findTensor("t");
        QVERIFY(tensor && file.findTensor("u") && !file.findTensor("v"));
        QCOMPARE(tensor->bytes, std::uint64_t(192 / 32 * 18));
        QCOMPARE(tensor->dims[1], std::uint64_t(3));
        QCOMPARE(file.tensorBytes(*tensor).data(), bytes.data() + tensor->offset);
        QVERIFY(std::ranges::equal(file.tensorBytes(*tensor), test::randomWeights(TensorType::q4_0, 192, 1, 5)));
    }

    void readsVersionTwoAndRefusesOthers()
    {
        auto bytes = header(0, 0).take();
        for (const std::uint8_t version : {0, 1, 2, 3, 4, 255}) {
            bytes[4] = std::byte(version);
            QCOMPARE(refusal(bytes).empty(), version == 2 || version == 3);
        }
        bytes[4] = std::byte(0);
        bytes[7] = std::byte(3);
        QVERIFY(refusal(bytes).find("big-endian") != std::string::npos);
    }

    void refusesAFileCutAtAnyByte()
    {
        for (const char *architecture : {"llama", "gemma3"}) {
            test::TinyModelOptions options;
            options.architecture = architecture;
            options.layers = 1;
            const auto whole = test::tinyModelBytes(options);
            const auto file = GgufFile::parse(whole, "m.gguf");
            QVERIFY(file.has_value());
            const gguf::TensorInfo &last = (*file)->tensors().back();
            // Every byte of the header, then every 97th of the data.
            for (std::size_t size = 0; size < last.offset + last.bytes; size += size < (*file)->dataOffset() ? 1 : 97) {
                const std::string message = refusal(std::span(whole).first(size));
                QVERIFY2(isSentence(message), qPrintable(QString::number(size) + ": " + QString::fromStdString(message)));
            }
        }
    }

    // Wherever a length, count, type or dimension stands in a header, nothing may go wrong when it is another.
    void survivesAnyChangedByteOfTheHeader()
    {
        test::TinyModelOptions options;
        options.layers = 1;
        auto bytes = test::tinyModelBytes(options);
        const std::size_t end = (*GgufFile::parse(bytes, "m.gguf"))->dataOffset();
        for (std::size_t at = 0; at < end; ++at)
            for (const std::uint8_t change : {0x01, 0x80, 0xff}) {
                bytes[at] ^= std::byte(change);
                const std::string message = refusal(bytes);
                QVERIFY2(message.empty() || isSentence(message), message.c_str());
                bytes[at] ^= std::byte(change);
            }
    }

    void refusesCountsThatCannotBe()
    {
        for (const std::uint64_t tensors : kNasty)
            for (const std::uint64_t entries : {std::uint64_t(0), std::uint64_t(1), kMax64, std::uint64_t(1) << 32}) {
                QVERIFY(isSentence(refusal(header(tensors, entries).take())));
                QVERIFY(isSentence(refusal(header(entries, tensors).take())));
            }
    }

    void refusesTensorsThatCannotBe()
    {
        constexpr std::uint32_t kF32 = 0, kQ4K = 12;
        QVERIFY(refusal(withTensor(2, {16, 64}, kF32, 0)).empty());
        QVERIFY(isSentence(refusal(withTensor(2, {16, 65}, kF32, 0))));      // past the end
        QVERIFY(isSentence(refusal(withTensor(2, {16, 64}, kF32, 32))));     // offset + size past the end
        QVERIFY(isSentence(refusal(withTensor(1, {4}, kF32, 4))));           // misaligned
        QVERIFY(isSentence(refusal(withTensor(2, {16, 0}, kF32, 0))));
        QVERIFY(isSentence(refusal(withTensor(0, {}, kF32, 0))));
        QVERIFY(isSentence(refusal(withTensor(5, {1, 1, 1, 1, 1}, kF32, 0))));
        QVERIFY(isSentence(refusal(withTensor(1, {64}, kQ4K, 0))));          // blocks of 256
        for (const std::uint32_t type : {4u, 5u, 31u, 36u, 40u, 0xffffffffu})
            QVERIFY(isSentence(refusal(withTensor(1, {64}, type, 0))));
        for (const std::uint64_t a : kNasty) {
            QVERIFY(isSentence(refusal(withTensor(1, {16}, kF32, a))));
            for (const std::uint64_t b : kNasty)
                QVERIFY(isSentence(refusal(withTensor(2, {a, b}, kF32, 0))));
            QVERIFY(isSentence(refusal(withTensor(4, {2, 2, 2, a}, kF32, 0))));
        }
    }

    void refusesTensorsThatOverlapOrShareAName()
    {
        const auto two = [](std::string_view secondName, std::uint64_t secondOffset) {
            ByteSink sink = header(2, 0);
            sink.putString("a").put(1u).put(std::uint64_t(16)).put(0u).put(std::uint64_t(0));
            sink.putString(secondName).put(1u).put(std::uint64_t(16)).put(0u).put(secondOffset);
            sink.alignTo(32);
            sink.put(std::span<const std::byte>(std::vector<std::byte>(256)));
            return sink.take();
        };
        QVERIFY(refusal(two("b", 64)).empty());
        QVERIFY(refusal(two("b", 32)).find("overlap") != std::string::npos);
        QVERIFY(refusal(two("b", 0)).find("overlap") != std::string::npos);
        QVERIFY(refusal(two("a", 64)).find("twice") != std::string::npos);
    }

    void refusesMetadataThatCannotBe()
    {
        const auto stringOf = [](std::uint64_t length) { return ByteSink().put(length).put(std::uint64_t(0)).take(); };
        const auto arrayOf = [](std::uint32_t element, std::uint64_t count) {
            return ByteSink().put(element).put(count).put(std::uint64_t(0)).take();
        };
        for (const std::uint64_t nasty : kNasty) {
            QVERIFY(isSentence(refusal(withEntry(8, stringOf(nasty)))));
            for (std::uint32_t element = 0; element < 14; ++element)
                QVERIFY(isSentence(refusal(withEntry(9, arrayOf(element, nasty)))));
        }
        for (const std::uint32_t type : {13u, 255u, 0x80000000u})
            QVERIFY(isSentence(refusal(withEntry(type, stringOf(0)))));
        QVERIFY(refusal(header(0, 2).putString("k").put(0u).put('x').putString("k").put(0u).put('x').take()).find("twice") != std::string::npos);
        QVERIFY(isSentence(refusal(header(0, 1).putString("").put(0u).put('x').take())));
        QVERIFY(isSentence(refusal(header(0, 1).putString(std::string(2000, 'k')).put(0u).put('x').take())));
    }

    void refusesNestedArraysHoweverDeep()
    {
        ByteSink deep;
        for (int i = 0; i < 1'000'000; ++i)
            deep.put(9u).put(std::uint64_t(1));
        QVERIFY(refusal(withEntry(9, deep.bytes())).find("arrays") != std::string::npos);
    }

    void refusesOddAlignments()
    {
        for (const std::uint32_t alignment : {0u, 1u, 3u, 4u, 33u, 1u << 30, 0xffffffffu}) {
            const auto bytes = header(0, 1).putString("general.alignment").put(4u).put(alignment).take();
            QVERIFY(isSentence(refusal(bytes)));
        }
        for (const std::uint32_t alignment : {8u, 32u, 4096u}) {
            const auto bytes = header(0, 1).putString("general.alignment").put(4u).put(alignment).take();
            QVERIFY(refusal(bytes).empty());
        }
    }

    void asksForTheTypeThatAValueHas()
    {
        const auto whole = header(0, 1).putString("k").put(5u).put(std::int32_t(-1)).take();
        const auto file = GgufFile::parse(whole, "m.gguf");
        QVERIFY(!(*file)->get<std::uint64_t>("k").has_value());
        QCOMPARE(*(*file)->get<std::int64_t>("k"), std::int64_t(-1));
        QVERIFY(!(*file)->get<bool>("k").has_value());
        QVERIFY(!(*file)->get<double>("k").has_value());
        QVERIFY(!(*file)->get<std::string_view>("k").has_value());
        QVERIFY(!(*file)->get<std::vector<float>>("k").has_value());
        QVERIFY(isSentence((*file)->get<std::string_view>("k").error().message));
    }

    void handsOutNoArrayBeyondItsLimit()
    {
        ByteSink sink = header(0, 1);
        sink.putString("k").put(9u).put(0u).put(std::uint64_t(GgufFile::kMaxArray + 1));
        sink.put(std::span<const std::byte>(std::vector<std::byte>(GgufFile::kMaxArray + 1)));
        const auto bytes = sink.take();
        const auto file = GgufFile::parse(bytes, "m.gguf");
        QVERIFY(file.has_value());
        QVERIFY(!(*file)->get<std::vector<std::int64_t>>("k").has_value());
    }

    void saysWhatIsWrongWithAPath()
    {
        QTemporaryDir folder;
        const std::string base = folder.path().toStdString();
        QCOMPARE(GgufFile::open(base + "/none.gguf").error().code, ErrorCode::notFound);
        QCOMPARE(GgufFile::open(base).error().code, ErrorCode::badInput); // a folder
        std::ofstream(base + "/empty.gguf");
        QVERIFY(GgufFile::open(base + "/empty.gguf").error().message.find("empty") != std::string::npos);
        QVERIFY(test::writeTinyModel(base + "/tiny.gguf", {}));
        const auto file = GgufFile::open(base + "/tiny.gguf");
        QVERIFY(file.has_value());
        // Pages that were dropped come back.
        const gguf::TensorInfo &tensor = (*file)->tensors().front();
        const std::vector<std::byte> before((*file)->tensorBytes(tensor).begin(), (*file)->tensorBytes(tensor).end());
        (*file)->dropPages(0, (*file)->size());
        QVERIFY(std::ranges::equal(before, (*file)->tensorBytes(tensor)));
    }

    void makesNamesFitForAMessage()
    {
        QVERIFY(gguf::printable("a\nb\xff") == "a?b?");
        QCOMPARE(gguf::printable(std::string(1000, 'x')).size(), std::size_t(83));
    }
};

KVILT_TEST_CLASS(GgufFileTest)
#include "tst_gguf_file.moc"
