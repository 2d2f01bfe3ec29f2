// SPDX-License-Identifier: Apache-2.0
#include "engine/text/chat_template.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <nlohmann/json.hpp>

#include <fstream>
#include <random>

using namespace kvilt;
using namespace kvilt::text;

namespace {

using Json = nlohmann::ordered_json;

Json goldens()
{
    return Json::parse(std::ifstream(KVILT_TEST_DATA "/text/templates.json"));
}

Result<RenderedPrompt> renderSource(std::string_view source, const std::vector<ChatMessage> &messages = {},
                                    const RenderOptions &options = {}, const RenderLimits &limits = {})
{
    KVILT_TRY(const ChatTemplate parsed, ChatTemplate::parse(source));
    return parsed.render(messages, options, limits);
}

bool coversText(const RenderedPrompt &prompt)
{
    std::uint32_t at = 0;
    for (const ProvenanceSpan &span : prompt.spans) {
        if (span.begin != at || span.end <= span.begin)
            return false;
        at = span.end;
    }
    return at == prompt.text.size();
}

// Where `needle` stands, every byte must have this origin.
bool hasOrigin(const RenderedPrompt &prompt, std::string_view needle, Origin origin)
{
    const std::size_t at = prompt.text.find(needle);
    if (at == std::string::npos)
        return false;
    for (const ProvenanceSpan &span : prompt.spans) {
        if (span.begin < at + needle.size() && span.end > at && span.origin != origin)
            return false;
    }
    return true;
}

} // namespace

class ChatTemplateTest : public QObject {
    Q_OBJECT
private slots:
    void equalsJinja2()
    {
        const Json all = goldens();
        for (const Json &c : all["cases"]) {
            const auto parsed =
                ChatTemplate::parse(all["templates"][c["template"].get<std::string>()].get<std::string>());
            QVERIFY2(parsed, parsed ? "" : parsed.error().message.c_str());
            const auto messages = parseMessages(c["messages"].dump());
            QVERIFY(messages);
            RenderOptions options;
            options.addGenerationPrompt = c["add_generation_prompt"];
            options.toolsJson = c["tools"].is_null() ? "" : c["tools"].dump();
            options.bosToken = "<s>";
            options.eosToken = "</s>";
            options.unixSeconds = all["clock"];
            for (const auto &[name, value] : c["variables"].items())
                options.variables.emplace_back(name, value.dump());
            const auto prompt = parsed->render(*messages, options);
            if (c["text"].is_null()) {
                QVERIFY(!prompt);
                continue;
            }
            QVERIFY2(prompt, prompt ? "" : (c["template"].get<std::string>() + ": " + prompt.error().message).c_str());
            QCOMPARE(prompt->text, c["text"].get<std::string>());
            QVERIFY(coversText(*prompt));
        }
    }

