// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/chat/attachments.h"

#include <QWidget>

#include <vector>

namespace kvilt::ui {

class Theme;

// The files that go with the message being written, above its text; each with a button that takes it away. Takes no
// room while there is none.
class AttachmentBar : public QWidget {
    Q_OBJECT
public:
    explicit AttachmentBar(Theme &theme, QWidget *parent = nullptr);
    void setFiles(const std::vector<Attachment> &files);

signals:
    void removed(int index);

private:
    void rebuild();
    QWidget *chip(int index);

    Theme &m_theme;
    std::vector<std::pair<QString, QString>> m_files; // name, size
};

} // namespace kvilt::ui
