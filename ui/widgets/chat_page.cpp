// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/chat_page.h"

#include "ui/chat/chat_view.h"
#include "ui/chat/composer.h"
#include "ui/models/found_models.h"
#include "ui/widgets/first_start.h"
#include "ui/widgets/format.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/notice_bar.h"
#include "ui/widgets/settings_popover.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QMenu>
#include <QRegularExpression>
#include <QStackedWidget>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>

namespace kvilt::ui {

ChatPage::ChatPage(Workbench &workbench, const WindowOptions &options, QWidget *parent)
    : QWidget(parent), m_workbench(workbench), m_options(options)
{
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(buildHeader());
    auto *rule = new QFrame(this);
    rule->setProperty("role", "rule");
    rule->setFixedHeight(1);
    column->addWidget(rule);
    m_stack = new QStackedWidget(this);
    m_stack->addWidget(buildChat());
    column->addWidget(m_stack, 1);
    setObjectName(QStringLiteral("page"));
    setAttribute(Qt::WA_StyledBackground);
    connect(&workbench, &Workbench::modelChanged, this, &ChatPage::refreshHeader);
    connect(&workbench, &Workbench::currentSessionChanged, this, [this] {
        refreshHeader();
        m_notice->dismiss();
        m_overflow->dismiss();
    });
    connect(&workbench, &Workbench::messageAdded, this, [this](const api::update::MessageAdded &added) {
        const bool goesOn = added.session == m_workbench.session() && added.message.role == api::Role::user;
        m_unsavedWords = m_unsavedWords || (!m_unsaved.isEmpty() && added.message.role == api::Role::user);
        if (goesOn && m_notice->severity() == api::update::Severity::info)
            m_notice->dismiss(); // it was about what stood before
    });
    connect(&workbench, &Workbench::sessionsListed, this, &ChatPage::refreshHeader);
    connect(&workbench, &Workbench::modelsFound, this,
            [this](const api::update::ModelsFound &found) { m_found = found.models; });
    connect(&workbench, &Workbench::noticed, this, &ChatPage::showNotice);
    connect(&workbench.theme(), &Theme::changed, this, &ChatPage::refreshHeader);
    refreshHeader();
}

QWidget *ChatPage::buildHeader()
{
    auto *header = new QWidget(this);
    header->setFixedHeight(metrics::kHeaderHeight);
    auto *row = new QHBoxLayout(header);
    row->setContentsMargins(metrics::kPageMargin, 0, 16, 0);
    row->setSpacing(8);
    m_title = new QLabel(header);
    m_title->setTextFormat(Qt::PlainText);
    m_title->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    m_model = new QToolButton(header);
    m_model->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
    m_model->setLayoutDirection(Qt::RightToLeft);
    m_model->setIconSize({14, 14});
    m_gear = new QToolButton(header);
    m_gear->setIconSize({metrics::kIcon, metrics::kIcon});
    m_gear->setFixedSize(28, 28);
    m_gear->setAccessibleName(tr("Settings of this chat"));
    m_gear->setToolTip(tr("Settings of this chat (Ctrl+,)"));
    row->addWidget(m_title, 1);
    row->addWidget(m_model);
    row->addWidget(m_gear);
    connect(m_model, &QToolButton::clicked, this, &ChatPage::openModelMenu);
    connect(m_gear, &QToolButton::clicked, this, &ChatPage::openSettings);
    return header;
}

QWidget *ChatPage::buildChat()
{
    m_chatSide = new QWidget(this);
    m_chat = new ChatView(m_workbench, m_chatSide);
    m_empty = new QLabel(m_chat);
    m_empty->setAlignment(Qt::AlignCenter);
    m_empty->setProperty("tone", "tertiary");
    m_empty->setTextFormat(Qt::PlainText);
    m_empty->setWordWrap(true);
    m_empty->setAttribute(Qt::WA_TransparentForMouseEvents);
    m_profileNotice = new NoticeBar(m_workbench.theme(), m_chatSide);
    m_notice = new NoticeBar(m_workbench.theme(), m_chatSide);
    m_overflow = new NoticeBar(m_workbench.theme(), m_chatSide);
    m_composer = new Composer(m_workbench, m_chatSide);
    m_bottom = new QWidget(m_chatSide);
    auto *inner = new QVBoxLayout(m_bottom);
    inner->setContentsMargins(0, 8, 0, 16);
    inner->setSpacing(8);
    inner->addWidget(m_profileNotice);
    inner->addWidget(m_notice);
    inner->addWidget(m_overflow);
    inner->addWidget(m_composer);
    auto *column = new QVBoxLayout(m_chatSide);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_chat, 1);
    column->addWidget(m_bottom);
    m_chat->installEventFilter(this);
    m_title->installEventFilter(this);
    connect(m_composer, &Composer::overflowChanged, this, &ChatPage::showOverflow);
    connect(m_composer, &Composer::refused, this,
            [this](const QString &sentence) {
                m_notice->showNotice(api::update::Severity::info, sentence);
            });
    connect(m_composer, &Composer::textWanted, m_chat, &ChatView::showToken);
    connect(m_chat, &ChatView::editEnded, m_composer, &Composer::focusText);
    connect(m_chat, &ChatView::receiptActivated, this, [this](TurnId turn) { m_workbench.inspect(turn); });
    connect(m_chat, &ChatView::emptyChanged, m_empty, &QLabel::setVisible);
    QWidget::setTabOrder(m_chat, m_composer);
    return m_chatSide;
}