    // Expected texts are Jinja2's.
    void formatsAndEscapesAsPythonDoes_data()
    {
        QTest::addColumn<QString>("expected");
        QTest::newRow("'{:.2f}'.format(3.14159)") << QString::fromUtf8("3.14");
        QTest::newRow("'{:8.3f}|{:<8}|{:^8}|{:>8}'.format(2.5,'ab','cd','ef')") << QString::fromUtf8("   2.500|ab      |   cd   |      ef");
        QTest::newRow("'{:05d} {:+d} {: d}'.format(42,42,42)") << QString::fromUtf8("00042 +42  42");
        QTest::newRow("'{:,} {:_}'.format(1234567,1234567)") << QString::fromUtf8("1,234,567 1_234_567");
        QTest::newRow("'{:,.1f}'.format(9876543.21)") << QString::fromUtf8("9,876,543.2");
        QTest::newRow("'{:x} {:X} {:o} {:b} {:#x} {:#b}'.format(255,255,8,5,255,5)") << QString::fromUtf8("ff FF 10 101 0xff 0b101");
        QTest::newRow("'{:%} {:.1%}'.format(0.25,0.256)") << QString::fromUtf8("25.000000% 25.6%");
        QTest::newRow("'{:e} {:.3E} {:g} {:.3g}'.format(12345.678,12345.678,0.00001,12345.678)") << QString::fromUtf8("1.234568e+04 1.235E+04 1e-05 1.23e+04");
        QTest::newRow("'{:*^9}|{:é>5}|{:0>4}'.format('mid','x',7)") << QString::fromUtf8("***mid***|ééééx|0007");
        QTest::newRow("'{0:>4}{1:<4}{0}'.format(1,2)") << QString::fromUtf8("   12   1");
        QTest::newRow("'{name!r:>8}'.format(name='a')") << QString::fromUtf8("     'a'");
        QTest::newRow("'{!s:.2}'.format('abcdef')") << QString::fromUtf8("ab");
        QTest::newRow("'{:.3}'.format('abcdef')") << QString::fromUtf8("abc");
        QTest::newRow("'{}'.format(1.0)") << QString::fromUtf8("1.0");
        QTest::newRow("'{:.3}'.format(3.0)") << QString::fromUtf8("3.0");
        QTest::newRow("'{:.10}'.format(0.1)") << QString::fromUtf8("0.1");
        QTest::newRow("'{:d}'.format(true)") << QString::fromUtf8("1");
        QTest::newRow("'{:>6}'.format(true)") << QString::fromUtf8("     1");
        QTest::newRow("'{:08.2f}'.format(-3.14159)") << QString::fromUtf8("-0003.14");
        QTest::newRow("'{:+.1f}'.format(-0.05)") << QString::fromUtf8("-0.1");
        QTest::newRow("'{:-^11.3f}'.format(1.5)") << QString::fromUtf8("---1.500---");
        QTest::newRow("'{:n}'.format(1234)") << QString::fromUtf8("1234");
        QTest::newRow("'{{{}}}'.format(5)") << QString::fromUtf8("{5}");
        QTest::newRow("'%5.1f|%-6s|%06d|%+d|% d' % (2.25,'ab',42,7,7)") << QString::fromUtf8("  2.2|ab    |000042|+7| 7");
        QTest::newRow("'%x %X %o %e %.2E %g %G' % (255,255,8,1234.5,1234.5,1e-7,1e-7)") << QString::fromUtf8("ff FF 10 1.234500e+03 1.23E+03 1e-07 1E-07");
        QTest::newRow("'%5s|%-5s|%.2s' % ('ab','ab','abcdef')") << QString::fromUtf8("   ab|ab   |ab");
        QTest::newRow("'%d%%' % 50") << QString::fromUtf8("50%");
        QTest::newRow("'%u' % 3.9") << QString::fromUtf8("3");
        QTest::newRow("'%(a)s-%(b)03d' % {'a':'x','b':7}") << QString::fromUtf8("x-007");
        QTest::newRow("'%r' % 'q'") << QString::fromUtf8("'q'");
        QTest::newRow("'%s and %s'|format('a',2)") << QString::fromUtf8("a and 2");
        QTest::newRow("'<'|safe + '<b>' + '>'") << QString::fromUtf8("<&lt;b&gt;&gt;");
        QTest::newRow("'a&b' + '<i>'|safe") << QString::fromUtf8("a&amp;b<i>");
        QTest::newRow("('<'|safe + '\"')|e") << QString::fromUtf8("<&#34;");
        QTest::newRow("'<'|e|e") << QString::fromUtf8("&lt;");
        QTest::newRow("'<'|e|forceescape") << QString::fromUtf8("&amp;lt;");
        QTest::newRow("('x'|safe) ~ '<'") << QString::fromUtf8("x<");
        QTest::newRow("[1,2]|map('string')|list|tojson") << QString::fromUtf8("[\"1\", \"2\"]");
        QTest::newRow("'yes' if []|select else 'no'") << QString::fromUtf8("yes");
        QTest::newRow("[1,2,2]|unique|list|length") << QString::fromUtf8("2");
    }
    void formatsAndEscapesAsPythonDoes()
    {
        QFETCH(QString, expected);
        const auto r = renderSource("{{ " + std::string(QTest::currentDataTag()) + " }}");
        QVERIFY2(r, r ? "" : r.error().message.c_str());
        QCOMPARE(QString::fromStdString(r->text), expected);
    }

    void refusesWhatPythonRefuses_data()
    {
        QTest::addColumn<int>("unused");
        for (const char *expression :
             {"[1,2]|map('string')|tojson", "[1]|select|length", "'{:d}'.format(1.5)", "'{:s}'.format(1)",
              "'{:f}'.format('a')", "'{:.2d}'.format(3)", "'{:,}'.format('a')", "'{:.}'.format(1)", "'{:zz}'.format(1)",
              "'{:>5}'.format([1])", "'%d' % 'a'", "'%x' % 1.5", "'%d' % (1e308 * 10)", "'%y' % 1", "'{'.format(1)",
              "[1]|select + [2]", "([1]|select)[0:1]"})
            QTest::newRow(expression) << 0;
    }
    void refusesWhatPythonRefuses()
    {
        QVERIFY(!renderSource("{{ " + std::string(QTest::currentDataTag()) + " }}"));
    }

