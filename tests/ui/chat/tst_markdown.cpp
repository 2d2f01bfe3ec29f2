// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_registry.h"
#include "ui/chat/link_popover.h"
#include "ui/chat/markdown.h"

#include <QTest>

using namespace kvilt::ui;

namespace {

QString allText(const std::vector<RichBlock> &blocks)
{
    QStringList texts;
    for (const RichBlock &block : blocks)
        texts << block.content.text;
    return texts.join('\n');
}

std::uint8_t styleAt(const RichText &text, int position)
{
    for (const StyleRun &run : text.styles)
        if (position >= run.start && position < run.start + run.length)
            return run.style;
    return kPlain;
}

} // namespace

class MarkdownTest : public QObject {
    Q_OBJECT
private slots:
    void parsesTheUsualBlocks()
    {
        const auto blocks = parseMarkdown("# Title\n\nText **bold** and `code`.\n\n- one\n- two\n\n```python\nx = 1\n```\n", 0);
        QCOMPARE(blocks.size(), 5u);
        QCOMPARE(blocks[0].kind, BlockKind::heading);
        QCOMPARE(blocks[1].content.text, "Text bold and code.");
        QCOMPARE(int(styleAt(blocks[1].content, 6)), int(kBold));
        QCOMPARE(int(styleAt(blocks[1].content, 15)), int(kCode));
        QCOMPARE(blocks[2].marker, "•");
        QCOMPARE(blocks[3].content.text, "two");
        QVERIFY(blocks[3].tight);
        QCOMPARE(blocks[4].kind, BlockKind::code);
        QCOMPARE(blocks[4].language, "python");
        QCOMPARE(blocks[4].content.text, "x = 1");
    }

    void numbersOrderedLists()
    {
        const auto blocks = parseMarkdown("3. a\n4. b\n   - deep\n", 0);
        QCOMPARE(blocks[0].marker, "3.");
        QCOMPARE(blocks[1].marker, "4.");
        QCOMPARE(blocks[2].indent, 2);
    }

    void readsTables()
    {
        const auto blocks = parseMarkdown("| a | b |\n|---|--:|\n| 1 | **2** |\n", 0);
        QCOMPARE(blocks.size(), 1u);
        QCOMPARE(blocks[0].rows.size(), 2u);
        QCOMPARE(blocks[0].rows[1][1].text, "2");
        QCOMPARE(blocks[0].columns[1], Qt::Alignment(Qt::AlignRight));
    }

    void htmlStaysText()
    {
        const auto blocks = parseMarkdown("<script>alert(1)</script>\n\na <img src=\"http://x/y.png\"> b\n", 0);
        const QString text = allText(blocks);
        QVERIFY(text.contains("<script>alert(1)</script>"));
        QVERIFY(text.contains("<img src=\"http://x/y.png\">"));
    }

    void imagesAreTheirDescriptionAndAddress()
    {
        const auto blocks = parseMarkdown("![a cat](file:///etc/passwd)", 0);
        QCOMPARE(blocks[0].content.text, "[image: a cat](file:///etc/passwd)");
        QVERIFY(blocks[0].content.links.empty());
    }

    void linksKeepTheirTargetForAClick()
    {
        const auto blocks = parseMarkdown("[safe bank](http://evil.example)", 0);
        QCOMPARE(blocks[0].content.text, "safe bank");
        QCOMPARE(blocks[0].content.links.at(0), "http://evil.example");
    }

    void onlyWebAndMailOpen_data()
    {
        QTest::addColumn<QString>("target");
        QTest::addColumn<bool>("opens");
        QTest::newRow("https") << "https://example.org/a" << true;
        QTest::newRow("mail") << "mailto:a@example.org" << true;
        QTest::newRow("file") << "file:///etc/passwd" << false;
        QTest::newRow("script") << "javascript:alert(1)" << false;
        QTest::newRow("data") << "data:text/html,x" << false;
        QTest::newRow("none") << "README.md" << false;
        QTest::newRow("no host") << "http:///x" << false;
    }
    void onlyWebAndMailOpen()
    {
        QFETCH(QString, target);
        QFETCH(bool, opens);
        QCOMPARE(LinkPopover::opens(target), opens);
    }

    void bidirectionalControlsAreWrittenOut()
    {
        const auto blocks = parseMarkdown("abc\u202Edef\u2066 \u200Fx", 0);
        QCOMPARE(blocks[0].content.text, "abc⟨U+202E⟩def⟨U+2066⟩ ⟨U+200F⟩x");
        QCOMPARE(int(styleAt(blocks[0].content, 3)), int(kEscape));
        QVERIFY(LinkPopover::shown("http://a\u202Eb").contains("⟨U+202E⟩"));
    }

