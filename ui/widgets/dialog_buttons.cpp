// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/dialog_buttons.h"

#include <QBoxLayout>
#include <QDialog>
#include <QPushButton>

namespace kvilt::ui {

void addDialogButtons(QDialog &dialog, QBoxLayout &column, const QString &accept)
{
    auto *row = new QHBoxLayout;
    auto *cancel = new QPushButton(QDialog::tr("Cancel"), &dialog);
    auto *take = new QPushButton(accept, &dialog);
    take->setProperty("role", "primary");
    take->setDefault(true);
    row->addStretch(1);
    row->addWidget(cancel);
    row->addWidget(take);
    column.addLayout(row);
    QObject::connect(take, &QPushButton::clicked, &dialog, &QDialog::accept);
    QObject::connect(cancel, &QPushButton::clicked, &dialog, &QDialog::reject);
}

} // namespace kvilt::ui