    void formattedTextKeepsItsMarks()
    {
        const std::vector<ChatMessage> said{{"user", "<|im_end|>", {}}};
        for (const char *source : {"{{ '{:>20}'.format(messages[0].content) }}", "{{ '{!r}'.format(messages[0].content) }}",
                                   "{{ '%s' % messages[0].content }}", "{{ ''|safe + messages[0].content }}"}) {
            const auto r = renderSource(source, said);
            QVERIFY2(r && coversText(*r), source);
            QVERIFY2(hasOrigin(*r, "im_end|", Origin::user), source);
        }
    }

    void marksWhereEachCharacterComesFrom()
    {
        const std::vector<ChatMessage> messages{
            {"system", "rules", ""}, {"user", " <|z|> ask ", ""}, {"assistant", "<think>x</think>\nreply", ""}};
        const auto prompt = renderSource(
            "{% for m in messages %}<|a|>{{ m.role }}\n{{ m.content.split('</think>')[-1] | trim }}<|z|>{% endfor %}",
            messages);
        QVERIFY(prompt);
        QCOMPARE(prompt->text,
                 std::string("<|a|>system\nrules<|z|><|a|>user\n<|z|> ask<|z|><|a|>assistant\nreply<|z|>"));
        QVERIFY(coversText(*prompt));
        QVERIFY(hasOrigin(*prompt, "rules", Origin::system));
        QVERIFY(hasOrigin(*prompt, "<|z|> ask", Origin::user));
        QVERIFY(hasOrigin(*prompt, "reply", Origin::assistant));
        QVERIFY(hasOrigin(*prompt, "<|a|>user\n", Origin::templateText));
        QCOMPARE(prompt->spans[3].message, 1);
        QCOMPARE(prompt->spans[3].contentBegin, 1u); // the space that trim took
        QCOMPARE(prompt->spans[5].contentBegin, 17u);
        QCOMPARE(prompt->guarded().size(), std::size_t(3));
    }

    void marksSurviveEveryFilter()
    {
        const std::vector<ChatMessage> messages{{"user", "Ab<|z|>\"c\nd", ""}};
        const char *uses[] = {"c | upper",
                              "c | lower",
                              "c | title",
                              "c | capitalize",
                              "c | replace('b', 'b')",
                              "c | indent(2)",
                              "c | tojson",
                              "c | escape",
                              "c | reverse",
                              "[c, c] | join('')",
                              "c ~ c",
                              "c + c",
                              "c * 2",
                              "c[::-1]",
                              "c[1:]",
                              "c.strip()",
                              "'%s' % c",
                              "'{}'.format(c)",
                              "[c]",
                              "{'k': c}",
                              "{'k': c} | tojson",
                              "c | list | join",
                              "c | default('x')",
                              "c | string",
                              "c.splitlines() | join(' ')",
                              "c.split('b') | last",
                              "(c if c else c) | safe",
                              "[c] | map('upper') | first",
                              "c | truncate(3, true, '')",
                              "c | batch(2) | map('join') | join",
                              "c | center(0)",
                              "c.zfill(1)"};
        for (const char *use : uses) {
            const auto prompt =
                renderSource("{% set c = messages[0].content %}{{ " + std::string(use) + " }}", messages);
            QVERIFY2(prompt, use);
            for (const ProvenanceSpan &span : prompt->spans) {
                const std::string part = prompt->text.substr(span.begin, span.end - span.begin);
                const bool letters = part.find_first_of("AaCcZz<>") != std::string::npos;
                QVERIFY2(!letters || span.origin == Origin::user, (std::string(use) + " -> " + part).c_str());
            }
        }
    }

    void onlyKnownRolesAreTrusted()
    {
        const auto prompt = renderSource("<|{{ messages[0].role }}|><|{{ messages[1].role }}|>",
                                         {{"user", "", ""}, {"im_end", "", ""}});
        QVERIFY(prompt);
        QVERIFY(hasOrigin(*prompt, "<|user|>", Origin::templateText));
        QVERIFY(!hasOrigin(*prompt, "im_end", Origin::templateText));
    }

    void toolsAndVariablesAreGuarded()
    {
        RenderOptions options;
        options.toolsJson = R"([{"name": "<|z|>"}])";
        options.variables = {{"today", "<|y|>"}};
        const auto prompt = renderSource("{{ tools | tojson }}{{ today }}", {}, options);
        QVERIFY(prompt);
        QVERIFY(hasOrigin(*prompt, "<|z|>", Origin::toolDefinition));
        QVERIFY(hasOrigin(*prompt, "<|y|>", Origin::variable));
    }

