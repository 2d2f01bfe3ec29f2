// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QFrame>
#include <QPoint>

class QLabel;
class QPushButton;

namespace kvilt::ui {

// Shows where a link of a message leads before anything opens. Only web and mail addresses can be opened; all
// others can be copied. The target is shown whole, with invisible and direction-changing characters written out.
class LinkPopover : public QFrame {
    Q_OBJECT
public:
    explicit LinkPopover(QWidget *parent = nullptr);
    void ask(const QString &target, const QPoint &globalPosition);

    static bool opens(const QString &target);
    static QString shown(const QString &target);

private:
    QString m_target;
    QLabel *m_text = nullptr;
    QLabel *m_note = nullptr;
    QPushButton *m_open = nullptr;
};

} // namespace kvilt::ui
