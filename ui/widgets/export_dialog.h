// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QDialog>

class QCheckBox;
class QLabel;
class QRadioButton;

namespace kvilt::ui {

// Asks how a chat leaves the program: Markdown, JSON (OpenAI messages) or .kvilt with or without its KV.
class ExportDialog : public QDialog {
    Q_OBJECT
public:
    ExportDialog(Theme &theme, const QString &title, std::uint64_t kvBytes, QWidget *parent = nullptr);
    api::command::ExportFormat format() const;
    bool withKv() const;
    static QString suffix(api::command::ExportFormat format);
    // A file name from a chat's title that every file system takes.
    static QString fileName(const QString &title, api::command::ExportFormat format);

private:
    QRadioButton *m_markdown = nullptr, *m_json = nullptr, *m_kvilt = nullptr;
    QCheckBox *m_withKv = nullptr;
};

} // namespace kvilt::ui
