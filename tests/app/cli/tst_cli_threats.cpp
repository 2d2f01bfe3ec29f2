// SPDX-License-Identifier: Apache-2.0
// Hostile input through the real program, with the memory and the processor time it may use bounded by the system:
// 64 MiB of data beside the file and ten seconds would end it otherwise.
#include "tests/support/gguf_writer.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QFile>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>

#include <limits>
#include <sys/resource.h>

using namespace kvilt::test;
using kvilt::gguf::ValueType;

namespace {

constexpr std::uint64_t kMax64 = std::numeric_limits<std::uint64_t>::max();

struct Ran {
    int code = -1;
    QByteArray out, err;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true; // shadow memory alone is larger than any bound
#else
constexpr bool kSanitized = false;
#endif

Ran runBounded(const QStringList &arguments, qint64 fileBytes)
{
    QProcess process;
    process.setChildProcessModifier([fileBytes] {
        if (kSanitized)
            return;
        const rlimit data{rlim_t((64 << 20) + fileBytes), rlim_t((64 << 20) + fileBytes)}, cpu{10, 10};
        setrlimit(RLIMIT_DATA, &data);
        setrlimit(RLIMIT_CPU, &cpu);
    });
    process.start(QStringLiteral(KVILT_BIN_DIR "/kvilt-cli"), arguments);
    if (!process.waitForFinished(120000))
        return {-1, {}, "did not end"};
    return {process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2, process.readAllStandardOutput(),
            process.readAllStandardError()};
}

ByteSink header(std::uint64_t tensors, std::uint64_t entries)
{
    ByteSink sink;
    sink.put(std::as_bytes(std::span("GGUF", 4))).put(std::uint32_t(3)).put(tensors).put(entries);
    return sink;
}

std::vector<std::byte> longArray(std::uint32_t elementType, std::uint64_t count, std::size_t bytes)
{
    ByteSink sink = header(0, 1);
    sink.putString("k").put(std::uint32_t(ValueType::array)).put(elementType).put(count);
    sink.put(std::span<const std::byte>(std::vector<std::byte>(bytes)));
    return sink.take();
}

std::vector<std::byte> nestedArrays(std::size_t depth)
{
    ByteSink sink = header(0, 1);
    sink.putString("k").put(std::uint32_t(ValueType::array));
    for (std::size_t i = 0; i < depth; ++i)
        sink.put(std::uint32_t(ValueType::array)).put(std::uint64_t(1));
    sink.put(std::uint32_t(ValueType::u8)).put(std::uint64_t(1)).put(std::uint8_t(1));
    return sink.take();
}

// A model that says it is far larger than its bytes.
std::vector<std::byte> claiming(const char *key, std::uint32_t value)
{
    GgufWriter writer = tinyModelWriter({});
    writer.setU32(std::string("llama.") + key, value);
    return writer.build();
}

} // namespace

class CliThreatsTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_folder;

    QString write(const QString &name, std::span<const std::byte> bytes) const
    {
        QFile file(m_folder.filePath(name));
        if (!file.open(QIODevice::WriteOnly))
            qFatal("cannot write a test file");
        file.write(reinterpret_cast<const char *>(bytes.data()), qint64(bytes.size()));
        return file.fileName();
    }

private slots:
    void refusesHostileFilesInLittleMemory_data()
    {
        QTest::addColumn<QString>("file");
        const auto row = [&](const char *name, const std::vector<std::byte> &bytes) {
            QTest::newRow(name) << write(QString::fromLatin1(name).replace(' ', '-'), bytes);
        };
        row("empty", {});
        row("2^64-1 tensors", header(kMax64, 0).take());
        row("2^63 entries", header(0, 1ull << 63).take());
        row("2^32 tensors and entries", header(1ull << 32, 1ull << 32).take());
        row("array of 2^63 bytes", longArray(std::uint32_t(ValueType::u8), 1ull << 63, 64));
        row("array of 2^61 words", longArray(std::uint32_t(ValueType::u64), 1ull << 61, 64));
        row("array of 2^32 strings", longArray(std::uint32_t(ValueType::string), 1ull << 32, 64));
        row("four million empty strings", longArray(std::uint32_t(ValueType::string), 4'000'000, 32'000'000));
        row("arrays a million deep", nestedArrays(1'000'000));
        row("context of 2^32-1", claiming("context_length", 0xffffffffu));
        row("four billion layers", claiming("block_count", 0xffffffffu));
        row("four billion heads", claiming("attention.head_count", 0xffffffffu));
        row("a width of 2^31", claiming("embedding_length", 1u << 31));
        row("a feed forward of 2^32-1", claiming("feed_forward_length", 0xffffffffu));
    }
    void refusesHostileFilesInLittleMemory()
    {
        QFETCH(QString, file);
        const Ran r = runBounded({"info", file, "--json"}, QFile(file).size());
        if (QByteArray(QTest::currentDataTag()) == "context of 2^32-1") { // long, but no lie: a tiny model may have it
            QVERIFY2(r.code == 0 || r.code == 2, r.err);
            return;
        }
        QVERIFY2(r.code == 2, r.err + QByteArray::number(r.code));
        QVERIFY(r.out.isEmpty());
        QCOMPARE(r.err.count('\n'), 1);
        QVERIFY2(r.err.trimmed().endsWith('.') && !r.err.contains("memory"), r.err);
    }

