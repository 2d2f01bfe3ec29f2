// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QStyledItemDelegate>

namespace kvilt::ui {

// Paints a row of the sidebar: title and size above, where its KV is below; a search hit shows the words found.
class SessionDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    explicit SessionDelegate(Workbench &workbench, QObject *parent = nullptr);

    void paint(QPainter *painter, const QStyleOptionViewItem &option, const QModelIndex &index) const override;
    QSize sizeHint(const QStyleOptionViewItem &option, const QModelIndex &index) const override;
    QWidget *createEditor(QWidget *parent, const QStyleOptionViewItem &option, const QModelIndex &index) const override;
    void updateEditorGeometry(QWidget *editor, const QStyleOptionViewItem &option,
                              const QModelIndex &index) const override;

private:
    void paintHeading(QPainter *painter, const QRect &rect, const QModelIndex &index) const;
    void paintSnippet(QPainter *painter, const QRect &rect, const QString &snippet) const;

    Workbench &m_workbench;
};

} // namespace kvilt::ui
