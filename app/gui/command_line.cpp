// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/command_line.h"

#include "app/settings/settings.h"

#include <cstdlib>
#include <utility>

namespace kvilt::gui {

namespace {

tl::unexpected<Error> wrong(const QString &sentence)
{
    return tl::unexpected(Error{ErrorCode::badInput, sentence.toStdString()});
}

Result<int> number(const QString &option, const QString &text, int low, int high)
{
    bool ok = false;
    const int value = text.toInt(&ok);
    if (!ok || value < low || value > high)
        return wrong(QStringLiteral("%1 takes a whole number from %2 to %3, not \"%4\"").arg(option).arg(low).arg(high).arg(text));
    return value;
}

Result<void> engineOption(CommandLine &line, const QString &option, const QString &value)
{
    const std::string text = value.toStdString();
    if (option == u"--backend") {
        line.engine.emplace_back([text](api::EngineSettings &s) -> Result<void> { return s.backend = text, Result<void>{}; });
    } else if (option == u"--policy") {
        line.engine.emplace_back([text](api::EngineSettings &s) -> Result<void> { return s.policy = text, Result<void>{}; });
    } else if (option == u"--kv-type") {
        line.engine.emplace_back([text](api::EngineSettings &s) { return settings::parseKvType(text, s); });
    } else if (option == u"--kv-memory") {
        line.engine.emplace_back([text](api::EngineSettings &s) -> Result<void> {
            auto bytes = settings::parseBytes(text);
            if (!bytes)
                return tl::unexpected(bytes.error());
            s.kvMemory = *bytes;
            return {};
        });
    } else {
        auto n = number(option, value, 0, 1 << 30);
        if (!n)
            return tl::unexpected(n.error());
        line.engine.emplace_back([option, v = *n](api::EngineSettings &s) -> Result<void> {
            if (option == u"--threads")
                s.threads = v;
            else if (option == u"--block-size")
                s.blockSize = v;
            else if (option == u"--ctx")
                s.contextLength = v;
            else
                s.kvBlocks = std::uint64_t(v);
            return {};
        });
    }
    return {};
}

Result<void> windowOption(CommandLine &line, const QString &option, const QString &value)
{
    if (option == u"--profile") {
        line.profile = value;
    } else if (option == u"--screenshot") {
        line.screenshot = value;
    } else if (option == u"--replay") {
        line.replay = value;
    } else if (option == u"--theme") {
        if (value != u"light" && value != u"dark" && value != u"system")
            return wrong(QStringLiteral("--theme takes light, dark or system, not \"%1\"").arg(value));
        line.theme = value;
    } else if (option == u"--after-ms") {
        auto n = number(option, value, 0, 3'600'000);
        if (!n)
            return tl::unexpected(n.error());
        line.afterMs = *n;
    } else if (option == u"--size") {
        const QStringList sides = value.split(QLatin1Char('x'));
        auto w = number(option, sides.value(0), 640, 7680), h = number(option, sides.value(1), 480, 4320);
        if (!w || !h)
            return wrong(QStringLiteral("--size takes WIDTHxHEIGHT, such as 1440x900, not \"%1\"").arg(value));
        line.width = *w;
        line.height = *h;
    }
    return {};
}

} // namespace

QString usage()
{
    return QStringLiteral(
        "usage: kvilt [MODEL.gguf] [options]\n"
        "  --profile DIR             where sessions and KV live (default: the user's folders)\n"
        "  --theme light|dark|system\n"
        "  --backend auto|cpu|cuda   --threads N   --kv-type TYPE or k=TYPE,v=TYPE   --block-size N\n"
        "  --kv-blocks N or --kv-memory SIZE   --ctx N   --policy NAME\n"
        "  --deterministic           on a GPU: own kernels only, so that no bit depends on the batch\n"
        "  --near-reuse              stored KV of another processor or GPU will do: nearly, not exactly, the same numbers\n"
        "  --screenshot FILE.png     draws the window offscreen and quits\n"
        "     --after-ms N           this long after the first frame, or after the last step of a replay (1500)\n"
        "     --size WIDTHxHEIGHT    (1440x900)\n"
        "  --replay RECORDING        plays steps from a file, one JSON object a line (app/gui/replay.h)\n"
        "  --startup-report          prints when the first frame was painted, in ms since the process began\n"
        "  --stall-report            prints at the end how long the event loop was ever away\n"
        "  --help, --version\n");
}

Result<CommandLine> parseCommandLine(const QStringList &arguments)
{
    static const QStringList engineOptions{"--backend",    "--policy",    "--kv-type", "--kv-memory",
                                           "--threads",    "--block-size", "--kv-blocks", "--ctx"};
    static const QStringList windowOptions{"--profile", "--screenshot", "--replay", "--theme", "--after-ms", "--size"};
    CommandLine line;
    for (qsizetype i = 1; i < arguments.size(); ++i) {
        const QString option = arguments[i].section(QLatin1Char('='), 0, 0);
        const bool engine = engineOptions.contains(option);
        if (engine || windowOptions.contains(option)) {
            const bool joined = arguments[i].contains(QLatin1Char('='));
            if (!joined && i + 1 >= arguments.size())
                return wrong(QStringLiteral("%1 needs a value").arg(option));
            const QString value = joined ? arguments[i].section(QLatin1Char('='), 1) : arguments[++i];
            auto taken = engine ? engineOption(line, option, value) : windowOption(line, option, value);
            if (!taken)
                return tl::unexpected(taken.error());
        } else if (option == u"--deterministic") {
            line.engine.emplace_back([](api::EngineSettings &) -> Result<void> {
                ::setenv("KVILT_CUDA_DETERMINISTIC", "1", 1); // read where a GPU is opened
                return {};
            });
        } else if (option == u"--near-reuse") {
            line.engine.emplace_back([](api::EngineSettings &s) -> Result<void> { return s.nearReuse = true, Result<void>{}; });
        } else if (option == u"--stall-report") {
            line.stallReport = true;
        } else if (option == u"--startup-report") {
            line.startupReport = true;
        } else if (option == u"--help" || option == u"-h") {
            line.help = true;
        } else if (option == u"--version") {
            line.version = true;
        } else if (option.startsWith(QLatin1Char('-'))) {
            return wrong(QStringLiteral("unknown option %1; kvilt --help lists them").arg(option));
        } else if (line.model.isEmpty()) {
            line.model = arguments[i];
        } else {
            return wrong(QStringLiteral("one model at a time: \"%1\" or \"%2\"").arg(line.model, arguments[i]));
        }
    }
    return line;
}

} // namespace kvilt::gui
