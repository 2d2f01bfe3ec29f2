// SPDX-License-Identifier: Apache-2.0
#include "engine/support/memory.h"
#include "tests/support/test_registry.h"

#include <QDir>
#include <QTemporaryDir>
#include <QTest>

#include <fstream>

using namespace kvilt;

class MemoryTest : public QObject {
    Q_OBJECT

    static constexpr std::uint64_t kMiB = 1 << 20;

    static void write(const std::filesystem::path &file, const std::string &text)
    {
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }
    struct Machine { // 1,000 MiB available, version 2 of control groups
        QTemporaryDir folder;
        std::filesystem::path proc = folder.filePath("proc").toStdString(), groups = folder.filePath("cg").toStdString();
        explicit Machine(const std::string &cgroup)
        {
            write(proc / "meminfo", "MemTotal:  9999999 kB\nMemFree: 5 kB\nMemAvailable:  1024000 kB\nBuffers: 7 kB\n");
            write(proc / "self" / "cgroup", cgroup);
        }
        std::uint64_t available() const { return availableMemory(proc, groups); }
    };

private slots:
    void isWhatTheKernelCallsAvailable()
    {
        const Machine free("0::/user.slice\n");
        QCOMPARE(free.available(), 1000 * kMiB);
        write(free.groups / "user.slice" / "memory.max", "max\n");
        write(free.groups / "user.slice" / "memory.current", "5000\n");
        QCOMPARE(free.available(), 1000 * kMiB);
        QVERIFY(availableMemory() > 0); // this machine's
    }

    void aGroupLeavesLess()
    {
        const Machine m("0::/machine/box\n");
        write(m.groups / "machine" / "memory.max", std::to_string(900 * kMiB));
        write(m.groups / "machine" / "memory.current", std::to_string(100 * kMiB));
        QCOMPARE(m.available(), 800 * kMiB); // the parent's limit counts
        write(m.groups / "machine" / "box" / "memory.max", std::to_string(300 * kMiB));
        write(m.groups / "machine" / "box" / "memory.current", std::to_string(250 * kMiB));
        QCOMPARE(m.available(), 50 * kMiB);
        write(m.groups / "machine" / "box" / "memory.stat", "anon 5\ninactive_file " + std::to_string(150 * kMiB) + "\nslab 9\n");
        QCOMPARE(m.available(), 200 * kMiB); // page cache gives way
        write(m.groups / "machine" / "box" / "memory.current", std::to_string(900 * kMiB));
        QCOMPARE(m.available(), std::uint64_t(0)); // over the limit already
    }

    void theRootOfAContainerIsItsOwnGroup()
    {
        const Machine m("0::/not/seen/from/here\n");
        write(m.groups / "memory.max", std::to_string(64 * kMiB));
        write(m.groups / "memory.current", std::to_string(4 * kMiB));
        QCOMPARE(m.available(), 60 * kMiB);
    }

    void versionOneCountsToo()
    {
        const Machine m("5:cpu,cpuacct:/x\n4:memory:/box\n");
        write(m.groups / "memory" / "box" / "memory.limit_in_bytes", std::to_string(200 * kMiB));
        write(m.groups / "memory" / "box" / "memory.usage_in_bytes", std::to_string(120 * kMiB));
        write(m.groups / "memory" / "box" / "memory.stat", "total_inactive_file " + std::to_string(20 * kMiB) + "\n");
        QCOMPARE(m.available(), 100 * kMiB);
        write(m.groups / "memory" / "box" / "memory.limit_in_bytes", "9223372036854771712"); // none, as version 1 says it
        QCOMPARE(m.available(), 1000 * kMiB);
    }

    void nonsenseIsNoLimit()
    {
        const Machine m("0::/box\nno colons\n::\n");
        write(m.groups / "box" / "memory.max", "-7");
        write(m.groups / "box" / "memory.current", "99999999999999999999999");
        QCOMPARE(m.available(), 1000 * kMiB);
        QVERIFY(availableMemory(m.proc / "missing", m.groups) > 0); // no /proc at all
    }
};

KVILT_TEST_CLASS(MemoryTest)
#include "tst_memory.moc"
