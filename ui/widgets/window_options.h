// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/settings.h"
#include "ui/widgets/theme.h"

#include <QString>
#include <QStringList>

#include <string>
#include <vector>

namespace kvilt::ui {

// What the window needs of the program's settings, and gives back when the user changes them. The program reads
// and writes the file; the window only holds values.
struct WindowOptions {
    api::EngineSettings engine;
    bool engineChosen = false;             // in the window, so that it is kept
    api::SessionSettings newSession;
    std::string model;                     // loaded at start; empty: the first page is shown
    std::vector<std::string> modelFolders; // searched for GGUF files besides the usual places
    ThemeChoice theme = ThemeChoice::system;
    bool reducedMotion = false;
    QString layoutFile;                    // window and dock geometry; empty: not kept
    QString fetchProgram;                  // packaging/fetch-model; empty: not installed
    QString dataFolder;                    // where fetched models lie
    QStringList notices;                   // said once the window stands
};

} // namespace kvilt::ui