    void endsHostileTemplates_data()
    {
        QTest::addColumn<QString>("source");
        QTest::newRow("long range") << "{% for i in range(1000000000) %}x{% endfor %}";
        QTest::newRow("nested loops")
            << "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        QTest::newRow("doubling")
            << "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}";
        QTest::newRow("doubling lists")
            << "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}";
        QTest::newRow("product") << "{{ 'x' * 999999999999 }}";
        QTest::newRow("product of lists") << "{{ [1] * 999999999999 }}";
        QTest::newRow("centre") << "{{ 'x'.center(999999999999) }}";
        QTest::newRow("format width")
            << "{% set n = namespace(s='') %}{% for i in range(99999) %}{% set n.s = n.s ~ '%9999s' % 1 %}{% endfor %}";
        QTest::newRow("replacement") << "{% set n = namespace(s='aaaaaaaaaa') %}{% for i in range(20) %}{% set n.s = "
                                        "n.s.replace('a', n.s) %}{% endfor %}";
        QTest::newRow("recursion") << "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        QTest::newRow("mutual recursion")
            << "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}";
        QTest::newRow("recursive loop") << "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}";
        QTest::newRow("deep value")
            << "{% set n = namespace(s=[]) %}{% for i in range(99999) %}{% set n.s = [n.s] %}{% endfor %}";
        QTest::newRow("power") << "{{ 9 ** 999999999 }}";
        QTest::newRow("batch") << "{{ [1] | batch(999999999, 0) }}";
        QTest::newRow("attribute walk") << "{{ ''.__class__.__mro__[1].__subclasses__() }}";
        QTest::newRow("append") << "{% set l = [] %}{{ l.append(1) }}";
        QTest::newRow("division by zero") << "{{ 1 // 0 }}";
        QTest::newRow("deep brackets") << QString("{{ ") + QString(100000, '(') + "1" + QString(100000, ')') + " }}";
        QTest::newRow("long sum") << "{{ 1" + QString("+1").repeated(100000) + " }}";
        QTest::newRow("many nots") << "{{ " + QString("not ").repeated(100000) + "1 }}";
        QTest::newRow("deep blocks") << QString("{% if 1 %}").repeated(50000) + QString("{% endif %}").repeated(50000);
        QTest::newRow("no end") << "{% if 1 %}";
        QTest::newRow("open string") << "{{ 'abc }}";
        QTest::newRow("open comment") << "{# abc";
        QTest::newRow("unknown filter") << "{{ 1 | system('ls') }}";
        QTest::newRow("include") << "{% include '/etc/passwd' %}";
        QTest::newRow("too large a source") << QString(2 << 20, ' ');
    }

    void endsHostileTemplates()
    {
        QFETCH(QString, source);
        const auto prompt = renderSource(source.toStdString(), {{"user", "hi", ""}});
        QVERIFY(!prompt);
        QVERIFY2(prompt.error().message.ends_with('.') && prompt.error().message.size() < 1000,
                 prompt.error().message.c_str());
    }

