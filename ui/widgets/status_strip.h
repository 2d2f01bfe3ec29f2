// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QStringList>
#include <QWidget>

namespace kvilt::ui {

// The line at the bottom: device and threads, the pool's numbers, hit rate, bytes, what the last turn saved or lost.
class StatusStrip : public QWidget {
    Q_OBJECT
public:
    explicit StatusStrip(Workbench &workbench, QWidget *parent = nullptr);
    const QStringList &items() const { return m_items; }
    void setStallText(const QString &text); // the debug overlay; empty: off
    QSize sizeHint() const override;

    static QString deviceWords(const api::update::ModelState &state);

protected:
    void paintEvent(QPaintEvent *event) override;

private:
    void rebuild();
    void addMachine(QStringList &items) const;

    Workbench &m_workbench;
    QStringList m_items;
    QString m_turn;
    QString m_stalls;
};

} // namespace kvilt::ui
