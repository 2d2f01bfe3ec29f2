// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/attachment_bar.h"

#include "ui/widgets/format.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QFrame>
#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>

namespace kvilt::ui {

AttachmentBar::AttachmentBar(Theme &theme, QWidget *parent) : QWidget(parent), m_theme(theme)
{
    setAccessibleName(tr("Attached files"));
    auto *row = new QHBoxLayout(this);
    row->setContentsMargins(12, 12, 12, 0);
    row->setSpacing(metrics::kGrid);
    connect(&theme, &Theme::changed, this, &AttachmentBar::rebuild);
    hide();
}

void AttachmentBar::setFiles(const std::vector<Attachment> &files)
{
    m_files.clear();
    for (const Attachment &file : files)
        m_files.emplace_back(file.name, bytes(file.text.size()));
    rebuild();
}

QWidget *AttachmentBar::chip(int index)
{
    const auto &[name, size] = m_files[std::size_t(index)];
    auto *frame = new QFrame(this);
    frame->setProperty("role", "chip");
    auto *row = new QHBoxLayout(frame);
    row->setContentsMargins(10, 3, 4, 3);
    row->setSpacing(6);
    auto *sign = new QLabel(frame);
    sign->setPixmap(iconPixmap(QStringLiteral("file"), m_theme.palette().secondary, 14, devicePixelRatioF()));
    auto *title = new QLabel(frame);
    title->setTextFormat(Qt::PlainText);
    title->setText(fontMetrics().elidedText(name, Qt::ElideMiddle, 200));
    title->setToolTip(name.toHtmlEscaped());
    auto *amount = new QLabel(size, frame);
    amount->setProperty("tone", "secondary");
    amount->setFont(m_theme.font(TextSize::secondary));
    auto *remove = new QToolButton(frame);
    remove->setIcon(icon(QStringLiteral("close"), m_theme.palette().secondary));
    remove->setIconSize({12, 12});
    remove->setFixedSize(20, 20);
    remove->setAccessibleName(tr("Do not attach %1").arg(name));
    remove->setToolTip(tr("Take away"));
    connect(remove, &QToolButton::clicked, this, [this, index] { emit removed(index); });
    for (QWidget *part : std::initializer_list<QWidget *>{sign, title, amount, remove})
        row->addWidget(part);
    return frame;
}

void AttachmentBar::rebuild()
{
    while (QLayoutItem *item = layout()->takeAt(0)) {
        if (item->widget())
            item->widget()->deleteLater(); // its own button may have asked for this
        delete item;
    }
    for (int i = 0; i < int(m_files.size()); ++i)
        layout()->addWidget(chip(i));
    static_cast<QHBoxLayout *>(layout())->addStretch(1);
    setVisible(!m_files.empty());
}

} // namespace kvilt::ui
