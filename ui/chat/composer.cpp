// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/chat/composer.h"

#include "ui/blockmap/ribbon_widget.h"
#include "ui/chat/attachment_bar.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/plain_edit.h"
#include "ui/widgets/theme.h"

#include <QFileDialog>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QStyle>
#include <QTextBlock>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>

namespace kvilt::ui {

namespace {
constexpr int kButton = 32;
constexpr qsizetype kLongestTyped = 8000; // characters
constexpr int kPreviewDelayMs = 150; // after the last key, so that typing does not tokenise at every letter
// What is pasted goes the composer's way, which knows what to do with a long text.
class MessageEdit : public PlainEdit {
public:
    MessageEdit(Composer &composer, QWidget *parent) : PlainEdit(parent), m_composer(composer) {}

protected:
    void takeText(const QString &text) override { m_composer.insert(text); }

private:
    Composer &m_composer;
};

} // namespace

Composer::Composer(Workbench &workbench, QWidget *parent) : QFrame(parent), m_workbench(workbench)
{
    setProperty("role", "composer");
    m_bar = new AttachmentBar(workbench.theme(), this);
    auto *rule = new QFrame(this);
    rule->setProperty("role", "rule");
    rule->setFixedHeight(1);
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(1, 1, 1, 1);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(buildTop());
    column->addWidget(rule);
    column->addWidget(buildStrip());
    setTabOrder(m_edit, m_attach);
    setTabOrder(m_attach, m_button);
    setTabOrder(m_button, m_ribbon);
    m_previewTimer.setSingleShot(true);
    m_previewTimer.setInterval(kPreviewDelayMs);
    connect(&m_previewTimer, &QTimer::timeout, this, &Composer::askPreview);
    connectWorkbench();
    recolour();
    refreshButton();
    refreshPlaceholder();
    refreshCount();
    fitHeight();
}

QWidget *Composer::buildTop()
{
    auto *top = new QWidget(this);
    m_edit = new MessageEdit(*this, top);
    m_edit->setAccessibleName(tr("Message"));
    m_edit->setFrameShape(QFrame::NoFrame);
    m_edit->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_edit->setVerticalScrollBarPolicy(Qt::ScrollBarAsNeeded);
    m_edit->setTabChangesFocus(true);
    m_edit->setAcceptDrops(false); // files and text that are dropped go the window's way
    m_edit->document()->setDocumentMargin(0);
    m_edit->installEventFilter(this);
    m_attach = new QToolButton(top);
    m_attach->setFixedSize(kButton, kButton);
    m_attach->setIconSize({metrics::kIcon, metrics::kIcon});
    m_attach->setAccessibleName(tr("Attach a text file"));
    m_attach->setToolTip(tr("Attach a text file (Ctrl+Shift+A)"));
    m_button = new QToolButton(top);
    m_button->setFixedSize(kButton, kButton);
    m_button->setIconSize({metrics::kIcon, metrics::kIcon});
    auto *row = new QHBoxLayout(top);
    row->setContentsMargins(16, 12, 12, 10);
    row->setSpacing(4);
    row->addWidget(m_edit, 1);
    row->addWidget(m_attach, 0, Qt::AlignTop);
    row->addWidget(m_button, 0, Qt::AlignTop);
    connect(m_edit, &QPlainTextEdit::textChanged, this, &Composer::textChanged);
    connect(m_attach, &QToolButton::clicked, this, &Composer::askForFile);
    connect(m_button, &QToolButton::clicked, this, [this] { m_workbench.busy(m_session) ? stop() : trySend(); });
    connect(m_bar, &AttachmentBar::removed, this, [this](int index) {
        std::vector<Attachment> files = m_files;
        files.erase(files.begin() + index);
        setFiles(std::move(files));
    });
    return top;
}

QWidget *Composer::buildStrip()
{
    auto *strip = new QWidget(this);
    strip->setFixedHeight(35);
    auto *row = new QHBoxLayout(strip);
    row->setContentsMargins(16, 0, 16, 0);
    m_ribbon = new RibbonWidget(m_workbench, strip);
    row->addWidget(m_ribbon, 1, Qt::AlignVCenter);
    connect(m_ribbon, &RibbonWidget::activated, this, &Composer::textWanted);
    return strip;
}

void Composer::connectWorkbench()
{
    connect(&m_workbench, &Workbench::currentSessionChanged, this, &Composer::sessionChanged);
    connect(&m_workbench, &Workbench::busyChanged, this, [this](SessionId session, bool busy) {
        if (session != m_session)
            return;
        if (!busy)
            m_progress.reset();
        refreshButton();
        refreshPlaceholder();
    });
    connect(&m_workbench, &Workbench::messageAdded, this, [this](const api::update::MessageAdded &added) {
        if (added.session == m_session)
            m_sent.reset();
    });
    connect(&m_workbench, &Workbench::textReturned, this, [this](SessionId session, const QString &words) {
        if (session == m_session)
            giveBack(words);
    });
    connect(&m_workbench, &Workbench::noticed, this, &Composer::takeBack);
    connect(&m_workbench, &Workbench::turnProgressed, this, &Composer::followProgress);
    connect(&m_workbench, &Workbench::promptPreviewed, this, &Composer::takePreview);
    connect(&m_workbench, &Workbench::modelChanged, this, [this] {
        refreshButton();
        refreshPlaceholder();
        if (m_workbench.modelReady() && m_sendWhenReady)
            trySend();
    });
    connect(&m_workbench.theme(), &Theme::changed, this, &Composer::recolour);
}

void Composer::askForFile()
{
    const QString path = QFileDialog::getOpenFileName(this, tr("Attach a text file"));
    if (!path.isEmpty())
        attach(path);
}

void Composer::attach(const QString &path)
{
    auto file = readAttachment(path);
    if (!file) {
        emit refused(file.error());
        return;
    }
    std::vector<Attachment> files = m_files;
    std::erase_if(files, [&](const Attachment &known) { return known.name == file->name; });
    files.push_back(std::move(*file));
    setFiles(std::move(files));
    focusText();
}

void Composer::insert(const QString &text)
{
    if (!takeAsFile(text))
        m_edit->insertPlainText(text);
    focusText();
}

void Composer::setFiles(std::vector<Attachment> files)
{
    m_files = std::move(files);
    m_bar->setFiles(m_files);
    textChanged();
}

std::string Composer::draft() const
{
    return withAttachments(text().trimmed().toStdString(), m_files);
}

QString Composer::text() const
{
    return m_edit->toPlainText();
}

// A text so long is a document: it stands above the box with its size, and the box stays quick (Qt's editor takes the
// square of the length of a line).
bool Composer::takeAsFile(const QString &text)
{
    if (text.size() <= kLongestTyped)
        return false;
    std::vector<Attachment> files = m_files;
    files.push_back({tr("pasted text %1").arg(files.size() + 1), text.toStdString()});
    setFiles(std::move(files));
    return true;
}

void Composer::setText(const QString &text)
{
    if (takeAsFile(text))
        return;
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
    m_drafts[m_session] = {text(), m_files};
    m_session = session;
    m_preview.reset();
    m_progress.reset();
    m_sendWhenReady = false;
    m_sent.reset();
    const auto draft = m_drafts.find(session);
    setFiles(draft == m_drafts.end() ? std::vector<Attachment>() : draft->second.files);
    setText(draft == m_drafts.end() ? QString() : draft->second.text);
    refreshButton();
    refreshPlaceholder();
    refreshCount();
    emit overflowChanged({});
}

void Composer::textChanged()
{
    fitHeight();
    refreshButton();
    if (text().isEmpty() && m_files.empty()) {
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
        m_workbench.post(api::command::PreviewPrompt{m_session, draft()});
}

void Composer::takePreview(const api::update::PromptPreview &preview)
{
    // Without a draft only a message that waits for its answer is news, when it does not fit any more.
    const auto &messages = m_workbench.liveBranch().messages();
    const bool waiting = !messages.empty() && messages.back().role == api::Role::user;
    if (preview.session != m_session || (draft().empty() && !(waiting && preview.overflows)))
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
    if (draft().empty() || m_workbench.busy(m_session) || m_session.value == 0)
        return;
    if (const QString why = refusal(); !why.isEmpty()) { // the words stay in the box
        emit refused(why);
        return;
    }
    if (!m_workbench.modelReady()) {
        m_sendWhenReady = true;
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

// Why nothing can be sent as things are; empty: it can, now or once the model is loaded.
QString Composer::refusal() const
{
    using api::update::ModelPhase;
    const auto &model = m_workbench.model();
    if (model.phase == ModelPhase::none || model.phase == ModelPhase::failed)
        return tr("Choose a model first (Ctrl+M); what you wrote stays here.");
    if (model.phase == ModelPhase::ready && !model.facts.chatTemplate)
        return tr("This model has no chat template, so it cannot answer in a chat. Choose another one (Ctrl+M); what you wrote "
                  "stays here.");
    return {};
}

void Composer::send(bool dropOldest)
{
    const std::string words = draft();
    const bool waiting = m_preview && m_preview->overflows && dropOldest; // an unanswered message is sent again
    if ((words.empty() && !waiting) || m_workbench.busy(m_session) || m_session.value == 0)
        return;
    m_sendWhenReady = false;
    m_sent = Draft{text(), m_files};
    m_workbench.post(api::command::Send{m_session, words, dropOldest});
    m_preview.reset();
    m_files.clear();
    m_bar->setFiles({});
    m_edit->clear();
    emit overflowChanged({});
    focusText();
}

// A message that could not be kept comes back into the box, unless something else is there by now.
// What could not be stored comes before whatever was typed meanwhile.
void Composer::giveBack(const QString &words)
{
    if (m_sent && text().isEmpty() && m_files.empty()) {
        setFiles(m_sent->files);
        setText(m_sent->text);
    } else {
        setText(text().isEmpty() ? words : words + QLatin1Char('\n') + text());
    }
    m_sent.reset();
}

void Composer::takeBack(const api::update::Notice &notice)
{
    const bool here = notice.place == "session:" + std::to_string(m_session.value);
    if (!m_sent || !here || notice.severity != api::update::Severity::error)
        return;
    if (text().isEmpty() && m_files.empty()) {
        setFiles(m_sent->files);
        setText(m_sent->text);
    }
    m_sent.reset();
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
    const bool canSend = (!text().trimmed().isEmpty() || !m_files.empty()) && m_session.value != 0 && refusal().isEmpty();
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
    else if (!m_workbench.model().facts.chatTemplate)
        words = tr("This model has no chat template, so it cannot answer here: choose another one");
    else if (m_workbench.busy(m_session) && m_progress && m_progress->phase != TurnPhase::decode &&
             m_progress->secondsLeft >= 0.5)
        words = tr("The answer will start in about %1 s. Esc stops.").arg(int(m_progress->secondsLeft + 0.5));
    else if (m_workbench.busy(m_session) && m_progress && m_progress->phase == TurnPhase::prefill)
        words = tr("Reading the prompt. Esc stops.");
    if (m_edit->placeholderText() == words)
        return;
    m_edit->setPlaceholderText(words);
    m_edit->viewport()->update(); // Qt repaints it when it comes or goes, not when its words change
}

void Composer::recolour()
{
    m_edit->setFont(m_workbench.theme().font(TextSize::chat));
    m_attach->setIcon(icon(QStringLiteral("attach"), m_workbench.theme().palette().secondary));
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
    // With nothing of its own to undo, the box leaves Ctrl+Z to what was deleted last.
    if (event->type() == QEvent::ShortcutOverride && !m_edit->document()->isUndoAvailable() &&
        static_cast<QKeyEvent *>(event)->matches(QKeySequence::Undo)) {
        event->ignore();
        return true;
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
