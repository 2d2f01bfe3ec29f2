// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/kernel_table.h"
#include "tests/support/test_registry.h"

#include <QTest>

using namespace kvilt::kernels;

class SelectTest : public QObject {
    Q_OBJECT
private slots:
    void forcesTheNamedTableAndTakesTheBestOtherwise()
    {
        for (const KernelTable *table : availableKernels()) {
            const auto chosen = selectKernels(table->name);
            QVERIFY(std::holds_alternative<const KernelTable *>(chosen));
            QCOMPARE(std::get<const KernelTable *>(chosen), table);
        }
        QCOMPARE(std::get<const KernelTable *>(selectKernels("")), availableKernels().back());
        QCOMPARE(QString(availableKernels().front()->name), QString("scalar"));
    }

    void unknownNamesAreErrorsThatSayWhatThereIs()
    {
        const auto chosen = selectKernels("neon");
        QVERIFY(std::holds_alternative<std::string>(chosen));
        QVERIFY(std::get<std::string>(chosen).find("scalar") != std::string::npos);
        QVERIFY(std::get<std::string>(chosen).find("neon") != std::string::npos);
    }

    void aMatrixUnitIsNeverChosenWhereThereIsNone()
    {
        const bool has = __builtin_cpu_supports("amx-int8") && __builtin_cpu_supports("amx-tile");
        const auto chosen = selectKernels("amx");
        if (const auto *table = std::get_if<const KernelTable *>(&chosen)) {
            QVERIFY(has);
            QCOMPARE(QString((*table)->name), QString("amx"));
            return;
        }
        // Without it, or where the system does not lend its registers.
        QVERIFY(std::get<std::string>(chosen).starts_with("KVILT_FORCE_ISA names \"amx\", which this machine cannot run; choose one of: scalar"));
        for (const KernelTable *table : availableKernels())
            QVERIFY(QString(table->name) != QString("amx"));
    }

    void theEnvironmentForces()
    {
        qputenv("KVILT_FORCE_ISA", "scalar");
        QCOMPARE(std::get<const KernelTable *>(selectKernelsFromEnvironment()), availableKernels().front());
        qunsetenv("KVILT_FORCE_ISA");
        QCOMPARE(std::get<const KernelTable *>(selectKernelsFromEnvironment()), availableKernels().back());
    }
};

KVILT_TEST_CLASS(SelectTest)
#include "tst_select.moc"
