// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/api/conversation.h"
#include "tests/support/test_registry.h"
#include "ui/chat/attachments.h"

#include <QFile>
#include <QTemporaryDir>
#include <QTest>

using namespace kvilt;
using namespace kvilt::ui;

namespace {

QString written(const QTemporaryDir &folder, const QString &name, const QByteArray &bytes)
{
    const QString path = folder.filePath(name);
    QFile file(path);
    if (!file.open(QIODevice::WriteOnly) || file.write(bytes) != bytes.size())
        qFatal("the test's file could not be written");
    return path;
}

std::string textOf(const std::string &message, const Section &section)
{
    return message.substr(section.begin, section.end - section.begin);
}

std::string nameOf(const std::string &message, const Section &section)
{
    return message.substr(section.nameBegin, section.nameEnd - section.nameBegin);
}

} // namespace

class AttachmentsTest : public QObject {
    Q_OBJECT
private slots:
    void wordsAndFilesAreFoundAgain()
    {
        const std::vector<Attachment> files{{"a.txt", "first\nsecond"}, {"b.md", "# B"}};
        const std::string message = withAttachments("Look at these", files);
        const auto sections = userSections(message);
        QCOMPARE(sections.size(), std::size_t(3));
        QCOMPARE(textOf(message, sections[0]), std::string("Look at these"));
        QVERIFY(!sections[0].file());
        for (std::size_t i = 0; i < files.size(); ++i) {
            QVERIFY(sections[i + 1].file());
            QCOMPARE(nameOf(message, sections[i + 1]), files[i].name.toStdString());
            QCOMPARE(textOf(message, sections[i + 1]), files[i].text);
        }
    }

    void aFileMayHoldTheClosingWords()
    {
        const std::vector<Attachment> files{{"tricky.txt", "one\n</file>\ntwo"}, {"next.txt", "three"}};
        const std::string message = withAttachments("", files);
        const auto sections = userSections(message);
        QCOMPARE(sections.size(), std::size_t(2));
        QCOMPARE(textOf(message, sections[0]), files[0].text);
        QCOMPARE(textOf(message, sections[1]), files[1].text);
    }

    void ordinaryTextIsOneSection()
    {
        for (const std::string text : {"Hello", "a <file name=\"x\"> inside a line", "<file name=\"x", "<file name=\"\">\nno name\n</file>"})
            QVERIFY2(userSections(text).size() == 1 && !userSections(text)[0].file(), text.c_str());
        QVERIFY(userSections("").empty());
        QVERIFY(userSections("\n\n").empty());
    }

    void anUnclosedFileReachesToTheEnd()
    {
        const std::string text = "<file name=\"x\">\nabc";
        const auto sections = userSections(text);
        QCOMPARE(sections.size(), std::size_t(1));
        QCOMPARE(textOf(text, sections[0]), std::string("abc"));
    }

    void readsTextAndRefusesTheRest()
    {
        const QTemporaryDir folder;
        const auto good = readAttachment(written(folder, "good.txt", "one\r\ntwo\r\n\r\n"));
        QVERIFY(good.has_value());
        QCOMPARE(good->name, QStringLiteral("good.txt"));
        QCOMPARE(good->text, std::string("one\ntwo"));
        for (const QByteArray &bytes : {QByteArray("\xff\xfe\x00\x01", 4), QByteArray("a\0b", 3), QByteArray()}) {
            const auto bad = readAttachment(written(folder, "bad.txt", bytes));
            QVERIFY(!bad.has_value());
            QVERIFY(bad.error().startsWith(QStringLiteral("bad.txt cannot be attached")));
        }
        QVERIFY(!readAttachment(folder.filePath("missing.txt")).has_value());
        QVERIFY(!readAttachment(written(folder, "big.txt", QByteArray(kLargestAttachment + 1, 'x'))).has_value());
    }

    void aChatIsNamedByItsWordsNotByItsFiles()
    {
        const std::vector<Attachment> minutes{{"minutes-2026-10.txt", "Item 1\nItem 2"}};
        const std::vector<Attachment> paste{{"pasted text 1", "Item 0: the boat\nItem 1"}};
        QCOMPARE(api::titleFrom(withAttachments("Summarise this.", minutes)), std::string("Summarise this."));
        QCOMPARE(api::titleFrom(withAttachments("", minutes)), std::string("minutes-2026-10.txt"));
        QCOMPARE(api::titleFrom(withAttachments("", paste)), std::string("Item 0: the boat Item 1"));
        QCOMPARE(api::titleFrom("<file name=\"x"), std::string("<file name=\"x")); // no file: words like others
    }
};

KVILT_TEST_CLASS(AttachmentsTest)
#include "tst_attachments.moc"