FirstStart &ChatPage::firstStart()
{
    if (!m_first) {
        m_first = new FirstStart(m_workbench, m_options, m_stack);
        m_stack->addWidget(m_first);
        connect(m_first, &FirstStart::modelChosen, this, &ChatPage::modelChosen);
    }
    return *m_first;
}

void ChatPage::showModels(bool show)
{
    if (show) {
        firstStart().scan();
        // What concerns the profile was perhaps said before this page was there.
        for (const auto &[severity, line] : m_profileNotice->lines())
            m_first->notices().addNotice(severity, line);
        m_stack->setCurrentWidget(m_first);
    } else {
        m_stack->setCurrentIndex(0);
        m_composer->focusText();
    }
    refreshHeader();
}

bool ChatPage::modelsShown() const
{
    return m_first && m_stack->currentWidget() == m_first;
}

void ChatPage::refreshHeader()
{
    using api::update::ModelPhase;
    const Theme &theme = m_workbench.theme();
    const auto &state = m_workbench.model();
    m_title->setFont(theme.font(TextSize::title, QFont::DemiBold));
    const QString listed = m_workbench.titleOf(m_workbench.session());
    const QString title = listed.isEmpty() ? m_workbench.sessionTitle() : listed;
    const bool none = state.phase == ModelPhase::none;
    m_fullTitle = modelsShown() ? (none ? tr("Welcome") : tr("Models")) : title.isEmpty() ? tr("New chat") : title;
    fitTitle();
    m_model->setFont(theme.font(TextSize::body, QFont::DemiBold));
    m_model->setStyleSheet(QStringLiteral("QToolButton { color: %1; padding: 4px 6px; }").arg(theme.palette().text.name()));
    m_model->setVisible(!(modelsShown() && none));
    m_gear->setVisible(!modelsShown());
    const QString name = FoundModels::shortName(state.facts);
    m_model->setText(none                                  ? tr("Choose a model")
                     : state.phase == ModelPhase::loading ? tr("%1, loading %2 %").arg(name).arg(int(state.progress * 100))
                     : state.phase == ModelPhase::failed  ? tr("No model")
                                                          : name);
    m_model->setIcon(icon(QStringLiteral("chevron-down"), theme.palette().secondary));
    m_model->setAccessibleName(tr("Model: %1").arg(m_model->text()));
    m_model->setToolTip(QString::fromStdString(state.facts.path).toHtmlEscaped());
    m_gear->setIcon(icon(QStringLiteral("gear"), theme.palette().secondary));
    m_empty->setFont(theme.font(TextSize::body));
    const bool canAnswer = state.phase == ModelPhase::loading || (state.phase == ModelPhase::ready && state.facts.chatTemplate);
    m_empty->setText(canAnswer ? tr("Write below to begin.\nThe strip under the box shows this chat's blocks as they are made.")
                     : state.phase == ModelPhase::ready
                         ? tr("%1 has no chat template, so it cannot answer in a chat.\nChoose another model above, or with Ctrl+M.").arg(name)
                         : tr("No model is loaded.\nChoose one above, or with Ctrl+M."));
}

void ChatPage::openSettings()
{
    if (!m_settings) {
        m_settings = new SettingsPopover(m_workbench, this);
        connect(m_settings, &SettingsPopover::usedForNewChats, this, &ChatPage::usedForNewChats);
    }
    m_settings->openAt(m_gear->mapToGlobal(QPoint(m_gear->width(), m_gear->height() + 6)));
}

// What is loaded, what else is here with its cost, and the way to more. A click on a model reads it first and shows
// what it needs before anything is loaded.
void ChatPage::openModelMenu()
{
    QMenu menu(this);
    const auto &state = m_workbench.model();
    if (m_workbench.modelReady()) {
        QAction *now = menu.addAction(tr("%1 · %2 · %3 a token")
                                          .arg(QString::fromStdString(state.facts.quantisation),
                                               bytes(state.facts.fileBytes), bytes(state.facts.kvBytesPerToken)));
        now->setEnabled(false);
        menu.addSeparator();
    }
    for (const api::ModelFacts &facts : m_found) {
        const QString path = QString::fromStdString(facts.path);
        if (facts.path == state.facts.path || !facts.usable)
            continue;
        menu.addAction(QStringLiteral("%1 · %2").arg(FoundModels::shortName(facts), FoundModels::fitsWords(facts)), this,
                       [this, path] {
                           showModels(true);
                           firstStart().probe(path);
                       });
    }
    menu.addAction(tr("All models…"), this, [this] { showModels(true); });
    menu.addAction(tr("Open a GGUF file…"), this, [this] {
        showModels(true);
        firstStart().openFile();
    });
    if (m_workbench.modelReady()) {
        menu.addSeparator();
        menu.addAction(tr("Unload"), this, &ChatPage::unloadWanted);
    }
    const QSize size = menu.sizeHint();
    menu.exec(m_model->mapToGlobal(QPoint(m_model->width() - size.width(), m_model->height() + 4)));
}

