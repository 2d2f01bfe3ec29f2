// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/code_colours.h"

#include "ui/widgets/theme.h"

#include <QSet>

namespace kvilt::ui {

namespace {

const QSet<QString> &keywords()
{
    static const QSet<QString> words{
        "and", "as", "assert", "async", "auto", "await", "bool", "break", "case", "catch", "char", "class", "const",
        "constexpr", "continue", "def", "del", "delete", "do", "done", "double", "elif", "else", "enum", "except",
        "export", "extends", "false", "False", "fi", "final", "finally", "float", "fn", "for", "from", "func",
        "function", "global", "if", "impl", "import", "in", "int", "interface", "is", "lambda", "let", "long", "match",
        "mod", "mut", "namespace", "new", "nil", "None", "not", "null", "nullptr", "or", "package", "pass", "private",
        "protected", "pub", "public", "raise", "return", "self", "short", "static", "struct", "super", "switch",
        "template", "then", "this", "throw", "trait", "true", "True", "try", "type", "typedef", "typename", "union",
        "unsigned", "use", "using", "var", "virtual", "void", "volatile", "where", "while", "with", "yield", "SELECT",
        "FROM", "WHERE", "INSERT", "INTO", "UPDATE", "DELETE", "CREATE", "TABLE", "JOIN", "GROUP", "ORDER", "BY"};
    return words;
}

bool hashComments(const QString &language)
{
    static const QSet<QString> languages{"python", "py",   "bash", "sh",   "shell", "zsh",  "ruby",      "rb",
                                         "perl",   "yaml", "yml",  "toml", "r",     "make", "dockerfile", "cmake"};
    return languages.contains(language.toLower());
}

// The length of the comment or string that begins at `at`; 0: none.
qsizetype commentAt(const QString &line, qsizetype at, bool hash)
{
    const QStringView rest = QStringView(line).mid(at);
    const bool begins = hash ? rest.startsWith(u'#') : rest.startsWith(u"//") || rest.startsWith(u"-- ");
    return begins ? rest.size() : 0;
}

qsizetype stringAt(const QString &line, qsizetype at)
{
    const QChar quote = line[at];
    if (quote != u'"' && quote != u'\'' && quote != u'`')
        return 0;
    for (qsizetype i = at + 1; i < line.size(); ++i) {
        if (line[i] == u'\\')
            ++i;
        else if (line[i] == quote)
            return i + 1 - at;
    }
    return quote == u'\'' ? 0 : line.size() - at; // an apostrophe is not a string
}

} // namespace

QVector<QTextLayout::FormatRange> codeColours(const QString &line, const QString &language, const Palette &palette)
{
    QVector<QTextLayout::FormatRange> ranges;
    if (line.size() > 2000)
        return ranges;
    const bool hash = hashComments(language);
    const auto add = [&](qsizetype start, qsizetype length, const QColor &colour) {
        QTextCharFormat format;
        format.setForeground(colour);
        ranges.push_back({int(start), int(length), format});
    };
    qsizetype i = 0;
    while (i < line.size()) {
        if (const qsizetype n = commentAt(line, i, hash); n > 0) {
            add(i, n, palette.codeComment);
            return ranges;
        }
        if (const qsizetype n = stringAt(line, i); n > 0) {
            add(i, n, palette.codeString);
            i += n;
            continue;
        }
        if (!line[i].isLetterOrNumber() && line[i] != u'_') {
            ++i;
            continue;
        }
        qsizetype end = i;
        while (end < line.size() && (line[end].isLetterOrNumber() || line[end] == u'_' || line[end] == u'.'))
            ++end;
        const QString word = line.mid(i, end - i);
        if (word[0].isDigit())
            add(i, word.size(), palette.codeNumber);
        else if (const QString first = word.section(u'.', 0, 0); keywords().contains(first))
            add(i, first.size(), palette.codeKeyword);
        i = end;
    }
    return ranges;
}

} // namespace kvilt::ui
