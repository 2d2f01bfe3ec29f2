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
