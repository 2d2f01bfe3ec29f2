// SPDX-License-Identifier: Apache-2.0
// What scripts rely on: names, keys and exit codes of kvilt-cli, on tiny models and, where there are any, real ones.
#include "engine/store/profile_lock.h"
#include "engine/store/sqlite.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>
#include <QStandardPaths>
#include <QTemporaryDir>
#include <QTest>

#include <sys/stat.h>

#include <cmath>
#include <memory>

using namespace kvilt::test;

namespace {

struct Ran {
    int code = -1;
    QByteArray out, err;
    QJsonObject json() const { return QJsonDocument::fromJson(out).object(); }
    QList<QJsonObject> lines() const
    {
        QList<QJsonObject> all;
        for (const QByteArray &line : out.split('\n'))
            if (!line.trimmed().isEmpty())
                all << QJsonDocument::fromJson(line).object();
        return all;
    }
};

Ran run(const QStringList &arguments, const QStringList &environment = {})
{
    QProcess process;
    process.setProcessEnvironment([&] {
        auto all = QProcessEnvironment::systemEnvironment();
        for (const QString &entry : environment)
            all.insert(entry.section('=', 0, 0), entry.section('=', 1));
        return all;
    }());
    process.start(QStringLiteral(KVILT_BIN_DIR "/kvilt-cli"), arguments);
    if (!process.waitForFinished(120000))
        return {-1, {}, "did not end"};
    return {process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2, process.readAllStandardOutput(),
            process.readAllStandardError()};
}

QString realModel(const char *name)
{
    QString folder = qEnvironmentVariable("KVILT_MODELS");
    if (folder.isEmpty())
        folder = QStandardPaths::writableLocation(QStandardPaths::GenericDataLocation) + "/kvilt/models";
    return folder + "/" + name;
}

} // namespace

class CliContractTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_folder;
    QString m_llama, m_gemma, m_vocabulary;

    QString path(const QString &name) const { return m_folder.filePath(name); }
    QString write(const QString &name, const QByteArray &bytes) const
    {
        QFile file(path(name));
        if (!file.open(QIODevice::WriteOnly) || file.write(bytes) != bytes.size())
            qFatal("cannot write a test file");
        return file.fileName();
    }
    QString tokensFile(int count, int seed = 1) const
    {
        Random random{std::uint64_t(seed)};
        QByteArray text = "[";
        for (int i = 0; i < count; ++i)
            text += (i ? "," : "") + QByteArray::number(3 + random.below(256));
        return write(QString("tokens-%1-%2.json").arg(count).arg(seed), text + "]");
    }
    QStringList generate(const QString &profile, const QStringList &more) const
    {
        return QStringList{"generate", m_llama, "--json", "--profile", path(profile), "--threads", "1",
                           "--kv-blocks", "256"} + more;
    }

    // Runs until the first text of a long reply came.
    std::unique_ptr<QProcess> inMidReply(const QString &profile, const QString &session) const
    {
        const QString messages = write("long.json", R"([{"role":"user","content":"Go on and on."}])");
        auto process = std::make_unique<QProcess>();
        auto environment = QProcessEnvironment::systemEnvironment();
        environment.insert("KVILT_FORCE_ISA", "scalar"); // slow enough to be met in the middle
        process->setProcessEnvironment(environment);
        process->start(QStringLiteral(KVILT_BIN_DIR "/kvilt-cli"),
                       {"generate", m_llama, "--profile", path(profile), "--threads", "1", "--messages", messages,
                        "--session", session, "--max-tokens", "1900", "--ignore-eos", "--temp", "1"});
        return process->waitForReadyRead(60000) ? std::move(process) : nullptr;
    }
    QString stateOfReply(const QString &profile, const QString &session) const
    {
        const QJsonArray messages = run({"session", "show", session, "--json", "--profile", path(profile)})
                                        .json()["messages"].toArray();
        return messages.size() == 2 ? messages[1].toObject()["state"].toString() : QString("?");
    }

