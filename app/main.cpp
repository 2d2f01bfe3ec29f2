// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/command_line.h"
#include "app/gui/replay.h"
#include "app/gui/replay_input.h"
#include "app/settings/settings.h"
#include "app/worker/engine_worker.h"
#include "engine/support/version.h"
#include "ui/widgets/main_window.h"
#include "ui/widgets/stall_watch.h"
#include "ui/widgets/system_theme.h"

#include <QApplication>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QTimer>

#include <unistd.h>

#include <cstdio>
#include <ctime>

// The window: it reads the command line and the settings, starts the engine's thread and puts the window on the screen
// before anything slow happens. Everything between window and engine goes through api::EnginePort.
namespace {

using namespace kvilt;

int fail(const std::string &sentence, int code)
{
    std::fprintf(stderr, "kvilt: %s\n", sentence.c_str());
    return code;
}

// Milliseconds since the kernel started this process, so that loading libraries counts as well.
double msSinceStart()
{
    QFile stat(QStringLiteral("/proc/self/stat"));
    if (!stat.open(QIODevice::ReadOnly))
        return -1;
    const QByteArray text = stat.readAll();
    const QList<QByteArray> fields = text.mid(text.lastIndexOf(')') + 2).split(' ');
    const double ticks = fields.value(19).toDouble() / double(sysconf(_SC_CLK_TCK));
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double(now.tv_sec) + double(now.tv_nsec) / 1e9 - ticks) * 1000;
}

// The script lies beside the build tree, or where packages put it.
QString fetchProgram()
{
    const QString here = QCoreApplication::applicationDirPath();
    for (const QString &place : {here + QStringLiteral("/../../../packaging/fetch-model"),
                                 here + QStringLiteral("/../libexec/kvilt/fetch-model"),
                                 here + QStringLiteral("/../share/kvilt/fetch-model")})
        if (QFileInfo(place).isExecutable())
            return QDir::cleanPath(place);
    return {};
}

ui::WindowOptions windowOptions(const settings::AppSettings &app, const store::ProfilePaths &paths, const gui::CommandLine &line,
                                const std::vector<std::string> &problems)
{
    ui::WindowOptions options;
    for (const std::string &problem : problems)
        options.notices << QString::fromStdString(problem);
    options.engine = app.engine;
    options.newSession = app.newSession;
    options.model = line.model.isEmpty() ? app.lastModel : QFileInfo(line.model).absoluteFilePath().toStdString();
    options.modelFolders = app.modelFolders;
    options.theme = line.theme == u"dark"    ? ui::ThemeChoice::dark
                    : line.theme == u"light" ? ui::ThemeChoice::light
                                             : ui::ThemeChoice(int(app.theme));
    options.reducedMotion = app.reducedMotion;
    if (line.screenshot.isEmpty()) // a picture is always the first arrangement
        options.layoutFile = QString::fromStdString((paths.settings.parent_path() / "layout.ini").string());
    options.fetchProgram = fetchProgram();
    options.dataFolder = QString::fromStdString(paths.models.string());
    return options;
}

// Only what was changed in the window: what the command line set holds for once. The engine's thread writes the model
// it loaded into the same file.
void saveWindowOptions(const std::filesystem::path &file, const ui::WindowOptions &options, const ui::WindowOptions &atStart)
{
    settings::AppSettings now = settings::loadSettings(file).settings;
    now.newSession = options.newSession;
    if (options.theme != atStart.theme)
        now.theme = settings::Theme(int(options.theme));
    if (options.engineChosen)
        now.engine = options.engine;
    now.reducedMotion = options.reducedMotion;
    if (auto saved = settings::saveSettings(file, now); !saved)
        std::fprintf(stderr, "kvilt: %s\n", saved.error().message.c_str());
}

// Drawing and packing the picture is no work of the window's: its event loop is not watched meanwhile.
void takeScreenshot(ui::MainWindow &window, const QString &path)
{
    window.stallWatch().stop();
    const bool written = gui::grabWithPopups(window).save(path);
    if (!written)
        std::fprintf(stderr, "kvilt: the picture could not be written to %s\n", qPrintable(path));
    QCoreApplication::exit(written ? 0 : 1);
}

