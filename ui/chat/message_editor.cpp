// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/message_editor.h"

#include "ui/widgets/plain_edit.h"
#include "ui/widgets/theme.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QVBoxLayout>

namespace kvilt::ui {

MessageEditor::MessageEditor(Theme &theme, QWidget *parent) : QFrame(parent)
{
    setProperty("role", "composer");
    setAccessibleName(tr("Edit message"));
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(12, 10, 12, 10);
    m_edit = new PlainEdit(this);
    m_edit->setFont(theme.font(TextSize::chat));
    m_edit->setFrameShape(QFrame::NoFrame);
    m_edit->setAccessibleName(tr("New text of the message"));
    m_edit->installEventFilter(this);
    column->addWidget(m_edit, 1);
    auto *row = new QHBoxLayout;
    auto *hint = new QLabel(tr("The old text stays as a branch."), this);
    hint->setProperty("tone", "tertiary");
    hint->setFont(theme.font(TextSize::secondary));
    m_save = new QPushButton(tr("Send"), this);
    m_save->setProperty("role", "primary");
    auto *cancel = new QPushButton(tr("Cancel"), this);
    row->addWidget(hint, 1);
    row->addWidget(cancel);
    row->addWidget(m_save);
    column->addLayout(row);
    connect(m_save, &QPushButton::clicked, this, [this] { emit accepted(m_message, text()); });
    connect(cancel, &QPushButton::clicked, this, &MessageEditor::cancelled);
    connect(m_edit, &QPlainTextEdit::textChanged, this, &MessageEditor::grew);
    hide();
}

void MessageEditor::begin(MessageId message, const QString &text, bool answeredAgain)
{
    m_message = message;
    m_save->setText(answeredAgain ? tr("Send") : tr("Save"));
    m_edit->setPlainText(text);
    m_edit->moveCursor(QTextCursor::End);
    show();
    raise();
    m_edit->setFocus();
}

QString MessageEditor::text() const
{
    return m_edit->toPlainText();
}

int MessageEditor::wantedHeight() const
{
    const int lines = int(m_edit->document()->size().height());
    return std::clamp(lines, 2, 14) * 20 + 76;
}

bool MessageEditor::eventFilter(QObject *object, QEvent *event)
{
    if (event->type() == QEvent::KeyPress || event->type() == QEvent::ShortcutOverride) {
        const auto *key = static_cast<QKeyEvent *>(event);
        const bool enter = key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter;
        if (event->type() == QEvent::ShortcutOverride) {
            if (!enter)
                return QFrame::eventFilter(object, event);
            event->accept(); // Ctrl+Enter sends what is edited here, it does not continue a reply behind it
            return true;
        }
        if (enter && !(key->modifiers() & Qt::ShiftModifier)) {
            emit accepted(m_message, text());
            return true;
        }
        if (key->key() == Qt::Key_Escape) {
            emit cancelled();
            return true;
        }
    }
    return QFrame::eventFilter(object, event);
}

} // namespace kvilt::ui
