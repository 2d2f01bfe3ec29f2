// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/markdown.h"

#include <QHash>

namespace kvilt::ui {

namespace {

const QHash<QString, QString> &symbols()
{
    static const QHash<QString, QString> table{
        {"alpha", "α"}, {"beta", "β"}, {"gamma", "γ"}, {"delta", "δ"}, {"epsilon", "ε"}, {"varepsilon", "ε"},
        {"zeta", "ζ"}, {"eta", "η"}, {"theta", "θ"}, {"iota", "ι"}, {"kappa", "κ"}, {"lambda", "λ"}, {"mu", "μ"},
        {"nu", "ν"}, {"xi", "ξ"}, {"pi", "π"}, {"rho", "ρ"}, {"sigma", "σ"}, {"tau", "τ"}, {"phi", "φ"},
        {"varphi", "φ"}, {"chi", "χ"}, {"psi", "ψ"}, {"omega", "ω"}, {"Gamma", "Γ"}, {"Delta", "Δ"},
        {"Theta", "Θ"}, {"Lambda", "Λ"}, {"Xi", "Ξ"}, {"Pi", "Π"}, {"Sigma", "Σ"}, {"Phi", "Φ"}, {"Psi", "Ψ"},
        {"Omega", "Ω"}, {"cdot", "·"}, {"times", "×"}, {"div", "÷"}, {"pm", "±"}, {"mp", "∓"}, {"leq", "≤"},
        {"le", "≤"}, {"geq", "≥"}, {"ge", "≥"}, {"neq", "≠"}, {"ne", "≠"}, {"approx", "≈"}, {"equiv", "≡"},
        {"sim", "∼"}, {"propto", "∝"}, {"infty", "∞"}, {"sum", "∑"}, {"prod", "∏"}, {"int", "∫"}, {"partial", "∂"},
        {"nabla", "∇"}, {"in", "∈"}, {"notin", "∉"}, {"subset", "⊂"}, {"subseteq", "⊆"}, {"cup", "∪"},
        {"cap", "∩"}, {"emptyset", "∅"}, {"forall", "∀"}, {"exists", "∃"}, {"neg", "¬"}, {"land", "∧"},
        {"lor", "∨"}, {"to", "→"}, {"rightarrow", "→"}, {"leftarrow", "←"}, {"Rightarrow", "⇒"},
        {"Leftarrow", "⇐"}, {"implies", "⇒"}, {"iff", "⇔"}, {"mapsto", "↦"}, {"ldots", "…"}, {"cdots", "⋯"},
        {"dots", "…"}, {"circ", "∘"}, {"degree", "°"}, {"prime", "′"}, {"quad", "  "}, {"qquad", "    "},
        {"left", ""}, {"right", ""}, {"displaystyle", ""}, {"limits", ""}, {"sqrt", "√"}, {"langle", "⟨"},
        {"rangle", "⟩"}, {"ell", "ℓ"}, {"hbar", "ℏ"}, {"Re", "ℜ"}, {"Im", "ℑ"}, {"mid", "|"}, {"star", "⋆"}};
    return table;
}

QString raised(const QString &text, bool up)
{
    static const QString plain = QStringLiteral("0123456789+-=()nijk");
    static const QString above = QStringLiteral("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱʲᵏ");
    static const QString below = QStringLiteral("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙᵢⱼₖ");
    QString out;
    for (const QChar c : text) {
        const auto at = plain.indexOf(c);
        if (at < 0)
            return (up ? QStringLiteral("^") : QStringLiteral("_")) +
                   (text.size() == 1 ? text : QLatin1Char('(') + text + QLatin1Char(')'));
        out += (up ? above : below)[at];
    }
    return out;
}

// Reads TeX left to right; groups nest at most kDeepest times, so that a million braces are only text.
class Reader {
public:
    explicit Reader(QStringView tex) : m_tex(tex) {}
    QString read(int depth = 0, bool untilBrace = false);

private:
    static constexpr int kDeepest = 20;
    QString argument(int depth);
    QString command(int depth);

    QStringView m_tex;
    qsizetype m_at = 0;
};

QString Reader::argument(int depth)
{
    while (m_at < m_tex.size() && m_tex[m_at] == u' ')
        ++m_at;
    if (m_at >= m_tex.size())
        return {};
    if (m_tex[m_at] == u'{' && depth < kDeepest) {
        ++m_at;
        return read(depth + 1, true);
    }
    if (m_tex[m_at] == u'\\') {
        ++m_at;
        return command(depth + 1);
    }
    return QString(m_tex[m_at++]);
}

bool simple(const QString &text)
{
    return std::none_of(text.begin(), text.end(), [](QChar c) { return QStringLiteral("+-−·×/ ").contains(c); });
}

QString inBrackets(const QString &text)
{
    return simple(text) ? text : QLatin1Char('(') + text + QLatin1Char(')');
}

QString Reader::command(int depth)
{
    const qsizetype begin = m_at;
    while (m_at < m_tex.size() && m_tex[m_at].isLetter())
        ++m_at;
    if (m_at == begin) {
        if (m_at >= m_tex.size())
            return QStringLiteral("\\");
        const QChar c = m_tex[m_at++];
        return c == u'\\' ? QStringLiteral("\n") : c == u',' || c == u';' || c == u':' || c == u'!' ? QStringLiteral(" ")
                                                                                                     : QString(c);
    }
    const QString name = m_tex.mid(begin, m_at - begin).toString();
    if (depth < kDeepest && (name == u"frac" || name == u"dfrac" || name == u"tfrac")) {
        const QString top = argument(depth);
        return inBrackets(top) + QLatin1Char('/') + inBrackets(argument(depth));
    }
    if (depth < kDeepest && name == u"sqrt")
        return QStringLiteral("√") + QLatin1Char('(') + argument(depth) + QLatin1Char(')');
    for (const char *word : {"text", "mathrm", "mathbf", "mathit", "mathsf", "mathcal", "mathbb", "operatorname", "boxed",
                             "textbf", "vec", "hat", "bar", "overline", "underline"})
        if (name == QLatin1String(word))
            return depth < kDeepest ? argument(depth) : QString();
    const auto it = symbols().find(name);
    return it != symbols().end() ? *it : name;
}

QString Reader::read(int depth, bool untilBrace)
{
    QString out;
    while (m_at < m_tex.size()) {
        const QChar c = m_tex[m_at++];
        if (c == u'}' && untilBrace)
            return out;
        if (c == u'{' && depth < kDeepest)
            out += read(depth + 1, true);
        else if (c == u'\\')
            out += command(depth);
        else if (c == u'^' || c == u'_')
            out += raised(argument(depth), c == u'^');
        else if (c == u'&')
            out += QLatin1Char(' ');
        else if (c == u'~')
            out += QLatin1Char(' ');
        else
            out += c;
    }
    return out;
}

} // namespace

QString readableMath(QStringView tex)
{
    return Reader(tex).read().trimmed();
}

} // namespace kvilt::ui