    void invalidBytesBecomeReplacementCharacters()
    {
        const auto blocks = parseMarkdown(std::string("a\xff\xfe z"), 0);
        QVERIFY(blocks[0].content.text.startsWith('a'));
        QVERIFY(blocks[0].content.text.contains(QChar(0xfffd)));
        QVERIFY(blocks[0].content.text.endsWith('z'));
    }

    void aTenMegabyteLineIsCutIntoPieces()
    {
        const std::string line(10 << 20, 'x');
        const auto blocks = parseMarkdown(line, 0);
        qsizetype total = 0;
        for (const RichBlock &block : blocks) {
            QVERIFY(block.content.text.size() <= kLongestPiece);
            total += block.content.text.size();
        }
        QCOMPARE(total, qsizetype(line.size()));
    }

    void deepNestingIsOnlyText()
    {
        const std::string quotes(20000, '>');
        const auto blocks = parseMarkdown(quotes + " end", 0);
        for (const RichBlock &block : blocks)
            QVERIFY(block.quote <= 12);
        std::string braces = "$";
        braces += std::string(100000, '{') + "x" + std::string(100000, '}') + "$";
        QVERIFY(!parseMarkdown(braces, 0).empty());
    }

    void charactersKnowTheirBytes()
    {
        const std::string source = "Zürich **läuft** weiter";
        const auto blocks = parseMarkdown(source, 100);
        const RichText &text = blocks[0].content;
        QCOMPARE(text.text, "Zürich läuft weiter");
        const int bold = int(text.text.indexOf("läuft"));
        QCOMPARE(text.byteAt(bold), std::int64_t(100 + source.find("läuft")));
        const auto begin = std::uint32_t(100 + source.find("weiter"));
        const auto [from, to] = text.charsOf(begin, begin + 6);
        QCOMPARE(text.text.mid(from, to - from), "weiter");
    }

    void mathIsReadable_data()
    {
        QTest::addColumn<QString>("tex");
        QTest::addColumn<QString>("shown");
        QTest::newRow("fraction") << "\\frac{a+b}{2}" << "(a+b)/2";
        QTest::newRow("power") << "x^2 + y_{10}" << "x² + y₁₀";
        QTest::newRow("greek") << "\\alpha \\leq \\pi" << "α ≤ π";
        QTest::newRow("root") << "\\sqrt{2x}" << "√(2x)";
        QTest::newRow("text") << "\\text{speed} = 3" << "speed = 3";
        QTest::newRow("unknown") << "\\foo{x}" << "foox";
        QTest::newRow("cut off") << "\\frac{1" << "1/";
    }
    void mathIsReadable()
    {
        QFETCH(QString, tex);
        QFETCH(QString, shown);
        QCOMPARE(readableMath(tex), shown);
    }

    void mathInTextAndBrackets()
    {
        QCOMPARE(parseMarkdown("so $x^2$ is", 0)[0].content.text, "so x² is");
        QCOMPARE(parseMarkdown("so \\(x^2\\) is", 0)[0].content.text, "so x² is");
        QCOMPARE(parseMarkdown("it costs $5 or $6.", 0)[0].content.text, "it costs $5 or $6.");
    }

    void appendedTextChangesTheLastSectionOnly()
    {
        const std::string full = "First para.\n\n- a\n\n- b\n\nSecond.\n\n```c\nint x;\n\nint y;\n```\n\nThird **bo";
        const auto whole = sectionsOf(full);
        for (std::size_t n = 1; n <= full.size(); ++n) {
            const auto part = sectionsOf(std::string_view(full).substr(0, n));
            for (std::size_t i = 0; i + 1 < part.size(); ++i)
                QCOMPARE(part[i].begin, whole[i].begin);
            for (std::size_t i = 0; i + 2 < part.size(); ++i)
                QCOMPARE(part[i].end, whole[i].end);
        }
        QCOMPARE(whole.size(), 4u);
    }

    void sectionsAreTheSameFromEachOneOn()
    {
        const std::string text = "Intro.\n\n<think>one\n\ntwo</think>\n\n- a\n\n- b\n\nText.\n\n```c\nint x;\n\nint y;\n```\n\nEnd <think>x";
        const auto whole = sectionsOf(text);
        QCOMPARE(whole.size(), 7u);
        for (std::size_t i = 0; i < whole.size(); ++i)
            QVERIFY(sectionsFrom(text, scanStart(whole[i])) == std::vector<Section>(whole.begin() + std::ptrdiff_t(i), whole.end()));
    }

    void thinkingIsASectionOfItsOwn()
    {
        const auto sections = sectionsOf("<think>let me\n\nsee</think>\n\nThe answer.");
        QCOMPARE(sections.size(), 2u);
        QVERIFY(sections[0].thinking && !sections[0].open);
        QVERIFY(!sections[1].thinking);
        const auto open = sectionsOf("<think>still at it");
        QVERIFY(open.at(0).open);
    }
};

KVILT_TEST_CLASS(MarkdownTest)
#include "tst_markdown.moc"
