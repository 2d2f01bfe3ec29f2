// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/attachments.h"

#include "ui/widgets/format.h"

#include <QFile>
#include <QFileInfo>
#include <QStringDecoder>

namespace kvilt::ui {

namespace {

constexpr std::string_view kOpen = "<file name=\"";
constexpr std::string_view kOpenEnd = "\">\n";
constexpr std::string_view kClose = "\n</file>";

tl::unexpected<QString> cannot(const QString &name, const QString &why)
{
    return tl::unexpected(QStringLiteral("%1 cannot be attached: %2").arg(name, why));
}

// A name that cannot end its own quotes.
QString plainName(const QString &name)
{
    QString plain;
    for (const QChar c : name)
        plain += c == u'"' || c == u'<' || c == u'>' || c < u' ' ? QChar(u'_') : c;
    return plain.left(120);
}

bool blank(std::string_view text)
{
    return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Where the next file begins at or after `from`, at the start of a line; npos: none.
std::size_t nextFile(std::string_view utf8, std::size_t from)
{
    for (std::size_t at = utf8.find(kOpen, from); at != std::string_view::npos; at = utf8.find(kOpen, at + 1)) {
        const bool lineStart = at == 0 || utf8[at - 1] == '\n';
        if (lineStart && utf8.find(kOpenEnd, at) != std::string_view::npos)
            return at;
    }
    return std::string_view::npos;
}

void addWords(std::string_view utf8, std::size_t begin, std::size_t end, std::vector<Section> &out)
{
    while (end > begin && utf8[end - 1] == '\n')
        --end;
    if (end > begin && !blank(utf8.substr(begin, end - begin)))
        out.push_back({std::uint32_t(begin), std::uint32_t(end)});
}

} // namespace

tl::expected<Attachment, QString> readAttachment(const QString &path)
{
    const QString name = QFileInfo(path).fileName();
    QFile file(path);
    if (!file.open(QIODevice::ReadOnly))
        return cannot(name, file.errorString() + QLatin1Char('.'));
    if (file.size() > kLargestAttachment)
        return cannot(name, QStringLiteral("it takes %1, and %2 is the most.").arg(bytes(std::uint64_t(file.size())),
                                                                                  bytes(std::uint64_t(kLargestAttachment))));
    QByteArray content = file.read(kLargestAttachment + 1);
    QStringDecoder decoder(QStringDecoder::Utf8);
    const QString decoded = decoder.decode(content);
    if (decoder.hasError() || decoded.contains(QChar(0)))
        return cannot(name, QStringLiteral("it is not plain text in UTF-8."));
    content.replace("\r\n", "\n");
    while (content.endsWith('\n'))
        content.chop(1);
    if (content.isEmpty())
        return cannot(name, QStringLiteral("it is empty."));
    return Attachment{plainName(name), content.toStdString()};
}

std::string withAttachments(const std::string &words, const std::vector<Attachment> &files)
{
    std::string text = words;
    for (const Attachment &file : files) {
        text += text.empty() ? "" : "\n\n";
        text += std::string(kOpen) + file.name.toStdString() + std::string(kOpenEnd) + file.text + std::string(kClose);
    }
    return text;
}

std::vector<Section> userSections(std::string_view utf8)
{
    std::vector<Section> sections;
    std::size_t at = 0;
    while (at < utf8.size()) {
        const std::size_t open = nextFile(utf8, at);
        addWords(utf8, at, std::min(open, utf8.size()), sections);
        if (open == std::string_view::npos)
            break;
        const std::size_t nameEnd = utf8.find(kOpenEnd, open);
        const std::size_t begin = nameEnd + kOpenEnd.size();
        const std::size_t next = std::min(nextFile(utf8, begin), utf8.size());
        // A file may hold the closing words itself: the last ones before the next file count.
        const std::size_t close = utf8.substr(0, next).rfind(kClose);
        const bool closed = close != std::string_view::npos && close + 1 >= begin;
        Section file{std::uint32_t(begin), std::uint32_t(closed ? std::max(close, begin) : next)};
        file.nameBegin = std::uint32_t(open + kOpen.size());
        file.nameEnd = std::uint32_t(nameEnd);
        sections.push_back(file);
        at = closed ? close + kClose.size() : next;
    }
    return sections;
}

} // namespace kvilt::ui
