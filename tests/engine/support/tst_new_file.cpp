// SPDX-License-Identifier: Apache-2.0
#include "engine/support/new_file.h"
#include "tests/support/test_registry.h"

#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

using namespace kvilt;

namespace {

Result<void> writeTo(const std::filesystem::path &file, std::string_view text, const NewFileOptions &options = {})
{
    KVILT_TRY(NewFile out, NewFile::create(file, options));
    KVILT_TRY_VOID(out.write(text));
    return out.commit();
}

bool isDevice(const char *path)
{
    struct stat found {};
    return ::stat(path, &found) == 0 && S_ISCHR(found.st_mode);
}

unsigned modeOf(const QString &path)
{
    struct stat found {};
    return ::stat(path.toLocal8Bit().constData(), &found) == 0 ? found.st_mode & 07777 : 0;
}

} // namespace

class NewFileTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_folder;
    std::filesystem::path path(const char *name) const { return m_folder.filePath(name).toStdString(); }
    QByteArray content(const char *name) const
    {
        QFile file(m_folder.filePath(name));
        return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray("<none>");
    }
    QStringList names() const { return QDir(m_folder.path()).entryList(QDir::AllEntries | QDir::NoDotAndDotDot | QDir::System); }

private slots:
    void cleanup() // every test begins with an empty folder
    {
        std::error_code ignored;
        for (const QString &name : names())
            std::filesystem::remove_all(path(name.toLocal8Bit().constData()), ignored);
    }

    void appearsWholeOrNotAtAll()
    {
        {
            auto file = NewFile::create(path("a"));
            QVERIFY(file);
            QVERIFY(file->write("half"));
            QCOMPARE(content("a"), QByteArray("<none>"));
        }
        QCOMPARE(names(), QStringList());
        QVERIFY(writeTo(path("a"), "one"));
        {
            auto file = NewFile::create(path("a"));
            QVERIFY(file->write("half"));
            QCOMPARE(content("a"), QByteArray("one"));
        }
        QVERIFY(writeTo(path("a"), "two"));
        QCOMPARE(content("a"), QByteArray("two"));
        QCOMPARE(names(), QStringList{"a"});
    }

    void twoWritersOfOneFileDoNotMix()
    {
        auto first = NewFile::create(path("a")), second = NewFile::create(path("a"));
        QVERIFY(first && second);
        QVERIFY(first->write("first") && second->write("second"));
        QVERIFY(first->commit() && second->commit());
        QCOMPARE(content("a"), QByteArray("second"));
        QCOMPARE(names(), QStringList{"a"});
    }

    void aDeviceStaysADevice()
    {
        if (!isDevice("/dev/full") || !isDevice("/dev/null"))
            QSKIP("no devices here");
        for (const char *device : {"/dev/full", "/dev/null"}) {
            const auto refused = writeTo(device, "text");
            QVERIFY(!refused);
            QCOMPARE(int(refused.error().code), int(ErrorCode::badInput));
            QVERIFY(isDevice(device));
        }
        QVERIFY(writeTo("/dev/null", "text", {.stream = true}));
        const auto full = writeTo("/dev/full", "text", {.stream = true});
        QVERIFY(!full);
        QCOMPARE(int(full.error().code), int(ErrorCode::full));
        QVERIFY(isDevice("/dev/full") && isDevice("/dev/null"));
    }

    void aPipeIsWrittenIntoOrRefused()
    {
        QCOMPARE(::mkfifo(path("pipe").c_str(), 0600), 0);
        QVERIFY(!writeTo(path("pipe"), "text"));
        std::string got;
        std::thread reader([&] {
            const int descriptor = ::open(path("pipe").c_str(), O_RDONLY);
            char buffer[64];
            for (ssize_t n = 0; (n = ::read(descriptor, buffer, sizeof buffer)) > 0;)
                got.append(buffer, std::size_t(n));
            ::close(descriptor);
        });
        const auto written = writeTo(path("pipe"), "text", {.stream = true});
        reader.join();
        QVERIFY(written);
        QCOMPARE(got, std::string("text"));
        QVERIFY(std::filesystem::is_fifo(path("pipe")));
    }

    void aSocketIsRefused()
    {
        const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
        const std::string name = path("s").string();
        if (name.size() >= sizeof address.sun_path)
            QSKIP("the temporary folder's name is too long for a socket");
        name.copy(address.sun_path, name.size());
        QCOMPARE(::bind(descriptor, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        QVERIFY(!writeTo(path("s"), "text", {.stream = true}));
        QVERIFY(std::filesystem::is_socket(path("s")));
        ::close(descriptor);
    }

    void aLinkStaysALink()
    {
        QVERIFY(writeTo(path("target"), "old"));
        std::filesystem::create_symlink("target", path("link"));
        std::filesystem::create_symlink("link", path("link2"));
        std::filesystem::create_symlink("not-yet", path("dangling"));
        std::filesystem::create_symlink("loop", path("loop"));
        QVERIFY(writeTo(path("link2"), "new"));
        QCOMPARE(content("target"), QByteArray("new"));
        QVERIFY(writeTo(path("dangling"), "made"));
        QCOMPARE(content("not-yet"), QByteArray("made"));
        QVERIFY(!writeTo(path("loop"), "never"));
        for (const char *name : {"link", "link2", "dangling", "loop"})
            QVERIFY2(std::filesystem::is_symlink(path(name)), name);
        QCOMPARE(names().size(), 6);
    }

    void refusesWhatIsNoPlaceForAFile()
    {
        for (const auto &place : {std::filesystem::path("."), std::filesystem::path(m_folder.path().toStdString()),
                                  path("missing") / "file", std::filesystem::path()}) {
            const auto refused = NewFile::create(place);
            QVERIFY(!refused);
            QCOMPARE(int(refused.error().code), int(ErrorCode::badInput));
        }
        QCOMPARE(names(), QStringList());
    }

    void keepsTheModeOfWhatItReplaces()
    {
        const mode_t before = ::umask(022);
        QVERIFY(writeTo(path("plain"), "x"));
        QVERIFY(writeTo(path("private"), "x", {.mode = 0600}));
        QCOMPARE(modeOf(m_folder.filePath("plain")), 0644u);
        QCOMPARE(modeOf(m_folder.filePath("private")), 0600u);
        QCOMPARE(::chmod(path("plain").c_str(), 0664), 0);
        QVERIFY(writeTo(path("plain"), "y"));
        QCOMPARE(modeOf(m_folder.filePath("plain")), 0664u);
        ::umask(before);
    }
};

KVILT_TEST_CLASS(NewFileTest)
#include "tst_new_file.moc"
