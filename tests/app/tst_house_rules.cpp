// SPDX-License-Identifier: Apache-2.0
// The lines that keep the house apart (CONTRIBUTING.md, "The tour"): dependencies run kernels <- engine <- app -> ui,
// Qt, SQLite and CUDA each stay in their rooms, and each file names its licence.
#include "tests/support/test_registry.h"

#include <QDirIterator>
#include <QFile>
#include <QRegularExpression>
#include <QTest>

#include <functional>

namespace {

const QString kRoot = QStringLiteral(KVILT_SOURCE_DIR);

QStringList sources(const QStringList &folders)
{
    QStringList files;
    for (const QString &folder : folders) {
        QDirIterator it(kRoot + '/' + folder, {"*.h", "*.cpp", "*.inl", "*.cu", "*.cuh"}, QDir::Files,
                        QDirIterator::Subdirectories);
        while (it.hasNext())
            files << it.next().mid(kRoot.size() + 1);
    }
    files.sort();
    return files;
}

QString contents(const QString &file)
{
    QFile f(kRoot + '/' + file);
    return f.open(QIODevice::ReadOnly) ? QString::fromUtf8(f.readAll()) : QString();
}

// "file: header" for each include of `files` that `forbidden` matches.
QStringList crossings(const QStringList &files, const std::function<bool(const QString &, const QString &)> &forbidden)
{
    static const QRegularExpression include("^\\s*#\\s*include\\s*[<\"]([^>\"]+)[>\"]",
                                            QRegularExpression::MultilineOption);
    QStringList found;
    for (const QString &file : files) {
        for (auto it = include.globalMatch(contents(file)); it.hasNext();) {
            const QString header = it.next().captured(1);
            if (forbidden(file, header))
                found << file + ": " + header;
        }
    }
    return found;
}

bool isQt(const QString &header)
{
    static const QRegularExpression qt("^(Q[A-Z]|Qt[A-Z]|qcustomplot)");
    return qt.match(header).hasMatch();
}

} // namespace

class HouseRulesTest : public QObject {
    Q_OBJECT
private slots:
    void theCoreKnowsNothingOfQt()
    {
        const auto files = sources({"engine", "kernels", "app/cli", "app/worker", "app/settings"});
        QVERIFY(files.size() > 20);
        QCOMPARE(crossings(files, [](auto &, auto &header) { return isQt(header); }), QStringList());
    }

    void kernelsStandAlone()
    {
        QCOMPARE(crossings(sources({"kernels"}),
                           [](auto &, auto &header) {
                               return header.startsWith("engine/") || header.startsWith("app/") || header.startsWith("ui/");
                           }),
                 QStringList());
    }

    void theEngineKnowsNeitherAppNorUi()
    {
        QCOMPARE(crossings(sources({"engine"}),
                           [](auto &, auto &header) { return header.startsWith("app/") || header.startsWith("ui/"); }),
                 QStringList());
    }

    void theWindowSeesOnlyValueTypes()
    {
        QCOMPARE(crossings(sources({"ui"}),
                           [](auto &, auto &header) {
                               return header.startsWith("app/") || header.startsWith("kernels/") ||
                                      (header.startsWith("engine/") && !header.startsWith("engine/api/"));
                           }),
                 QStringList());
    }

    void sqliteStaysInItsRoom()
    {
        QCOMPARE(crossings(sources({"engine", "kernels", "app", "ui"}),
                           [](const QString &file, auto &header) {
                               return header == "sqlite3.h" && !file.startsWith("engine/store/");
                           }),
                 QStringList());
    }

    void cudaStaysInItsRooms()
    {
        QCOMPARE(crossings(sources({"engine", "kernels", "app", "ui"}),
                           [](const QString &file, const QString &header) {
                               return (header.startsWith("cuda") || header.startsWith("cublas")) &&
                                      !file.startsWith("kernels/cuda/") && !file.startsWith("engine/backend/cuda_");
                           }),
                 QStringList());
    }

    void eachFileNamesItsLicence()
    {
        QStringList wrong;
        for (const QString &file : sources({"engine", "kernels", "app", "ui", "tests"})) {
            const QString first = contents(file).section('\n', 0, 0);
            const bool gui = file.startsWith("ui/") || file == "app/main.cpp" || file.startsWith("app/gui/");
            const QString wanted = gui ? "GPL-3.0-or-later" : "Apache-2.0";
            const bool either = file.startsWith("tests/ui/") || file.startsWith("tests/bench/");
            if (!first.contains("SPDX-License-Identifier: " + wanted) && !(either && first.contains("SPDX-License-Identifier: ")))
                wrong << file;
        }
        QCOMPARE(wrong, QStringList());
    }

    // The checks above must be able to fail.
    void seesACrossing()
    {
        QCOMPARE(crossings({"tests/app/tst_house_rules.cpp"}, [](auto &, auto &header) { return isQt(header); }).size(), 4);
    }
};

KVILT_TEST_CLASS(HouseRulesTest)
#include "tst_house_rules.moc"
