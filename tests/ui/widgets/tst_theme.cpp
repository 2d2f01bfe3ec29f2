// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/style_sheet.h"
#include "ui/widgets/theme.h"

#include <QDir>
#include <QSignalSpy>
#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;

class ThemeTest : public QObject {
    Q_OBJECT
private slots:
    void textIsReadableInBothThemes_data()
    {
        QTest::addColumn<bool>("dark");
        QTest::newRow("light") << false;
        QTest::newRow("dark") << true;
    }
    void textIsReadableInBothThemes()
    {
        QFETCH(bool, dark);
        const Palette &p = dark ? darkPalette() : lightPalette();
        for (const QColor &ground : {p.window, p.surface, p.tint, p.selection}) {
            QVERIFY(contrastRatio(p.text, ground) >= 7);
            QVERIFY(contrastRatio(p.secondary, ground) >= 4.5);
            QVERIFY(contrastRatio(p.tertiary, ground) >= 3);
        }
        for (const QColor &ground : {p.window, p.surface}) {
            QVERIFY(contrastRatio(p.saved, ground) >= 4.5);
            QVERIFY(contrastRatio(p.lost, ground) >= 4.5);
            QVERIFY(contrastRatio(p.accent, ground) >= 4.5);
        }
        QVERIFY(contrastRatio(p.onAccent, p.accent) >= 4.5);
        QVERIFY(contrastRatio(p.surface, p.strongFill) >= 7);
    }

    void contrastIsThatOfTheStandard()
    {
        QVERIFY(std::abs(contrastRatio(Qt::black, Qt::white) - 21) < 0.01);
        QVERIFY(std::abs(contrastRatio(QColor(0x77, 0x77, 0x77), Qt::white) - 4.48) < 0.01);
    }

    void statesKeepTheirColours()
    {
        QCOMPARE(stateColour(api::BlockState::inUse).name(), "#0072b2");
        QCOMPARE(stateColour(api::BlockState::deadBranch).name(), "#d55e00");
        QCOMPARE(ribbonColour(api::RibbonState::shared).name(), "#009e73");
    }

    void followsTheSystemUntilTheUserChooses()
    {
        Theme theme;
        QSignalSpy changed(&theme, &Theme::changed);
        theme.setSystemDark(true);
        QVERIFY(theme.palette().dark);
        theme.setChoice(ThemeChoice::light);
        QVERIFY(!theme.palette().dark);
        theme.setSystemDark(false);
        theme.setSystemDark(true);
        QVERIFY(!theme.palette().dark);
        theme.setChoice(ThemeChoice::system);
        QVERIFY(theme.palette().dark);
        QCOMPARE(changed.size(), 3);
    }

    void theStyleSheetHasAColourForEveryName()
    {
        QVERIFY(!styleSheet(lightPalette()).contains('@'));
        QVERIFY(!styleSheet(darkPalette()).contains('@'));
    }

    void everyIconIsDrawnInTheWantedColour()
    {
        QVERIFY(icon("no-such-icon", Qt::red).isNull());
        const QStringList files = QDir(QStringLiteral(KVILT_SOURCE_DIR) + "/resources/icons").entryList({"*.svg"});
        QVERIFY(files.size() > 25);
        for (const QString &file : files) {
            const QImage image = iconPixmap(file.chopped(4), QColor(255, 0, 0), 32, 1).toImage();
            int inked = 0;
            for (int y = 0; y < image.height(); ++y)
                for (int x = 0; x < image.width(); ++x)
                    inked += qAlpha(image.pixel(x, y)) > 128 ? 1 : 0;
            QVERIFY2(inked > 20, qPrintable(file));
        }
    }
};

KVILT_TEST_CLASS(ThemeTest)
#include "tst_theme.moc"
