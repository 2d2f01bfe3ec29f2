// SPDX-License-Identifier: Apache-2.0
// Runs the registered Qt Test classes: all of them, or those named by --class X (repeatable). Other
// arguments go to Qt Test (a function name, -v2, ...).
#include "tests/support/child_process.h"
#include "tests/support/test_registry.h"

#ifdef KVILT_TEST_WIDGETS
#include <QApplication>
using Application = QApplication;
#else
#include <QCoreApplication>
using Application = QCoreApplication;
#endif
#include <QTest>

#include <cstdio>

namespace kvilt::test {
std::vector<TestClass> &testClasses()
{
    static std::vector<TestClass> classes;
    return classes;
}
} // namespace kvilt::test

int main(int argc, char **argv)
{
    if (const int code = kvilt::test::runAsChild(argc, argv); code >= 0)
        return code;
    Application app(argc, argv);
    QStringList wanted;
    QStringList rest{QString::fromLocal8Bit(argv[0])};
    for (int i = 1; i < argc; ++i) {
        if (qstrcmp(argv[i], "--class") == 0 && i + 1 < argc)
            wanted << QString::fromLocal8Bit(argv[++i]);
        else
            rest << QString::fromLocal8Bit(argv[i]);
    }
    int failures = 0;
    int ran = 0;
    for (const auto &entry : kvilt::test::testClasses()) {
        if (!wanted.isEmpty() && !wanted.contains(QString::fromStdString(entry.name)))
            continue;
        failures += QTest::qExec(entry.make().get(), rest) == 0 ? 0 : 1;
        ++ran;
    }
    if (ran == 0) {
        std::fprintf(stderr, "no test class matches\n");
        return 2;
    }
    return failures == 0 ? 0 : 1;
}