    void keepsToItsLimits()
    {
        RenderLimits limits;
        limits.outputBytes = 1000;
        QVERIFY(renderSource("{{ 'x' * 1000 }}", {}, {}, limits));
        QVERIFY(!renderSource("{{ 'x' * 1001 }}", {}, {}, limits));
        limits = {.steps = 100};
        QVERIFY(!renderSource("{% for i in range(100) %}{% endfor %}", {}, {}, limits));
        limits = {.memoryBytes = 10'000};
        QVERIFY(!renderSource("{% set x = 'x' * 20000 %}", {}, {}, limits));
    }

    void hostileTemplatesStayBelow64MiB_data()
    {
        QTest::addColumn<QString>("source");
        QTest::newRow("doubled text") << R"({% set ns = namespace(s="ab") %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }})";
        QTest::newRow("lists of lists to JSON") << "{{ ([[1] * 3000000] * 3000) | tojson }}";
        QTest::newRow("replaced by something long") << R"({{ ("a" * 3000) | replace("a", "b" * 100000) }})";
        QTest::newRow("repeated output") << R"({% set s = "x" * 1000000 %}{% for i in range(1000) %}{{ s }}{% endfor %})";
        QTest::newRow("runs of one byte") << R"({% for i in range(3000000) %}{{ messages[0].content[0] }}{% endfor %})";
        QTest::newRow("a list that grows") << "{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}";
        QTest::newRow("joined") << R"({{ (["abcdefgh" * 100] * 100000) | join }})";
    }
    void hostileTemplatesStayBelow64MiB()
    {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        QSKIP("a sanitizer's own memory counts here");
#endif
        QFETCH(QString, source);
        const auto inStatus = [](const char *key) {
            std::ifstream status("/proc/self/status");
            for (std::string line; std::getline(status, line);)
                if (line.starts_with(key))
                    return std::stoll(line.substr(std::string(key).size()));
            return 0ll;
        };
        std::ofstream("/proc/self/clear_refs") << "5"; // the peak begins anew
        const auto before = inStatus("VmRSS:");
        if (before == 0 || inStatus("VmHWM:") > before + 8192)
            QSKIP("this system does not measure peaks");
        QVERIFY(!renderSource(source.toStdString(), {{"user", "hi", ""}}));
        const auto peak = inStatus("VmHWM:") - before;
        QVERIFY2(peak < 48 * 1024, qPrintable(QString("%1 KiB").arg(peak))); // the program itself takes the rest
    }

    void longChatsAreNoAttack()
    {
        const std::string text(30 << 20, 'x');
        const auto prompt = renderSource("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}",
                                         {{"user", text, ""}, {"assistant", "b", ""}});
        QVERIFY(prompt);
        QVERIFY(prompt->text.size() > text.size());
    }

    void namespacesThatHoldThemselvesAreFreed()
    {
        QVERIFY(renderSource("{% set n = namespace() %}{% set n.a = [n] %}{% macro f() %}{{ n }}{% endmacro %}{% set "
                             "n.f = f %}{{ f() }}"));
    }

    void refusesMessagesThatAreNone()
    {
        for (const std::string &bad :
             {std::string("{"), std::string("{}"), std::string("[1]"), std::string("[{\"content\": 1}]"),
              std::string(100'000, '['), std::string("[\"\xFF\"]")})
            QVERIFY(!parseMessages(bad));
        QCOMPARE(parseMessages(R"([{"role":"user","content":"a"},{"role":"assistant"}])").error().message,
                 std::string("Message 2 has no content."));
        QVERIFY(parseMessages(R"([{"role":"assistant","tool_calls":[]}])"));
        QCOMPARE((*parseMessages(
                     R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])"))[0]
                     .content,
                 std::string("ab"));
    }

    void partsReachATemplateForTextAsText()
    {
        const auto messages = *parseMessages(
            R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
        const auto render = [&](const char *source, bool join) {
            const auto prompt = ChatTemplate::parse(source)->render(messages, {.joinParts = join});
            return prompt ? QString::fromStdString(prompt->text) : QString("refused");
        };
        const char *adds = "{% for m in messages %}{{ '<' + m.content + '>' }}{% endfor %}";
        const char *prints = "{% for m in messages %}{{ m.content }}{% endfor %}";
        const char *walks = "{% for m in messages %}{% for p in m.content %}{{ p.text }};{% endfor %}{% endfor %}";
        QCOMPARE(render(adds, true), QString("<ab>"));
        QCOMPARE(render(adds, false), QString("refused"));
        QCOMPARE(render(prints, true), QString("ab"));
        QVERIFY(render(prints, false).contains("type"));
        QCOMPARE(render(walks, true), QString("a;b;"));
        QCOMPARE(render(walks, false), QString("a;b;"));
    }

    // Damaged templates end in text or a sentence, never in a crash: cut, doubled and swapped at seeded places.
    void survivesDamagedTemplates()
    {
        const Json all = goldens();
        std::mt19937 random(3);
        for (const auto &[name, value] : all["templates"].items()) {
            const auto whole = value.get<std::string>();
            for (int i = 0; i < 150; ++i) {
                std::string source = whole;
                for (int edits = 1 + static_cast<int>(random() % 3); edits > 0 && !source.empty(); --edits) {
                    const std::size_t at = random() % source.size(), size = random() % 12;
                    if (random() % 3 == 0)
                        source.erase(at, size);
                    else if (random() % 2 == 0)
                        source.insert(at, source.substr(random() % source.size(), size));
                    else
                        source[at] = "{}%#()[]|.'\"\\-+~*x1 \n"[random() % 22];
                }
                const auto prompt = renderSource(source, {{"user", "a", ""}, {"assistant", "b", ""}}, {},
                                                 {.steps = 50'000, .outputBytes = 1 << 16, .memoryBytes = 1 << 20});
                if (prompt)
                    QVERIFY(coversText(*prompt));
                else
                    QVERIFY(!prompt.error().message.empty());
            }
        }
    }
};

KVILT_TEST_CLASS(ChatTemplateTest)
#include "tst_chat_template.moc"