void ChatPage::showNotice(const api::update::Notice &notice)
{
    const QString place = QString::fromStdString(notice.place);
    const QString text = QString::fromStdString(notice.text);
    const QString here = QStringLiteral("session:%1").arg(m_workbench.session().value);
    if (place.startsWith(u"session:") && place != here)
        return;
    if (place == u"export" && notice.severity != api::update::Severity::error)
        return; // said by the window's toast
    if (place == u"export") { // stays until it is read
        (modelsShown() ? firstStart().notices() : *m_notice).showNotice(notice.severity, text);
        return;
    }
    if (place == here) {
        m_notice->showNotice(notice.severity, text);
        return;
    }
    if (place == u"storage:chats")
        noteStored(notice.severity, text);
    // Of the model or the profile: it holds on whatever page is open, and in every chat, until it is closed.
    if (modelsShown())
        firstStart().notices().addNotice(notice.severity, text);
    if (place != u"model" || !modelsShown())
        m_profileNotice->addNotice(notice.severity, text);
}

// An error says that what is written is in memory only; any other word of the chats' file, that it is on the disk again.
void ChatPage::noteStored(api::update::Severity severity, const QString &text)
{
    const bool kept = severity != api::update::Severity::error;
    if (kept && !m_unsaved.isEmpty()) {
        m_profileNotice->removeNotice(m_unsaved);
        if (m_first)
            m_first->notices().removeNotice(m_unsaved);
        m_unsavedWords = false;
    }
    m_unsaved = kept ? QString() : text;
}

// A full context, before anything is sent: what would go, what that costs, and the choice.
void ChatPage::showOverflow(const std::optional<api::update::PromptPreview> &overflow)
{
    if (!overflow) {
        m_overflow->dismiss();
        return;
    }
    const auto &o = *overflow;
    QString text = (m_composer->draft().empty() ? tr("The chat needs %1 of %2 tokens, %3 of them for the reply.")
                                                : tr("With this message the chat needs %1 of %2 tokens, %3 of them for the reply."))
                       .arg(grouped(o.promptTokens + o.replyReserve), grouped(o.contextTokens), grouped(o.replyReserve));
    std::vector<NoticeBar::Choice> choices;
    if (o.dropMessages > 0) {
        text += QLatin1Char(' ') +
                tr("Dropping the oldest %1 frees %2 tokens; the system prompt stays. What follows is computed again: %3 "
                   "tokens%4.")
                    .arg(count(o.dropMessages, tr("message"), tr("messages")), grouped(o.dropTokens),
                         grouped(o.recomputeTokens), // no prompt of some length was computed yet: nobody knows how long
                         o.recomputeSeconds > 0 ? tr(", about %1").arg(seconds(o.recomputeSeconds)) : QString());
        if (m_workbench.sessionSettings().contextFull != api::ContextFull::stop)
            choices.emplace_back(tr("Drop and send"), [this] {
                m_overflow->dismiss();
                m_composer->send(true);
            });
    } else {
        text += QLatin1Char(' ') + tr("It is longer than the whole context: shorten it.");
    }
    choices.emplace_back(tr("Do not send"), [this] {
        m_overflow->dismiss();
        m_composer->focusText();
    });
    static const QRegularExpression unit(QStringLiteral("(?<=\\d) (?=(ms|s|min|h)\\b)"));
    text.replace(unit, QString(QChar::Nbsp)); // a number and its unit stay on one line
    m_overflow->showNotice(api::update::Severity::warning, text, std::move(choices));
}

void ChatPage::resizeEvent(QResizeEvent *event)
{
    QWidget::resizeEvent(event);
    placeColumn();
}

void ChatPage::fitTitle()
{
    constexpr int kMostShown = 400; // eliding takes its time with a long line
    m_title->setText(m_title->fontMetrics().elidedText(m_fullTitle.left(kMostShown), Qt::ElideRight, m_title->width()));
    m_title->setToolTip(m_title->text() == m_fullTitle ? QString() : m_fullTitle.left(kMostShown).toHtmlEscaped());
}

bool ChatPage::eventFilter(QObject *object, QEvent *event)
{
    if (object == m_title && event->type() == QEvent::Resize)
        fitTitle();
    if (object == m_chat && event->type() == QEvent::Resize)
        m_empty->setGeometry(m_chat->rect().adjusted(24, 0, -24, 0));
    return QWidget::eventFilter(object, event);
}

// The box stands in the chat's own column.
void ChatPage::placeColumn()
{
    const int column = std::min(metrics::kColumnWidth, width() - 2 * metrics::kPageMargin);
    const int side = std::max((width() - column) / 2, 0);
    m_bottom->layout()->setContentsMargins(side, 8, width() - column - side, 16);
}

} // namespace kvilt::ui
