// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/link_popover.h"

#include "ui/chat/rich_text.h"

#include <QClipboard>
#include <QDesktopServices>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QUrl>
#include <QVBoxLayout>

namespace kvilt::ui {

LinkPopover::LinkPopover(QWidget *parent) : QFrame(parent, Qt::Popup | Qt::FramelessWindowHint)
{
    setProperty("role", "popover");
    setAccessibleName(tr("Where this link leads"));
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(16, 12, 16, 12);
    m_text = new QLabel(this);
    m_text->setTextFormat(Qt::PlainText);
    m_text->setWordWrap(true);
    m_text->setMinimumWidth(320);
    m_text->setMaximumWidth(520);
    m_note = new QLabel(tr("Only web and mail addresses open from here."), this);
    m_note->setProperty("tone", "tertiary");
    auto *row = new QHBoxLayout;
    m_open = new QPushButton(tr("Open in the browser"), this);
    m_open->setProperty("role", "primary");
    auto *copy = new QPushButton(tr("Copy address"), this);
    row->addWidget(copy);
    row->addWidget(m_open);
    row->addStretch(1);
    column->addWidget(m_text);
    column->addWidget(m_note);
    column->addLayout(row);
    connect(m_open, &QPushButton::clicked, this, [this] {
        hide();
        QDesktopServices::openUrl(QUrl(m_target, QUrl::StrictMode));
    });
    connect(copy, &QPushButton::clicked, this, [this] {
        QGuiApplication::clipboard()->setText(m_target);
        hide();
    });
}

bool LinkPopover::opens(const QString &target)
{
    const QUrl url(target, QUrl::StrictMode);
    const QString scheme = url.scheme().toLower();
    const bool web = (scheme == u"http" || scheme == u"https") && !url.host().isEmpty();
    return url.isValid() && (web || scheme == u"mailto");
}

QString LinkPopover::shown(const QString &target)
{
    RichText text;
    text.append(target.left(2000).toStdString(), kPlain, -1, -1);
    return text.text;
}

void LinkPopover::ask(const QString &target, const QPoint &globalPosition)
{
    m_target = target;
    m_text->setText(shown(target));
    const bool canOpen = opens(target);
    m_open->setVisible(canOpen);
    m_note->setVisible(!canOpen);
    adjustSize();
    move(globalPosition + QPoint(-16, 12));
    show();
    setFocus();
}

} // namespace kvilt::ui