private slots:
    void initTestCase()
    {
        m_llama = path("llama.gguf");
        m_gemma = path("gemma.gguf");
        m_vocabulary = path("vocabulary.gguf");
        TinyModelOptions gemma, vocabulary;
        gemma.architecture = "gemma3";
        vocabulary.vocabularyOnly = true;
        QVERIFY(writeTinyModel(m_llama.toStdString(), {}));
        QVERIFY(writeTinyModel(m_gemma.toStdString(), gemma));
        QVERIFY(writeTinyModel(m_vocabulary.toStdString(), vocabulary));
    }

    void infoNamesTheLayout()
    {
        const Ran r = run({"info", m_gemma, "--json"});
        QCOMPARE(r.code, 0);
        const QJsonObject info = r.json();
        for (const char *key : {"architecture", "parameters", "layers", "context_length", "vocab_size", "kv_layout",
                                "kv_bytes_per_token", "tensor_types", "chat_template", "fingerprint"})
            QVERIFY2(info.contains(key), key);
        QCOMPARE(info["kv_layout"].toArray().size(), 2);
        for (const char *key : {"group", "kind", "layers", "kv_heads", "k_dim", "v_dim", "k_type", "v_type", "window",
                                "shares_with"})
            QVERIFY2(info["kv_layout"].toArray()[1].toObject().contains(key), key);
        QCOMPARE(info["kv_layout"].toArray()[1].toObject()["window"].toInt(), 32);
    }

    void tokenizesAndBackAlsoWithAVocabularyAlone()
    {
        const Ran r = run({"tokenize", m_vocabulary, "--text", "Hello <|im_end|> there", "--no-bos", "--json"});
        QCOMPARE(r.code, 0);
        const QJsonArray tokens = r.json()["tokens"].toArray();
        QCOMPARE(tokens.size(), r.json()["pieces"].toArray().size());
        QVERIFY(!tokens.contains(2)); // not parsed unless asked
        QVERIFY(run({"tokenize", m_vocabulary, "--text", "a<|im_end|>", "--parse-special", "--json"})
                    .json()["tokens"].toArray().contains(2));
        const QString file = write("ids.json", QJsonDocument(tokens).toJson());
        const Ran back = run({"detokenize", m_llama, "--tokens-file", file, "--json"});
        QCOMPARE(back.json()["text"].toString(), QString("Hello <|im_end|> there"));
    }

    void rendersATemplate()
    {
        const QString messages = write("m.json", R"([{"role":"user","content":"Hi"}])");
        const Ran r = run({"template", m_llama, "--messages", messages, "--add-generation-prompt", "--json"});
        QCOMPARE(r.json()["text"].toString(), QString("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
        const QString file = write("t.jinja", "{{ greeting }}, {{ messages[0].content }}");
        const Ran own = run({"template", "--template-file", file, "--messages", messages, "--var", "greeting=Yo", "--json"});
        QCOMPARE(own.json()["text"].toString(), QString("Yo, Hi"));
    }

    void aSecondProcessGoesOnFromStoredKv()
    {
        const QStringList more{"--tokens-file", tokensFile(100), "--max-tokens", "12", "--ignore-eos", "--logprobs", "3"};
        const Ran first = run(generate("p1", more));
        QCOMPARE(first.code, 0);
        const QJsonObject usage = first.json()["usage"].toObject();
        QCOMPARE(usage["cached_tokens"].toInt(), 0);
        QCOMPARE(usage["prompt_tokens"].toInt(), 100);
        QCOMPARE(usage["computed_tokens"].toInt(), 100);
        QCOMPARE(usage["completion_tokens"].toInt(), 12);
        QCOMPARE(first.json()["finish_reason"].toString(), QString("length"));
        const Ran second = run(generate("p1", more));
        QCOMPARE(second.json()["usage"].toObject()["cached_tokens"].toInt(), 96);
        QVERIFY(second.json()["cache"].toObject()["restored_blocks"].toInt() > 0);
        QCOMPARE(second.json()["tokens"], first.json()["tokens"]);
        QCOMPARE(second.json()["logprobs"], first.json()["logprobs"]);
        const Ran without = run(generate("p1", more + QStringList{"--no-cache"}));
        QCOMPARE(without.json()["usage"].toObject()["cached_tokens"].toInt(), 0);
        QCOMPARE(without.json()["tokens"], first.json()["tokens"]);
        QCOMPARE(without.json()["logprobs"], first.json()["logprobs"]);
        const QJsonArray best = first.json()["logprobs"].toArray()[0].toArray();
        QCOMPARE(best.size(), 3);
        QCOMPARE(best[0].toObject()["id"], first.json()["tokens"].toArray()[0]); // greedy
    }

    void noCacheLeavesNothingBehind()
    {
        const Ran r = run(generate("untouched", {"--tokens-file", tokensFile(40), "--max-tokens", "2", "--no-cache"}));
        QCOMPARE(r.code, 0);
        QVERIFY(!QDir(path("untouched")).exists());
        for (const QString &bad : {tokensFile(2049), write("empty.json", "[]")})
            QCOMPARE(run(generate("untouched", {"--tokens-file", bad})).code, 2);
        QVERIFY(!QDir(path("untouched")).exists());
    }

    void aDamagedKvFileOnlyCostsTime()
    {
        const QStringList more{"--tokens-file", tokensFile(80, 3), "--max-tokens", "4"};
        const Ran first = run(generate("p2", more));
        write("p2/kvcache.db", QByteArray(5000, 'x'));
        QFile::remove(path("p2/kvcache.db-wal"));
        const Ran second = run(generate("p2", more));
        QCOMPARE(second.code, 0);
        QCOMPARE(second.json()["tokens"], first.json()["tokens"]);
        QCOMPARE(second.json()["usage"].toObject()["cached_tokens"].toInt(), 0);
    }

    void aSessionGoesOnInAnotherProcess()
    {
        const QString one = write("s1.json", R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Tell me something long about rivers and seas."}])");
        const QString two = write("s2.json", R"([{"role":"user","content":"And lakes?"}])");
        const QStringList sampling{"--temp", "1", "--seed", "3", "--max-tokens", "40", "--session", "trip"};
        const Ran first = run(generate("p3", QStringList{"--messages", one} + sampling));
        QCOMPARE(first.code, 0);
        const Ran second = run(generate("p3", QStringList{"--messages", two} + sampling));
        QCOMPARE(second.code, 0);
        const QJsonObject u1 = first.json()["usage"].toObject(), u2 = second.json()["usage"].toObject();
        const int before = u1["prompt_tokens"].toInt() + u1["completion_tokens"].toInt() - 1;
        QVERIFY(u2["cached_tokens"].toInt() >= before / 16 * 16);
        QCOMPARE(u2["cached_tokens"].toInt() + u2["computed_tokens"].toInt(), u2["prompt_tokens"].toInt());

        const Ran list = run({"session", "list", "--json", "--profile", path("p3")});
        const QJsonObject row = list.json()["sessions"].toArray()[0].toObject();
        QCOMPARE(row["id"].toString(), QString("trip"));
        QCOMPARE(row["messages"].toInt(), 5);
        QVERIFY(row["kv_bytes"].toDouble() > 0);
        const Ran show = run({"session", "show", "trip", "--json", "--profile", path("p3")});
        const QJsonArray messages = show.json()["messages"].toArray();
        QCOMPARE(messages.size(), 5);
        QCOMPARE(messages[2].toObject()["content"], first.json()["text"]);
        QCOMPARE(messages[2].toObject()["state"].toString(), QString("complete"));

        const QString file = path("trip.kvilt");
        QCOMPARE(run({"session", "export", "trip", file, "--with-kv", "--json", "--profile", path("p3")}).code, 0);
        const Ran imported = run({"session", "import", file, "--json", "--profile", path("p4")});
        QCOMPARE(imported.code, 0);
        QVERIFY(imported.json()["kv_blocks"].toInt() > 0);
        QCOMPARE(run({"session", "delete", "trip", "--json", "--profile", path("p3")}).code, 0);
        QCOMPARE(run({"session", "show", "trip", "--json", "--profile", path("p3")}).code, 2);
    }

    void logitsAreTheSameForAnyChunk()
    {
        const QString tokens = tokensFile(70);
        QByteArray reference;
        for (const char *chunk : {"1", "7", "64", "512"}) {
            const QString out = path("logits.f32");
            const Ran r = run({"logits", m_llama, "--tokens-file", tokens, "--out", out, "--chunk", chunk, "--json"});
            QCOMPARE(r.code, 0);
            QFile file(out);
            QVERIFY(file.open(QIODevice::ReadOnly));
            const QByteArray rows = file.readAll();
            QCOMPARE(rows.size(), qint64(70) * r.json()["vocab_size"].toInt() * 4);
            if (reference.isEmpty())
                reference = rows;
            QVERIFY(rows == reference);
        }
        const QString out = path("last.f32");
        const Ran r = run({"logits", m_llama, "--tokens-file", tokens, "--out", out, "--last", "2", "--json"});
        QCOMPARE(r.json()["rows"].toInt(), 2);
        QFile file(out);
        QVERIFY(file.open(QIODevice::ReadOnly));
        QVERIFY(reference.endsWith(file.readAll()));
    }

    void onlyRegularFilesAreEverReplaced()
    {
        const QString tokens = tokensFile(5);
        const auto isDevice = [](const char *path) {
            struct stat found {};
            return ::stat(path, &found) == 0 && S_ISCHR(found.st_mode);
        };
        if (!isDevice("/dev/full") || !isDevice("/dev/null"))
            QSKIP("no devices here");
        QCOMPARE(run({"logits", m_llama, "--tokens-file", tokens, "--out", "/dev/null"}).code, 0);
        const Ran full = run({"logits", m_llama, "--tokens-file", tokens, "--out", "/dev/full"});
        QVERIFY2(full.code == 1 && full.err.contains("No space left"), full.err);
        QCOMPARE(run({"logits", m_llama, "--tokens-file", tokens, "--out", "."}).code, 2);
        QCOMPARE(run({"bench", m_llama, "-p", "16", "-n", "0", "-r", "1", "--report", "/dev/full"}).code, 1);
        const Ran folder = run({"bench", m_llama, "-p", "16", "-n", "0", "-r", "1", "--report", m_folder.path()});
        QCOMPARE(folder.code, 2);
        QVERIFY(folder.out.isEmpty()); // before anything is measured
        QCOMPARE(run(generate("devices", {"--tokens-file", tokens, "--max-tokens", "2"})).code, 0);
        for (const char *format : {"json", "perfetto", "sqlite"})
            QCOMPARE(run({"events", "export", "/dev/full", "--format", format, "--profile", path("devices")}).code, 2);
        QVERIFY(isDevice("/dev/full") && isDevice("/dev/null"));
        QVERIFY(!QFile::exists("/dev/full.part"));
    }

    void aKilledReplyIsInterruptedAtTheNextOpening()
    {
        const auto process = inMidReply("killed", "k");
        QVERIFY(process);
        process->kill();
        QVERIFY(process->waitForFinished());
        QCOMPARE(stateOfReply("killed", "k"), QString("interrupted"));
    }

    void terminatedIsStoppedAsByCtrlC()
    {
        const auto process = inMidReply("stopped", "s");
        QVERIFY(process);
        process->terminate(); // SIGTERM
        QVERIFY(process->waitForFinished());
        QCOMPARE(process->exitStatus(), QProcess::NormalExit);
        QCOMPARE(process->exitCode(), 0);
        QCOMPARE(stateOfReply("stopped", "s"), QString("stopped"));
    }

    void terminatedLogitsLeaveNothingBehind()
    {
        QDir(m_folder.path()).mkdir("out");
        QProcess process;
        process.start(QStringLiteral(KVILT_BIN_DIR "/kvilt-cli"),
                      {"logits", m_llama, "--tokens-file", tokensFile(2000), "--out", path("out/l.f32"), "--chunk", "1",
                       "--threads", "1"});
        const auto files = [&] { return QDir(path("out")).entryList(QDir::Files); };
        while (files().isEmpty() && process.state() != QProcess::NotRunning)
            process.waitForFinished(1);
        process.terminate();
        QVERIFY(process.waitForFinished());
        QCOMPARE(process.exitStatus(), QProcess::NormalExit);
        QCOMPARE(files().isEmpty(), process.exitCode() == 1); // or it was done before the signal came
        QVERIFY(files().filter("part").isEmpty());
    }

    void whatCannotStoreASessionSaysSo()
    {
        const QString messages = write("hi.json", R"([{"role":"user","content":"Hi"}])");
        const QStringList more{"--messages", messages, "--max-tokens", "2", "--session", "x"};
        const Ran nowhere = run(QStringList{"generate", m_llama, "--profile", "/dev/null/x", "--json"} + more);
        QVERIFY2(nowhere.code == 2 && nowhere.err.count('\n') == 1 && nowhere.out.isEmpty(), nowhere.err);

        QCOMPARE(run(generate("busy", more)).code, 0);
        const auto lock = kvilt::store::ProfileLock::tryAcquire(path("busy/profile.lock").toStdString());
        QVERIFY(lock && *lock);
        const Ran busy = run(generate("busy", more));
        QVERIFY2(busy.code == 1 && busy.out.isEmpty() && busy.err.contains("another program"), busy.err);
        const QString file = write("import.json", R"([{"role":"user","content":"Hi"}])");
        QCOMPARE(run({"session", "import", file, "--profile", path("busy")}).code, 1);
        QCOMPARE(run({"session", "delete", "x", "--profile", path("busy")}).code, 1);
        const Ran list = run({"session", "list", "--json", "--profile", path("busy")}); // reading goes on, quietly
        QVERIFY2(list.code == 0 && list.err.isEmpty(), list.err);
        QCOMPARE(list.json()["sessions"].toArray().size(), 1);
        const Ran plain = run(generate("busy", {"--tokens-file", tokensFile(40), "--max-tokens", "2"}));
        QVERIFY2(plain.code == 0 && plain.err.count('\n') == 1, plain.err);
    }

    void idsOfSessionsAreStringsWithTheirNumberBeside()
    {
        const QString file = write("named.json", R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}])");
        QCOMPARE(run({"session", "import", file, "--json", "--profile", path("ids")}).json()["id"].toString(), QString("1"));
        QCOMPARE(run(generate("ids", {"--messages", write("hi2.json", R"([{"role":"user","content":"Hi"}])"),
                                      "--max-tokens", "2", "--session", "named"})).code, 0);
        const QJsonArray list = run({"session", "list", "--json", "--profile", path("ids")}).json()["sessions"].toArray();
        QCOMPARE(list[0].toObject()["id"], QJsonValue("named"));
        QCOMPARE(list[0].toObject()["number"], QJsonValue(2)); // as the events name it
        QCOMPARE(list[1].toObject()["id"], QJsonValue("1"));
        QCOMPARE(run({"session", "show", "1", "--json", "--profile", path("ids")}).json()["id"], QJsonValue("1"));
        const QByteArray plain = run({"session", "list", "--profile", path("ids")}).out;
        QVERIFY2(plain.startsWith("named ") && !plain.contains('"'), plain);
    }

    void aDamagedBlockIsTheReasonOfItsMiss()
    {
        const QStringList more{"--tokens-file", tokensFile(60, 9), "--max-tokens", "4"};
        const Ran first = run(generate("damaged", more));
        QCOMPARE(first.code, 0);
        {
            const auto db = kvilt::store::sql::Database::open(path("damaged/kvcache.db").toStdString(), {});
            QVERIFY(db && (*db)->exec("UPDATE data SET bytes=zeroblob(length(bytes))"));
        }
        const Ran second = run(generate("damaged", more));
        QCOMPARE(second.json()["tokens"], first.json()["tokens"]);
        QCOMPARE(second.json()["cache"].toObject()["miss_reason"].toString(), QString("corrupt-payload"));
        QVERIFY2(second.err.count('\n') == 1 && second.err.contains("damaged"), second.err);
    }

    void oneRequestTooLongForThePoolFailsAlone()
    {
        QStringList tokens;
        for (int i = 0; i < 200; ++i)
            tokens << QString::number(3 + i % 256);
        const QString requests = write("pool.jsonl", (R"({"id":"big","tokens":[)" + tokens.join(",") + R"(],"max_tokens":2})" "\n"
            R"({"id":"small","tokens":[)" + tokens.mid(0, 20).join(",") + R"(],"max_tokens":2,"ignore_eos":true})" "\n").toUtf8());
        const Ran r = run({"run", m_llama, "--requests", requests, "--json", "--no-cache", "--kv-blocks", "8"});
        QVERIFY2(r.code == 0, r.err);
        const auto lines = r.lines();
        QCOMPARE(lines.size(), 3);
        for (const QJsonObject &line : lines.mid(0, 2))
            QCOMPARE(line["finish_reason"].toString(), line["id"] == "big" ? QString("error") : QString("length"));
        QVERIFY(lines[0]["problem"].toString().contains("pool") || lines[1]["problem"].toString().contains("pool"));
        QCOMPARE(lines[2]["summary"].toObject()["requests"].toInt(), 2);
    }

    void perplexityComparesKvTypes()
    {
        QByteArray text;
        for (int i = 0; i < 400; ++i)
            text += "word " + QByteArray::number(i * 37) + " ";
        const QString file = write("text.txt", text);
        const Ran same = run({"perplexity", m_llama, "--text-file", file, "--ctx", "64", "--against", "f16", "--json"});
        QCOMPARE(same.code, 0);
        QVERIFY(same.json()["perplexity"].toDouble() > 1);
        QCOMPARE(same.json()["kld_mean"].toDouble(), 0.0);
        QCOMPARE(same.json()["same_top1"].toDouble(), 1.0);
        const Ran q8 = run({"perplexity", m_llama, "--text-file", file, "--ctx", "64", "--kv-type", "q8", "--against",
                            "f16", "--json"});
        QVERIFY(q8.json()["kld_mean"].toDouble() > 0);
        QVERIFY(q8.json()["kld_mean"].toDouble() < 0.01);
    }

    void theScriptOfTheContractGivesItsNumbers()
    {
        auto times = [](int n, int count) {
            QStringList list;
            for (int i = 0; i < count; ++i)
                list << QString::number(n);
            return list.join(",");
        };
        const QString com = times(0, 16) + "," + times(1, 16) + "," + times(2, 16);
        const QString script = write("script.jsonl",
            (R"({"block_size":16,"blocks":10,"policy":"lru","caching":true,"partial_reuse":false,"dedupe":false})" "\n"
             R"({"op":"alloc","req":0,"tokens":[)" + com + ",7,7,7]}\n"
             R"({"op":"alloc","req":1,"tokens":[)" + com + ",5,5,5]}\n"
             R"({"op":"free","req":0})" "\n" R"({"op":"free","req":1})" "\n").toUtf8());
        const Ran r = run({"replay", "--script", script, "--json"});
        QCOMPARE(r.code, 0);
        const auto steps = r.lines();
        QCOMPARE(steps.size(), 4);
        QCOMPARE(steps[0]["new_blocks"].toArray(), (QJsonArray{1, 2, 3, 4}));
        QCOMPARE(steps[1]["hit_tokens"].toInt(), 48);
        QCOMPARE(steps[1]["block_table"].toArray(), (QJsonArray{1, 2, 3, 5}));
        QCOMPARE(steps[3]["eviction_order"].toArray(), (QJsonArray{5, 4, 6, 7, 8, 9, 10, 3, 2, 1}));
    }

    void runServesArrivalsAndSamples()
    {
        const QString requests = write("requests.jsonl",
            R"({"at_ms":0,"id":"a","prompt":"One two three four five six seven","max_tokens":6,"ignore_eos":true})" "\n"
            R"({"at_ms":5,"id":"b","prompt":"Eight nine ten","max_tokens":5,"n":3,"ignore_eos":true})" "\n");
        const Ran r = run({"run", m_llama, "--requests", requests, "--json", "--profile", path("p5"), "--kv-blocks", "128"});
        QCOMPARE(r.code, 0);
        const auto lines = r.lines();
        QCOMPARE(lines.size(), 5);
        for (const char *key : {"id", "queued_ms", "ttft_ms", "tpot_ms", "itl_ms", "cached_tokens", "computed_tokens",
                                "recomputed_tokens", "preempted", "swapped_blocks", "tokens", "finish_reason"})
            QVERIFY2(lines[0].contains(key), key);
        const QJsonObject summary = lines.last()["summary"].toObject();
        QCOMPARE(summary["requests"].toInt(), 4);
        for (const char *key : {"wall_s", "prompt_tokens_per_s", "decode_tokens_per_s", "ttft_ms", "tpot_ms", "itl_ms",
                                "hit_ratio", "evictions", "regretted_evictions", "preemptions"})
            QVERIFY2(summary.contains(key), key);
    }

    void runCountsWhatMeetsItsObjectives()
    {
        const QString requests = write("slo.jsonl",
            R"({"id":1,"session":"s","weight":2.5,"priority":1,"salt":"x","prompt":"One two three","max_tokens":4,"ignore_eos":true})" "\n"
            R"({"id":2,"session":7,"messages":[{"role":"user","content":"Four"}],"max_tokens":4,"ignore_eos":true})" "\n"
            R"({"id":3,"tokens":[5,6,7],"max_tokens":4,"ignore_eos":true})" "\n");
        const auto goodput = [&](const QStringList &more) {
            const Ran r = run(QStringList{"run", m_llama, "--requests", requests, "--json", "--no-cache", "--kv-blocks", "64"} + more);
            return r.code == 0 ? r.lines().last()["summary"].toObject().value("goodput_per_s") : QJsonValue(r.err.constData());
        };
        QVERIFY(goodput({}).isUndefined());
        QVERIFY(goodput({"--slo-ttft", "1e8", "--slo-tpot", "1e8", "--slo-itl", "1e8"}).toDouble() > 0);
        QCOMPARE(goodput({"--slo-ttft", "1e-6"}).toDouble(-1), 0.0);
    }

    void runRefusesABadRequestBeforeAnyRuns_data()
    {
        QTest::addColumn<QString>("field");
        for (const char *field : {R"("weight":0)", R"("weight":-1)", R"("weight":"heavy")", R"("session":["a"])",
                                  R"("ignore_eos":1)", R"("salt":3.5)", R"("at_ms":-1)", R"("max_tokens":1e99)",
                                  R"("n":100000)", R"("priority":-3)", R"("tokens":[999999])", R"("tokens":[])"})
            QTest::newRow(field) << field;
    }
    void runRefusesABadRequestBeforeAnyRuns()
    {
        QFETCH(QString, field);
        const QString prompt = field.startsWith("\"tokens") ? QString() : QStringLiteral(R"(,"prompt":"x")");
        const QString requests = write("bad.jsonl", ("{\"id\":1,\"prompt\":\"One\",\"max_tokens\":1}\n{" + field + prompt + "}\n").toUtf8());
        const Ran r = run({"run", m_llama, "--requests", requests, "--json", "--profile", path("never")});
        QVERIFY2(r.code == 2, r.err);
        QVERIFY(r.out.isEmpty());
        QCOMPARE(r.err.count('\n'), 1);
        QVERIFY(!QDir(path("never")).exists());
    }

    void aRefusedTurnLeavesNothingBehind()
    {
        const QString big = write("big.json", "[{\"role\":\"user\",\"content\":\"" + QByteArray(9000, 'x') + "\"}]");
        const QString small = write("small.json", R"([{"role":"user","content":"Hi"}])");
        const QStringList named{"--session", "job", "--max-tokens", "2"};
        for (const QStringList &bad : {QStringList{"--messages", big}, QStringList{"--messages", small, "--kv-blocks", "1"}}) {
            const Ran r = run(QStringList{"generate", m_llama, "--json", "--profile", path("clean")} + bad + named);
            QVERIFY2(r.code == 2, r.err);
            QCOMPARE(r.err.count('\n'), 1);
            QVERIFY(!QDir(path("clean")).exists());
        }
        QCOMPARE(run(generate("used", QStringList{"--messages", small, "--session", "first", "--max-tokens", "2"})).code, 0);
        QCOMPARE(run(generate("used", QStringList{"--messages", big} + named)).code, 2);
        const auto sessions = [&] {
            return run({"session", "list", "--json", "--profile", path("used")}).json()["sessions"].toArray();
        };
        QCOMPARE(sessions().size(), 1);
        QCOMPARE(sessions()[0].toObject()["id"].toString(), QString("first"));
        // A session that is there stays as it was.
        QCOMPARE(run(generate("used", QStringList{"--messages", big, "--session", "first", "--max-tokens", "2"})).code, 2);
        QCOMPARE(sessions()[0].toObject()["messages"].toInt(), 2);
    }

    void aTraceIsReplayedUnderEachPolicy()
    {
        QByteArray trace;
        kvilt::test::Random random(5);
        for (int i = 0; i < 300; ++i) {
            const int chat = int(random.below(12));
            trace += "{\"timestamp\":0,\"input_length\":48,\"output_length\":1,\"hash_ids\":[0," +
                     QByteArray::number(100 + chat) + "," + QByteArray::number(1000 + chat * 50 + int(random.below(4))) + "]}\n";
        }
        const QString file = write("trace.jsonl", trace);
        double best = 0;
        for (const char *policy : {"belady", "lru", "fifo", "lfu"}) {
            const Ran r = run({"replay", "--trace", file, "--blocks", "20", "--policy", policy, "--json"});
            QVERIFY2(r.code == 0, r.err);
            for (const char *key : {"requests", "blocks_referenced", "hit_ratio", "infinite_hit_ratio", "optimal_hit_ratio",
                                    "evictions", "regretted_evictions", "ns_per_block"})
                QVERIFY2(r.json().contains(key), key);
            QCOMPARE(r.json()["blocks_referenced"].toInt(), 900);
            best = best > 0 ? best : r.json()["hit_ratio"].toDouble();
            QCOMPARE(r.json()["optimal_hit_ratio"].toDouble(), best);
            QVERIFY(r.json()["hit_ratio"].toDouble() <= best);
        }
    }

    void benchPrintsALineATest()
    {
        const Ran r = run({"bench", m_llama, "-p", "32", "-n", "8", "-d", "0,64", "-b", "1,2", "-r", "1", "--restore",
                           "--json", "--threads", "1", "--report", path("report.md")});
        QCOMPARE(r.code, 0);
        const auto lines = r.lines();
        QCOMPARE(lines.size(), 9 + 1); // 2 depths × 2 batches × 2 tests, and two restores
        for (const QJsonObject &line : lines)
            for (const char *key : {"test", "depth", "batch", "tokens_per_s", "limit_share", "limits", "machine"})
                QVERIFY2(line.contains(key), key);
        for (const QJsonObject &line : lines) {
            if (line["test"].toString() == "restore")
                continue;
            const QJsonObject phases = line["phases"].toObject();
            const double sum = phases["gemm"].toDouble() + phases["attention"].toDouble() + phases["other"].toDouble();
            QVERIFY(std::abs(sum - 1) < 0.002); // each is rounded to a thousandth
            QCOMPARE(line.contains("gemm_share"), line["test"].toString() == "pp32"); // decoding is not bound by computing
        }
        QCOMPARE(lines[0]["test"].toString(), QString("pp32"));
        QVERIFY(lines[0]["tokens_per_s"].toObject()["median"].toDouble() > 0);
        QVERIFY(QFile::exists(path("report.md")));
    }

    void benchPairsShuffledWithAdjacentBlocks()
    {
        const QStringList base{"bench", m_llama, "-n", "4", "-d", "33", "--threads", "1", "--json", "--paging"};
        const Ran r = run(base + QStringList{"-r", "5"});
        QVERIFY2(r.code == 0, r.err);
        const auto lines = r.lines();
        QCOMPARE(lines.size(), 1);
        QCOMPARE(lines[0]["test"].toString(), QString("paging"));
        QCOMPARE(lines[0]["pairs"].toInt(), 5);
        QCOMPARE(lines[0]["depth"].toInt(), 33);
        QVERIFY(lines[0].contains("limits"));
        const QJsonObject slower = lines[0]["slower_percent"].toObject();
        QVERIFY(slower["low"].toDouble() < slower["mean"].toDouble() && slower["mean"].toDouble() < slower["high"].toDouble());

        const Ran few = run(base + QStringList{"-r", "4"});
        QCOMPARE(few.code, 2);
        QVERIFY2(few.err.contains("-r must be 5 or more"), few.err);
        QCOMPARE(run(base + QStringList{"-r", "5", "--restore"}).code, 2);
        QCOMPARE(run(base + QStringList{"-r", "5", "-b", "2"}).code, 2);
    }

    void benchRunsAPeerInTurns()
    {
        const QString peer = write("llama-bench", "#!/bin/sh\necho run >> \"$(dirname \"$0\")/peer.log\"\n"
                                                  "case \"$*\" in *q8_0*) echo '[{\"avg_ts\": 12.5}]';; *) echo '[{\"avg_ts\": 10.0}]';; esac\n");
        QVERIFY(QFile::setPermissions(peer, QFile::ReadOwner | QFile::ExeOwner));
        const Ran r = run({"bench", m_llama, "-p", "16", "-n", "0", "-r", "3", "--threads", "1", "--json",
                           "--baseline", peer});
        QVERIFY2(r.code == 0, r.err);
        const QJsonObject line = r.lines()[0];
        QCOMPARE(line["baseline"].toObject()["tokens_per_s"].toObject()["median"].toDouble(), 12.5); // its better one
        QCOMPARE(line["baseline"].toObject()["kv_type"].toString(), QString("q8_0"));
        QCOMPARE(line["baseline"].toObject()["kv_types"].toObject()["f16"].toDouble(), 10.0);
        QVERIFY(line["baseline"].toObject()["ratio"].toDouble() > 0);
        QFile log(path("peer.log"));
        QVERIFY(log.open(QIODevice::ReadOnly));
        QCOMPARE(log.readAll().count('\n'), 2 * 3);
    }

    void refusesBadInputWithOneSentence_data()
    {
        QTest::addColumn<QStringList>("arguments");
        const QStringList base{"generate", m_llama, "--no-cache"};
        const QStringList prompt{"--tokens-file", tokensFile(5)};
        auto row = [&](const char *name, const QStringList &more) { QTest::newRow(name) << base + more; };
        row("no prompt", {});
        row("missing prompt file", {"--prompt-file", path("nowhere")});
        row("folder as prompt", {"--prompt-file", m_folder.path()});
        row("tokens are no array", {"--tokens-file", write("bad1.json", "{}")});
        row("id out of range", {"--tokens-file", write("bad2.json", "[999999]")});
        row("negative id", {"--tokens-file", write("bad3.json", "[-1]")});
        row("fractional id", {"--tokens-file", write("bad4.json", "[1.5]")});
        row("2^63", {"--tokens-file", write("bad5.json", "[9223372036854775808]")});
        row("deep JSON", {"--tokens-file", write("bad6.json", QByteArray(100000, '['))});
        row("empty prompt", {"--tokens-file", write("bad7.json", "[]")});
        row("longer than the context", {"--tokens-file", tokensFile(2049)});
        row("NaN temperature", prompt + QStringList{"--temp", "nan"});
        row("infinite temperature", prompt + QStringList{"--temp", "inf"});
        row("temperature 1e308", prompt + QStringList{"--temp", "1e308"});
        row("negative top-p", prompt + QStringList{"--top-p", "-0.1"});
        row("negative max tokens", prompt + QStringList{"--max-tokens", "-1"});
        row("max tokens 2^63", prompt + QStringList{"--max-tokens", "9223372036854775808"});
        row("threads -1", prompt + QStringList{"--threads", "-1"});
        row("threads 10^6", prompt + QStringList{"--threads", "1000000"});
        row("block size 24", prompt + QStringList{"--block-size", "24"});
        row("kv blocks 1", prompt + QStringList{"--kv-blocks", "1"});
        row("kv blocks beyond memory", prompt + QStringList{"--kv-blocks", "2000000000"});
        row("kv memory of words", prompt + QStringList{"--kv-memory", "much"});
        row("unknown kv type", prompt + QStringList{"--kv-type", "f17"});
        row("unknown policy", prompt + QStringList{"--policy", "magic"});
        row("seed beyond 64 bits", prompt + QStringList{"--seed", "99999999999999999999999"});
        row("seed of words", prompt + QStringList{"--seed", "twelve"});
        row("max tokens 2^64", prompt + QStringList{"--max-tokens", "18446744073709551616"});
        row("empty profile", prompt + QStringList{"--profile", ""});
        row("empty session", {"--messages", write("ok.json", R"([{"role":"user","content":"x"}])"), "--session", ""});
        row("two sizes of the pool", prompt + QStringList{"--kv-blocks", "64", "--kv-memory", "1GiB"});
        row("unknown option", prompt + QStringList{"--frobnicate"});
        row("cuda", prompt + QStringList{"--backend", "cuda"});
        row("messages of an unknown role", {"--messages", write("bad8.json", R"([{"role":"wizard","content":"x"}])")});
        row("messages that are no JSON", {"--messages", write("bad9.json", "hello")});
        QTest::newRow("no such model") << QStringList{"generate", path("nowhere.gguf"), "--prompt-file", path("x")};
        QTest::newRow("not a model") << QStringList{"info", write("junk.gguf", "GGUFjunk")};
        QTest::newRow("vocabulary alone does not run") << QStringList{"info", m_vocabulary};
        QTest::newRow("unknown command") << QStringList{"dance"};
        QTest::newRow("no command") << QStringList{};
        QTest::newRow("bench at no depth") << QStringList{"bench", m_llama, "-d", "x"};
        QTest::newRow("baseline that is not there") << QStringList{"bench", m_llama, "--baseline", path("nowhere")};
        QTest::newRow("nothing to measure") << QStringList{"bench", m_llama, "-p", "0", "-n", "0"};
        const auto requests = [&](const char *name, const QByteArray &lines) {
            QTest::newRow(name) << QStringList{"run", m_llama, "--no-cache", "--requests",
                                               write(QString("bad-%1.jsonl").arg(name).replace(' ', '-'), lines)};
        };
        requests("negative weight", R"({"tokens":[5,6],"weight":-1})");
        requests("prompt and tokens", R"({"tokens":[5,6],"prompt":"x"})");
        requests("the same id twice", R"({"id":1,"tokens":[5,6]})" "\n" R"({"id":1,"tokens":[5,6]})");
        requests("no tokens at all", R"({"tokens":[]})");
        const QString loop = path("loop");
        if (!QFileInfo(loop).isSymLink())
            QVERIFY(QFile::link("loop", loop));
        QTest::newRow("info of a link to itself") << QStringList{"info", loop};
        QTest::newRow("import of a folder") << QStringList{"session", "import", m_folder.path()};
        QTest::newRow("import of a device") << QStringList{"session", "import", "/dev/null"};
        QTest::newRow("import without messages") << QStringList{"session", "import", write("none.json", "[]")};
        QTest::newRow("import of junk") << QStringList{"session", "import", write("junk.kvilt", "KVILT or so")};
        QTest::newRow("events to nowhere") << QStringList{"events", "export", "/nowhere/e", "--profile", path("devices")};
        QTest::newRow("script that is not there") << QStringList{"replay", "--script", path("nowhere")};
    }
    void refusesBadInputWithOneSentence()
    {
        QFETCH(QStringList, arguments);
        const Ran r = run(arguments, {"HOME=" + m_folder.path()});
        QVERIFY2(r.code == 2, r.err);
        QVERIFY(r.out.isEmpty());
        QCOMPARE(r.err.count('\n'), 1);
        QVERIFY(r.err.size() > 20);
    }

    void whatSteersATerminalIsShownInALine()
    {
        const QString file = write("a\x1b[31mred.json", R"([{"role":"user","content":"hi"}])"); // the title is the file's name
        QCOMPARE(run({"session", "import", file, "--profile", path("steers")}).code, 0);
        const Ran listed = run({"session", "list", "--profile", path("steers")});
        QVERIFY(!listed.out.contains('\x1b'));
        QVERIFY2(listed.out.contains("a\xE2\x9F\xA8U+001B\xE2\x9F\xA9[31mred"), listed.out.constData());
        QCOMPARE(listed.out.count('\n'), 1);
    }

    void forcedInstructionSets()
    {
        const QStringList more{"--tokens-file", tokensFile(40), "--max-tokens", "6", "--no-cache"};
        const Ran best = run(generate("p6", more));
        const Ran scalar = run(generate("p6", more), {"KVILT_FORCE_ISA=scalar"});
        QCOMPARE(scalar.code, 0);
        QCOMPARE(scalar.json()["tokens"], best.json()["tokens"]);
        const Ran unknown = run(generate("p6", more), {"KVILT_FORCE_ISA=mmx"});
        QCOMPARE(unknown.code, 2);
        QCOMPARE(unknown.err.count('\n'), 1);
    }

    void realModelsRestoreInANewProcess_data()
    {
        QTest::addColumn<QString>("model");
        QTest::addColumn<int>("kvBytes");
        QTest::newRow("SmolLM2 135M") << realModel("smollm2-135m-instruct-q4_1.gguf") << 23040;
        QTest::newRow("Gemma 3 270M") << realModel("gemma-3-270m-q4_k_m.gguf") << 18432;
    }
    void realModelsRestoreInANewProcess()
    {
        QFETCH(QString, model);
        QFETCH(int, kvBytes);
        if (!QFile::exists(model))
            QSKIP("this model is not on this machine");
        QCOMPARE(run({"info", model, "--json"}).json()["kv_bytes_per_token"].toInt(), kvBytes);
        const QStringList arguments{"generate", model, "--json", "--profile", path("real"), "--tokens-file",
                                    tokensFile(70, 5), "--max-tokens", "8", "--logprobs", "5", "--ignore-eos"};
        const Ran first = run(arguments);
        QVERIFY2(first.code == 0, first.err);
        const Ran second = run(arguments);
        QCOMPARE(second.json()["usage"].toObject()["cached_tokens"].toInt(), 64);
        QCOMPARE(second.json()["tokens"], first.json()["tokens"]);
        QCOMPARE(second.json()["logprobs"], first.json()["logprobs"]);
    }
};

KVILT_TEST_CLASS(CliContractTest)
#include "tst_cli_contract.moc"