// Replay and picture: the picture is taken some time after the last step.
void schedule(const gui::CommandLine &line, std::vector<QJsonObject> steps, ui::Workbench &workbench, ui::MainWindow &window)
{
    const auto picture = [&window, line] {
        if (!line.screenshot.isEmpty())
            QTimer::singleShot(line.afterMs, &window, [&window, line] { takeScreenshot(window, line.screenshot); });
        else if (!line.replay.isEmpty() && line.stallReport)
            QCoreApplication::exit(0);
    };
    if (line.replay.isEmpty()) {
        QObject::connect(&window, &ui::MainWindow::firstFramePainted, &window, picture);
        return;
    }
    auto *replay = new gui::Replay(std::move(steps), workbench, window);
    replay->setParent(&window);
    QObject::connect(replay, &gui::Replay::finished, &window, picture);
    QObject::connect(&window, &ui::MainWindow::firstFramePainted, replay, &gui::Replay::start);
}

int runWindow(QApplication &application, const gui::CommandLine &line, const store::ProfilePaths &paths)
{
    const settings::LoadedSettings stored = settings::loadSettings(paths.settings);
    for (const std::string &problem : stored.problems)
        std::fprintf(stderr, "kvilt: %s\n", problem.c_str());
    settings::AppSettings app = stored.settings;
    for (const auto &apply : line.engine)
        if (auto applied = apply(app.engine); !applied)
            return fail(applied.error().message, 2);
    if (auto valid = settings::validate(app.engine); !valid)
        return fail(valid.error().message, 2);
    std::vector<QJsonObject> steps;
    if (!line.replay.isEmpty()) {
        auto read = gui::Replay::read(line.replay);
        if (!read)
            return fail(read.error().message, 2);
        steps = std::move(*read);
    }
    const bool forAPicture = !line.screenshot.isEmpty();
    worker::EngineWorker worker({paths, app, !forAPicture});
    ui::Theme theme;
    const ui::SystemThemeWatcher watcher(theme);
    const ui::WindowOptions options = windowOptions(app, paths, line, stored.problems);
    theme.setReducedMotion(options.reducedMotion);
    theme.setChoice(options.theme);
    theme.apply(application);
    ui::Workbench workbench(worker, theme);
    ui::MainWindow window(workbench, options);
    window.resize(line.width, line.height);
    QObject::connect(&window, &ui::MainWindow::optionsChanged, &window,
                     [&](const ui::WindowOptions &changed) {
                         if (!forAPicture)
                             saveWindowOptions(paths.settings, changed, options);
                     });
    QObject::connect(&window, &ui::MainWindow::firstFramePainted, &window, [&] {
        if (line.startupReport)
            std::fprintf(stderr, "kvilt: first frame painted after %.0f ms\n", msSinceStart());
        if (line.stallReport)
            window.stallWatch().start();
    });
    schedule(line, std::move(steps), workbench, window);
    window.show();
    const int code = application.exec();
    if (line.stallReport)
        std::fprintf(stderr, "kvilt: %s\n", qPrintable(window.stallWatch().report()));
    return code;
}

} // namespace

int main(int argc, char **argv)
{
    QStringList arguments;
    for (int i = 0; i < argc; ++i)
        arguments << QString::fromLocal8Bit(argv[i]);
    const auto line = gui::parseCommandLine(arguments);
    if (!line)
        return fail(line.error().message, 2);
    if (line->help || line->version) {
        std::fputs(line->help ? qPrintable(gui::usage()) : ("kvilt " + std::string(version()) + "\n").c_str(), stdout);
        return 0;
    }
    if (!line->screenshot.isEmpty())
        qputenv("QT_QPA_PLATFORM", "offscreen");
    const bool display = qEnvironmentVariableIsSet("DISPLAY") || qEnvironmentVariableIsSet("WAYLAND_DISPLAY") ||
                         qEnvironmentVariableIsSet("QT_QPA_PLATFORM");
    if (!display)
        return fail("there is no display here; kvilt-cli chat talks in the terminal, and --screenshot draws without one", 1);
    const auto paths = store::profilePaths(line->profile.toStdString());
    if (!paths)
        return fail(paths.error().message, 2);
    QApplication application(argc, argv);
    QApplication::setApplicationName(QStringLiteral("kvilt"));
    QApplication::setApplicationDisplayName(QStringLiteral("Kvilt"));
    QApplication::setApplicationVersion(QString::fromStdString(std::string(version())));
    QGuiApplication::setDesktopFileName(QStringLiteral("org.kvilt.Kvilt"));
    return runWindow(application, *line, *paths);
}
