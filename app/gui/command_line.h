// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/settings.h"
#include "engine/support/error.h"

#include <QString>
#include <QStringList>

#include <functional>
#include <optional>

// What `kvilt` was asked for. Values are taken as they are written; they override the stored settings for this run.
namespace kvilt::gui {

struct CommandLine {
    QString model;
    QString profile;
    QString screenshot;
    int afterMs = 1500;
    QString replay;
    QString theme;
    int width = 1440, height = 900;
    bool stallReport = false;
    bool startupReport = false;
    bool help = false, version = false;
    // Applied over the settings that were stored; a wrong value is one sentence.
    std::vector<std::function<Result<void>(api::EngineSettings &)>> engine;
};

Result<CommandLine> parseCommandLine(const QStringList &arguments);
QString usage();

} // namespace kvilt::gui
