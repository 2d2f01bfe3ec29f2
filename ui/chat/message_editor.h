// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/ids.h"

#include <QFrame>

class QPlainTextEdit;
class QPushButton;

namespace kvilt::ui {

class Theme;

// Edits a message where it stands. Saving makes a new branch: the old one stays and can be switched back to.
class MessageEditor : public QFrame {
    Q_OBJECT
public:
    explicit MessageEditor(Theme &theme, QWidget *parent = nullptr);
    void begin(MessageId message, const QString &text, bool answeredAgain);
    MessageId message() const { return m_message; }
    QString text() const;
    int wantedHeight() const;

signals:
    void accepted(kvilt::MessageId message, const QString &text);
    void cancelled();
    void grew();

protected:
    bool eventFilter(QObject *object, QEvent *event) override;

private:
    MessageId m_message;
    QPlainTextEdit *m_edit = nullptr;
    QPushButton *m_save = nullptr;
};

} // namespace kvilt::ui
