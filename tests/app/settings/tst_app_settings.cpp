// SPDX-License-Identifier: Apache-2.0
#include "app/settings/settings.h"
#include "app/settings/settings_json.h"
#include "tests/support/test_registry.h"

#include <QTemporaryDir>
#include <QTest>

#include <csignal>
#include <sys/resource.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <limits>

using namespace kvilt;
using namespace kvilt::settings;

class AppSettingsTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_folder;
    std::filesystem::path file() const { return std::filesystem::path(m_folder.path().toStdString()) / "a" / "settings.json"; }
    void write(const std::string &text) const
    {
        std::filesystem::create_directories(file().parent_path());
        std::ofstream(file()) << text;
    }

private slots:
    void givesDefaultsWithoutAFile()
    {
        QFile::remove(QString::fromStdString(file().string()));
        const auto loaded = loadSettings(file());
        QVERIFY(loaded.problems.empty());
        QCOMPARE(loaded.settings.engine.blockSize, 16);
        QCOMPARE(loaded.settings.newSession.sampling.topK, 40);
    }

    void comesBackAsItWasSaved()
    {
        AppSettings settings;
        settings.engine.kType = api::KvType::q8;
        settings.engine.kvMemory = 3ull << 30;
        settings.newSession.systemPrompt = "Brief, \"quoted\" and\nlong — ä";
        settings.newSession.sampling.seed = std::numeric_limits<std::uint64_t>::max();
        settings.newSession.sampling.stop = {"\n\n", "END"};
        settings.lastModel = "/m/a.gguf";
        settings.theme = Theme::dark;
        QVERIFY(saveSettings(file(), settings));
        const auto loaded = loadSettings(file());
        QVERIFY(loaded.problems.empty());
        QCOMPARE(loaded.settings.engine.kType, api::KvType::q8);
        QCOMPARE(loaded.settings.engine.vType, api::KvType::f16);
        QCOMPARE(loaded.settings.engine.kvMemory, 3ull << 30);
        QCOMPARE(loaded.settings.newSession.systemPrompt, settings.newSession.systemPrompt);
        QCOMPARE(loaded.settings.newSession.sampling.seed, settings.newSession.sampling.seed);
        QCOMPARE(loaded.settings.newSession.sampling.stop, settings.newSession.sampling.stop);
        QCOMPARE(loaded.settings.lastModel, settings.lastModel);
        QCOMPARE(loaded.settings.theme, Theme::dark);
    }

    void namesWhatItCannotUse_data()
    {
        QTest::addColumn<QString>("text");
        QTest::addColumn<QString>("problem");
        QTest::newRow("no JSON") << "{\"engine\":" << "not a JSON object";
        QTest::newRow("array") << "[]" << "not a JSON object";
        QTest::newRow("block size") << R"({"engine":{"block_size":17}})" << "power of two";
        QTest::newRow("huge number") << R"({"engine":{"threads":1000000}})" << "threads is 1e+06";
        QTest::newRow("policy") << R"({"engine":{"policy":"magic"}})" << "policy";
        QTest::newRow("temperature") << R"({"new_session":{"sampling":{"temperature":-1}}})" << "temperature is -1";
        QTest::newRow("infinite") << R"({"new_session":{"sampling":{"top_p":1e308}}})" << "top_p";
    }
    void namesWhatItCannotUse()
    {
        QFETCH(QString, text);
        QFETCH(QString, problem);
        write(text.toStdString());
        const auto loaded = loadSettings(file());
        QCOMPARE(loaded.problems.size(), std::size_t(1));
        QVERIFY2(QString::fromStdString(loaded.problems[0]).contains(problem), loaded.problems[0].c_str());
        QCOMPARE(loaded.settings.engine.blockSize, 16);
        QCOMPARE(loaded.settings.newSession.sampling.temperature, 0.7);
    }

    void aBadValueCostsNoOther()
    {
        write(R"({"engine":{"threads":3,"block_size":17,"kv_blocks":99},"last_model":"/m/b.gguf","theme":"dark",
                  "new_session":{"system_prompt":"Brief.","sampling":{"temperature":1e308,"top_k":7,"top_p":2}}})");
        const auto loaded = loadSettings(file());
        QCOMPARE(loaded.problems.size(), std::size_t(3));
        QCOMPARE(loaded.settings.engine.threads, 3);
        QCOMPARE(loaded.settings.engine.blockSize, 16);
        QCOMPARE(loaded.settings.engine.kvBlocks, std::uint64_t(99));
        QCOMPARE(loaded.settings.newSession.systemPrompt, std::string("Brief."));
        QCOMPARE(loaded.settings.newSession.sampling.temperature, 0.7);
        QCOMPARE(loaded.settings.newSession.sampling.topK, 7);
        QCOMPARE(loaded.settings.newSession.sampling.topP, api::SessionSettings{}.sampling.topP);
        QCOMPARE(loaded.settings.lastModel, std::string("/m/b.gguf"));
        QCOMPARE(loaded.settings.theme, Theme::dark);
        QVERIFY(std::filesystem::exists(file())); // a file that can be read stays where it is
    }

    // The next change is saved to a new file; what the user wrote can be had back.
    void setsADamagedFileAside()
    {
        const auto folder = file().parent_path();
        std::filesystem::remove_all(folder);
        for (const auto &[text, aside] : std::vector<std::pair<std::string, std::string>>{
                 {"{\"engine\":", "settings.json.damaged"}, {"[1]", "settings.json.damaged-2"}}) {
            write(text);
            const auto loaded = loadSettings(file());
            QCOMPARE(loaded.problems.size(), std::size_t(1));
            QVERIFY2(QString::fromStdString(loaded.problems[0]).contains(QString::fromStdString(aside) + " beside it"),
                     loaded.problems[0].c_str());
            QVERIFY(!std::filesystem::exists(file()));
            QVERIFY(saveSettings(file(), loaded.settings));
            std::ifstream kept(folder / aside);
            QCOMPARE(std::string(std::istreambuf_iterator<char>(kept), {}), text);
        }
    }

    void keepsTheDefaultForAWrongType()
    {
        write(R"({"engine":{"threads":"two","kv_blocks":-5,"kv_memory":1e300,"cache":"no"},"new_session":[],"theme":7})");
        const auto loaded = loadSettings(file());
        QVERIFY(loaded.problems.empty());
        QCOMPARE(loaded.settings.engine.threads, 0);
        QCOMPARE(loaded.settings.engine.kvBlocks, std::uint64_t(0));
        QCOMPARE(loaded.settings.engine.kvMemory, std::uint64_t(0));
        QCOMPARE(loaded.settings.engine.cache, true);
    }

    void refusesNumbersThatAreNone()
    {
        api::SamplingSettings sampling;
        sampling.temperature = std::nan("");
        QVERIFY(!validate(sampling));
        sampling.temperature = std::numeric_limits<double>::infinity();
        QVERIFY(!validate(sampling));
        sampling.temperature = 1;
        QVERIFY(validate(sampling));
    }

    void readsAmountsOfMemory()
    {
        QCOMPARE(*parseBytes("2GiB"), 2ull << 30);
        QCOMPARE(*parseBytes("512 MiB"), 512ull << 20);
        QCOMPARE(*parseBytes("1.5GB"), 1'500'000'000ull);
        QCOMPARE(*parseBytes("1000000"), 1'000'000ull);
        for (const char *bad : {"", "GiB", "-1", "nan", "inf", "1e30", "99999999999TiB", "5 apples"})
            QVERIFY2(!parseBytes(bad), bad);
    }

    void readsKvTypes()
    {
        api::EngineSettings settings;
        QVERIFY(parseKvType("bf16", settings));
        QCOMPARE(settings.kType, api::KvType::bf16);
        QCOMPARE(settings.vType, api::KvType::bf16);
        QVERIFY(parseKvType("k=q8,v=q4", settings));
        QCOMPARE(settings.kType, api::KvType::q8);
        QCOMPARE(settings.vType, api::KvType::q4);
        for (const char *bad : {"", "q9", "k=", "k=q8;v=q4", "x=f16"})
            QVERIFY2(!parseKvType(bad, settings), bad);
    }

    void leavesTheOldFileWhenTheNewOneCannotBeWritten()
    {
        AppSettings settings;
        settings.lastModel = "old";
        QVERIFY(saveSettings(file(), settings));
        settings.lastModel = "new";
        rlimit before{};
        QCOMPARE(::getrlimit(RLIMIT_FSIZE, &before), 0);
        const auto onExcess = std::signal(SIGXFSZ, SIG_IGN);
        const rlimit tiny{16, before.rlim_max}; // the write fails half way, as on a full disk
        QCOMPARE(::setrlimit(RLIMIT_FSIZE, &tiny), 0);
        const auto saved = saveSettings(file(), settings);
        ::setrlimit(RLIMIT_FSIZE, &before);
        std::signal(SIGXFSZ, onExcess);
        QVERIFY(!saved);
        QCOMPARE(int(saved.error().code), int(ErrorCode::full));
        QCOMPARE(loadSettings(file()).settings.lastModel, std::string("old"));
    }
};

KVILT_TEST_CLASS(AppSettingsTest)
#include "tst_app_settings.moc"
