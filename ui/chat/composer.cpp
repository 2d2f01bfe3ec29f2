// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/composer.h"

#include "ui/blockmap/ribbon_widget.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/theme.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QPlainTextEdit>
#include <QStyle>
#include <QTextBlock>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>

namespace kvilt::ui {

namespace {
constexpr int kButton = 32;
constexpr int kPreviewDelayMs = 150; // after the last key, so that typing does not tokenise at every letter
} // namespace

Composer::Composer(Workbench &workbench, QWidget *parent) : QFrame(parent), m_workbench(workbench)
{
    setProperty("role", "composer");
    m_edit = new QPlainTextEdit(this);
    m_edit->setAccessibleName(tr("Message"));
    m_edit->setFrameShape(QFrame::NoFrame);
    m_edit->setVerticalScrollBarPolicy(Qt::ScrollBarAsNeeded);
    m_edit->setTabChangesFocus(true);
    m_edit->document()->setDocumentMargin(0);
    m_edit->installEventFilter(this);
    m_button = new QToolButton(this);
    m_button->setFixedSize(kButton, kButton);
    m_button->setIconSize({metrics::kIcon, metrics::kIcon});
    auto *top = new QHBoxLayout;
    top->setContentsMargins(16, 12, 12, 10);
    top->setSpacing(12);
    top->addWidget(m_edit, 1);
    top->addWidget(m_button, 0, Qt::AlignTop);

    m_rule = new QFrame(this);
    m_rule->setProperty("role", "rule");
    m_rule->setFixedHeight(1);
    auto *bottom = new QHBoxLayout;
    bottom->setContentsMargins(16, 0, 16, 0);
    m_ribbon = new RibbonWidget(workbench, this);
    bottom->addWidget(m_ribbon, 1, Qt::AlignVCenter);
    auto *strip = new QWidget(this);
    strip->setFixedHeight(35);
    strip->setLayout(bottom);

    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(1, 1, 1, 1);
    column->setSpacing(0);
    column->addLayout(top);
    column->addWidget(m_rule);
    column->addWidget(strip);
    setTabOrder(m_edit, m_button);
    setTabOrder(m_button, m_ribbon);

    m_previewTimer.setSingleShot(true);
    m_previewTimer.setInterval(kPreviewDelayMs);
    connect(&m_previewTimer, &QTimer::timeout, this, &Composer::askPreview);
    connect(m_edit, &QPlainTextEdit::textChanged, this, &Composer::textChanged);
    connect(m_button, &QToolButton::clicked, this,
            [this] { m_workbench.busy(m_session) ? stop() : trySend(); });
    connect(&workbench, &Workbench::currentSessionChanged, this, &Composer::sessionChanged);
    connect(&workbench, &Workbench::busyChanged, this, [this](SessionId session, bool busy) {
        if (session != m_session)
            return;
        if (!busy)
            m_progress.reset();
        refreshButton();
        refreshPlaceholder();
    });
    connect(&workbench, &Workbench::turnProgressed, this, &Composer::followProgress);
    connect(&workbench, &Workbench::promptPreviewed, this, &Composer::takePreview);
    connect(&workbench, &Workbench::textReturned, this, [this](SessionId session, const QString &words) {
        if (session == m_session)
            setText(text().isEmpty() ? words : words + QLatin1Char('\n') + text());
    });
    connect(&workbench, &Workbench::modelChanged, this, [this] {
        refreshButton();
        refreshPlaceholder();
        if (m_workbench.modelReady() && m_sendWhenReady)
            trySend();
    });
    connect(&workbench.theme(), &Theme::changed, this, &Composer::recolour);
    recolour();
    refreshButton();
    refreshPlaceholder();
    refreshCount();
    fitHeight();
}

QString Composer::text() const
{
    return m_edit->toPlainText();
}

void Composer::setText(const QString &text)
{
    m_edit->setPlainText(text);
    m_edit->moveCursor(QTextCursor::End);
}

void Composer::focusText()
{
    m_edit->setFocus();
}

void Composer::sessionChanged(SessionId session)
{
    if (session == m_session)
        return;
    m_drafts[m_session] = text();
    m_session = session;
    m_preview.reset();
    m_progress.reset();
    m_sendWhenReady = false;
    const auto draft = m_drafts.find(session);
    setText(draft == m_drafts.end() ? QString() : draft->second);
    refreshButton();
    refreshPlaceholder();
    refreshCount();
    emit overflowChanged({});
}

void Composer::textChanged()
{
    fitHeight();
    refreshButton();
    if (text().isEmpty()) {
        m_previewTimer.stop();
        m_preview.reset();
        m_sendWhenReady = false;
        refreshCount();
        emit overflowChanged({});
    } else {
        m_previewTimer.start();
    }
}

void Composer::askPreview()
{
    if (m_session.value != 0 && m_workbench.modelReady())
        m_workbench.post(api::command::PreviewPrompt{m_session, text().toStdString()});
}

void Composer::takePreview(const api::update::PromptPreview &preview)
{
    // Without a draft only a chat that does not fit any more is news: its last message waits for a decision.
    if (preview.session != m_session || (text().isEmpty() && !preview.overflows))
        return;
    m_preview = preview;
    refreshCount();
    emit overflowChanged(preview.overflows ? m_preview : std::nullopt);
}

void Composer::followProgress(const api::update::TurnProgress &progress)
{
    if (progress.session != m_session)
        return;
    m_progress = progress;
    refreshPlaceholder();
}

void Composer::trySend()
{
    if (text().trimmed().isEmpty() || m_workbench.busy(m_session) || m_session.value == 0)
        return;
    if (!m_workbench.modelReady()) {
        m_sendWhenReady = m_workbench.model().phase == api::update::ModelPhase::loading;
        refreshPlaceholder();
        return;
    }
    const bool mustAsk = m_preview && m_preview->overflows &&
                         m_workbench.sessionSettings().contextFull != api::ContextFull::dropOldest;
    if (!mustAsk)
        send(m_preview && m_preview->overflows);
    else
        emit overflowChanged(m_preview);
}

void Composer::send(bool dropOldest)
{
    const QString words = text().trimmed();
    const bool waiting = m_preview && m_preview->overflows && dropOldest; // an unanswered message is sent again
    if ((words.isEmpty() && !waiting) || m_workbench.busy(m_session) || m_session.value == 0)
        return;
    m_sendWhenReady = false;
    m_workbench.post(api::command::Send{m_session, words.toStdString(), dropOldest});
    m_preview.reset();
    m_edit->clear();
    emit overflowChanged({});
    focusText();
}

void Composer::stop()
{
    if (m_workbench.busy(m_session))
        m_workbench.post(api::command::Stop{m_session});
}

void Composer::refreshButton()
{
    const bool busy = m_workbench.busy(m_session);
    const Palette &p = m_workbench.theme().palette();
    const bool canSend = !text().trimmed().isEmpty() && m_session.value != 0;
    const char *role = busy ? "stop" : "send";
    if (m_button->property("role").toString() != QLatin1String(role)) {
        m_button->setProperty("role", role);
        m_button->style()->unpolish(m_button);
        m_button->style()->polish(m_button);
    }
    m_button->setEnabled(busy || canSend);
    m_button->setIcon(busy ? icon(QStringLiteral("stop"), p.surface)
                           : icon(QStringLiteral("send"), canSend ? p.onAccent : p.tertiary));
    m_button->setAccessibleName(busy ? tr("Stop") : tr("Send"));
    m_button->setToolTip(busy ? tr("Stop (Esc)") : tr("Send (Enter)"));
}

// What the next prompt takes, once the engine has counted it; else the strip says what the chat takes now.
void Composer::refreshCount()
{
    m_ribbon->setDraft(m_preview ? m_preview->promptTokens : 0, m_preview ? m_preview->contextTokens : 0);
}

void Composer::refreshPlaceholder()
{
    using api::update::ModelPhase;
    using api::update::TurnPhase;
    QString words = tr("Ask anything");
    const ModelPhase phase = m_workbench.model().phase;
    if (phase == ModelPhase::loading)
        words = m_sendWhenReady ? tr("Sent as soon as the model is ready") : tr("The model is loading; write already");
    else if (phase != ModelPhase::ready)
        words = tr("Choose a model to begin");
    else if (m_workbench.busy(m_session) && m_progress && m_progress->phase != TurnPhase::decode &&
             m_progress->secondsLeft >= 0.5)
        words = tr("The answer will start in about %1 s. Esc stops.").arg(int(m_progress->secondsLeft + 0.5));
    if (m_edit->placeholderText() != words)
        m_edit->setPlaceholderText(words);
}

void Composer::recolour()
{
    m_edit->setFont(m_workbench.theme().font(TextSize::chat));
    refreshButton();
}

void Composer::fitHeight()
{
    int lines = 0;
    for (QTextBlock block = m_edit->document()->begin(); block.isValid() && lines < 100; block = block.next())
        lines += std::max(block.layout() ? block.layout()->lineCount() : 1, 1);
    const int pitch = m_edit->fontMetrics().lineSpacing();
    const int room = window() ? std::max(window()->height() / 3, 120) : 240;
    m_edit->setFixedHeight(std::clamp(lines * pitch + 4, 36, room));
}

void Composer::resizeEvent(QResizeEvent *event)
{
    QFrame::resizeEvent(event);
    fitHeight();
}

bool Composer::eventFilter(QObject *object, QEvent *event)
{
    if (event->type() == QEvent::FocusIn || event->type() == QEvent::FocusOut) {
        setProperty("focused", event->type() == QEvent::FocusIn ? "true" : "false");
        style()->unpolish(this);
        style()->polish(this);
    }
    if (event->type() == QEvent::KeyPress) {
        const auto *key = static_cast<QKeyEvent *>(event);
        const bool enter = key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter;
        if (enter && !(key->modifiers() & (Qt::ShiftModifier | Qt::AltModifier))) {
            trySend();
            return true;
        }
    }
    return QFrame::eventFilter(object, event);
}

} // namespace kvilt::ui