    // The same when a model is probed at load: a template must not take what it likes.
    void refusesHostileTemplatesInLittleMemory_data()
    {
        QTest::addColumn<QString>("source");
        for (const char *source :
             {"{% for i in range(1000000000) %}x{% endfor %}", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
              "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
              "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ 'a' * 1000000000 }}", "{{ ([[1] * 1000000] * 1000000) | tojson }}",
              "{{ '%1000000000d' % 1 }}", "{{ '{:>1000000000}'.format(1) * 100000 }}", "{{ ('a' * 1000000).replace('a', 'b' * 100000) }}",
              "{{ range(1000000000) | list | length }}", "{{ 'x' | center(2000000000) }}", "{{ ''.__class__.__mro__ }}"})
            QTest::newRow(source) << source;
    }
    void refusesHostileTemplatesInLittleMemory()
    {
        QFETCH(QString, source);
        const QByteArray utf8 = source.toUtf8();
        const QString file = write("t.jinja", std::as_bytes(std::span(utf8.constData(), std::size_t(utf8.size()))));
        const QByteArray none = "[]";
        const QString messages = write("m.json", std::as_bytes(std::span(none.constData(), std::size_t(none.size()))));
        const Ran r = runBounded({"template", "--template-file", file, "--messages", messages}, utf8.size());
        QVERIFY2(r.code == 2, r.err + QByteArray::number(r.code));
        QCOMPARE(r.err.count('\n'), 1);
    }

    // A file that may not grow is no end of the program: what was asked is answered, what is not stored is told.
    void aLimitOfFileSizesIsToldLikeAFullDisk()
    {
        const QString model = m_folder.filePath("tiny.gguf");
        QVERIFY(writeTinyModel(model.toStdString(), {}));
        const QByteArray said = R"([{"role":"user","content":"Hello there, tell me a long story."}])";
        const QString messages = write("said.json", std::as_bytes(std::span(said.constData(), std::size_t(said.size()))));
        QProcess process;
        process.setChildProcessModifier([] {
            const rlimit small{100 * 1024, 100 * 1024};
            setrlimit(RLIMIT_FSIZE, &small);
        });
        process.start(QStringLiteral(KVILT_BIN_DIR "/kvilt-cli"),
                      {"generate", model, "--messages", messages, "--session", "s", "--max-tokens", "4", "--profile",
                       m_folder.filePath("small"), "--kv-blocks", "64", "--json"});
        QVERIFY(process.waitForFinished(120000));
        QCOMPARE(process.exitStatus(), QProcess::NormalExit);
        QVERIFY2(process.exitCode() == 0 || process.exitCode() == 1, process.readAllStandardError());
        QVERIFY(process.readAllStandardOutput().contains("\"tokens\""));
    }

    void tokenisesAMillionEqualCharactersInBoundedTime_data()
    {
        QTest::addColumn<char>("character");
        QTest::newRow("spaces") << ' ';
        QTest::newRow("letters") << 'a';
        QTest::newRow("line ends") << '\n';
        QTest::newRow("invalid bytes") << '\xff';
    }
    void tokenisesAMillionEqualCharactersInBoundedTime()
    {
        QFETCH(char, character);
        const QString model = m_folder.filePath("vocabulary.gguf");
        TinyModelOptions options;
        options.vocabularyOnly = true;
        QVERIFY(writeTinyModel(model.toStdString(), options));
        const QByteArray text(1'000'000, character);
        const QString file = write("text", std::as_bytes(std::span(text.constData(), std::size_t(text.size()))));
        // Tokens and their JSON are some hundred bytes a character: the bound is the text's, not the file's.
        const Ran r = runBounded({"tokenize", model, "--text-file", file}, 512 << 20);
        QVERIFY2(r.code == 0, r.err);
    }
};

KVILT_TEST_CLASS(CliThreatsTest)
#include "tst_cli_threats.moc"
