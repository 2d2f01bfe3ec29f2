// SPDX-License-Identifier: GPL-3.0-or-later
// The chat with 10,000 messages, without a screen: how long opening takes, how long a frame of scrolling takes (slowly
// and in jumps), and a frame of a reply that streams into such a chat. Prints one JSON object. Times are of this machine
// in this run; a frame at 60 a second has 16.7 ms.
//
//   bench_chat_view [messages]      default 10000
#include "tests/ui/support/scripted_port.h"
#include "ui/chat/chat_view.h"
#include "ui/widgets/theme.h"

#include <QApplication>
#include <QScrollBar>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

using namespace kvilt;
using namespace kvilt::ui;

namespace {

using Clock = std::chrono::steady_clock;

double msSince(Clock::time_point begin)
{
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// Words, lists, tables and code as models write them.
std::string reply(std::mt19937 &random)
{
    std::string text;
    for (unsigned part = 0, parts = 1 + random() % 5; part < parts; ++part) {
        switch (random() % 5) {
        case 0: text += "- first of **three**\n- second with `code`\n- third, see https://example.org/a\n\n"; break;
        case 1:
            text += "```python\n";
            for (unsigned i = 0, lines = 3 + random() % 20; i < lines; ++i)
                text += "    value_" + std::to_string(i) + " = compute(" + std::to_string(random() % 1000) + ")  # step\n";
            text += "```\n\n";
            break;
        case 2: text += "| name | value |\n|---|---:|\n| alpha | 1 |\n| beta | 22 |\n| gamma | 333 |\n\n"; break;
        default:
            for (unsigned i = 0, words = 20 + random() % 150; i < words; ++i)
                text += (random() % 9 ? "scattering " : "of *light* ");
            text += "\n\n";
        }
    }
    return text;
}

std::vector<api::Message> conversation(int count)
{
    std::mt19937 random(7);
    std::vector<api::Message> messages;
    for (int i = 0; i < count; ++i) {
        const bool user = i % 2 == 0;
        messages.push_back(test::message(i + 1, i, user ? api::Role::user : api::Role::assistant,
                                         user ? "Question number " + std::to_string(i) + ", please answer it." : reply(random)));
        messages.back().hasReceipt = !user;
        messages.back().receipt.promptTokens = std::uint32_t(16 * i);
    }
    return messages;
}

struct Percentiles {
    double p50, p99, most;
    std::size_t frames;
};

Percentiles percentiles(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return {values[values.size() / 2], values[values.size() * 99 / 100], values.back(), values.size()};
}

void print(const char *name, const Percentiles &p, const char *end)
{
    std::printf("  \"%s\": {\"frames\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"under_16_7_ms\": %s}%s\n", name,
                p.frames, p.p50, p.p99, p.most, p.p99 < 16.7 ? "true" : "false", end);
}

double frame(ChatView &view, const auto &change)
{
    const auto begin = Clock::now();
    change();
    view.viewport()->repaint();
    QApplication::processEvents();
    return msSince(begin);
}

Percentiles scroll(ChatView &view, int frames, const auto &position)
{
    std::vector<double> times;
    for (int i = 0; i < frames; ++i)
        times.push_back(frame(view, [&] { view.verticalScrollBar()->setValue(position(i)); }));
    return percentiles(std::move(times));
}

} // namespace

int main(int argc, char **argv)
{
    if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM"))
        qputenv("QT_QPA_PLATFORM", "offscreen");
    QApplication application(argc, argv);
    const int count = argc > 1 ? std::max(10, std::atoi(argv[1])) : 10'000;
    test::ScriptedPort port;
    Theme theme;
    Workbench workbench(port, theme);
    ChatView view(workbench);
    view.resize(900, 800);
    view.show();
    QApplication::processEvents();
    const auto messages = conversation(count);
    const double open = frame(view, [&] {
        port.say(test::opened(1, messages));
        workbench.pull();
    });
    const int end = view.verticalScrollBar()->maximum();
    const Percentiles wheel = scroll(view, 600, [&](int i) { return end - 66 * i; }); // three notches a frame
    std::mt19937 random(3);
    const Percentiles jumps = scroll(view, 300, [&](int) { return int(random() % unsigned(end)); });
    view.scrollToEnd();
    api::Message streaming = test::message(count + 1, count, api::Role::assistant, "");
    streaming.state = api::MessageState::streaming;
    port.say(api::update::MessageAdded{SessionId{1}, streaming});
    workbench.pull();
    const std::string text = reply(random) + reply(random) + reply(random);
    std::vector<double> times;
    for (std::size_t at = 0; at < text.size(); at += 12)
        times.push_back(frame(view, [&] {
            port.say(api::update::TextAppended{SessionId{1}, MessageId{count + 1}, text.substr(at, 12)});
            workbench.pull();
        }));
    std::printf("{\n  \"messages\": %d,\n  \"open_ms\": %.1f,\n", count, open);
    print("scrolling", wheel, ",");
    print("jumping", jumps, ",");
    print("streaming", percentiles(std::move(times)), "");
    std::printf("}\n");
    return 0;
}
