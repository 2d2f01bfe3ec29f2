// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/session_list.h"

#include "ui/widgets/format.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/session_delegate.h"
#include "ui/widgets/theme.h"

#include <QAction>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QListView>
#include <QMenu>
#include <QToolButton>
#include <QVBoxLayout>

namespace kvilt::ui {

namespace {
constexpr int kGrowthMs = 1000;
constexpr int kMostFollowed = 1000; // rows: a longer list is told anew when a turn ends
} // namespace

SessionList::SessionList(Workbench &workbench, QWidget *parent) : QWidget(parent), m_workbench(workbench)
{
    setObjectName(QStringLiteral("sessions"));
    m_model = new SessionListModel(this);
    m_search = new QLineEdit(this);
    m_search->setPlaceholderText(tr("Search chats"));
    m_search->setAccessibleName(tr("Search chats"));
    m_search->setFixedHeight(32);
    m_search->setMaxLength(400);
    m_search->setTextMargins(18, 0, 44, 0); // beside the sign and the key
    m_search->installEventFilter(this);
    m_searchIcon = new QLabel(m_search);
    m_searchKeys = new QLabel(tr("Ctrl F"), m_search);
    m_searchKeys->setProperty("tone", "tertiary");
    auto *inside = new QHBoxLayout(m_search);
    inside->setContentsMargins(7, 0, 9, 0);
    inside->addWidget(m_searchIcon);
    inside->addStretch(1);
    inside->addWidget(m_searchKeys);

    m_view = new QListView(this);
    m_view->setModel(m_model);
    m_view->setItemDelegate(new SessionDelegate(workbench, m_view));
    m_view->setAccessibleName(tr("Chats"));
    m_view->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
    m_view->setEditTriggers(QAbstractItemView::EditKeyPressed);
    m_view->setContextMenuPolicy(Qt::CustomContextMenu);
    m_view->setMouseTracking(true);
    m_view->installEventFilter(this);
    m_empty = new QLabel(tr("Chats will be listed here."), this);
    m_empty->setProperty("tone", "tertiary");
    m_empty->setContentsMargins(20, 4, 16, 0);
    m_empty->setWordWrap(true);

    m_inputRow = new QFrame(this);
    auto *inputLayout = new QHBoxLayout(m_inputRow);
    inputLayout->setContentsMargins(12, 4, 12, 8);
    m_input = new QLineEdit(m_inputRow);
    inputLayout->addWidget(m_input);
    m_input->setAccessibleName(tr("Name"));
    m_inputRow->hide();
    m_input->installEventFilter(this);

    auto *rule = new QFrame(this);
    rule->setProperty("role", "rule");
    rule->setFixedHeight(1);
    m_newChat = new QToolButton(this);
    m_newChat->setProperty("role", "row");
    m_newChat->setText(QStringLiteral("  ") + tr("New chat"));
    m_newChat->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
    m_newChat->setIconSize({metrics::kIcon, metrics::kIcon});
    m_newChat->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    m_newChat->setAccessibleName(tr("New chat"));
    m_newKeys = new QLabel(tr("Ctrl N"), m_newChat);
    m_newKeys->setProperty("tone", "tertiary");
    auto *keys = new QHBoxLayout(m_newChat);
    keys->setContentsMargins(0, 0, 11, 0);
    keys->addStretch(1);
    keys->addWidget(m_newKeys);
    auto *bottom = new QHBoxLayout;
    bottom->setContentsMargins(8, 5, 8, 5);
    bottom->addWidget(m_newChat);

    m_header = new QWidget(this);
    auto *searchRow = new QHBoxLayout(m_header);
    searchRow->setContentsMargins(12, 11, 4, 5);
    searchRow->addWidget(m_search);
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_header);
    column->addWidget(m_inputRow);
    column->addWidget(m_empty);
    column->addWidget(m_view, 1);
    column->addStretch();
    column->addWidget(rule);
    column->addLayout(bottom);

    m_refreshTimer.setSingleShot(true);
    m_refreshTimer.setInterval(120);
    connect(&m_refreshTimer, &QTimer::timeout, this, [this] {
        m_workbench.post(api::command::ListSessions{m_search->text().trimmed().toStdString()});
    });
    connect(m_search, &QLineEdit::textChanged, this, [this](const QString &text) {
        m_searchKeys->setVisible(text.isEmpty());
        refresh();
    });
    connect(m_view, &QListView::clicked, this, &SessionList::openIndex);
    connect(m_view, &QListView::customContextMenuRequested, this, &SessionList::showMenu);
    connect(m_newChat, &QToolButton::clicked, this, &SessionList::newChatWanted);
    connect(m_model, &SessionListModel::renamed, this, [this](SessionId session, const QString &title) {
        m_workbench.post(api::command::RenameSession{session, title.toStdString()});
    });
    connect(&workbench, &Workbench::sessionsListed, this, &SessionList::showSessions);
    for (const auto signal : {&Workbench::sessionClosed, &Workbench::currentSessionChanged})
        connect(&workbench, signal, this, [this](SessionId) { refresh(); });
    connect(&workbench, &Workbench::turnFinished, this, &SessionList::refresh);
    // While replies are written the blocks of their chats grow.
    m_growth.setInterval(kGrowthMs);
    connect(&m_growth, &QTimer::timeout, this, [this] {
        if (m_model->rowCount() <= kMostFollowed)
            refresh();
    });
    connect(&workbench, &Workbench::busyChanged, this, [this](SessionId session, bool busy) {
        if (busy)
            m_writing.insert(session);
        else
            m_writing.erase(session);
        m_view->viewport()->update();
        if (m_writing.empty())
            m_growth.stop();
        else if (!m_growth.isActive())
            m_growth.start();
    });
    connect(&workbench, &Workbench::modelChanged, this, [this](const api::update::ModelState &state) {
        m_model->setBytesPerBlock(state.facts.kvBytesPerToken * std::uint64_t(std::max(state.settings.blockSize, 0)));
        refresh();
    });
    connect(&workbench.theme(), &Theme::changed, this, &SessionList::recolour);
    setTabOrder(m_search, m_view);
    setTabOrder(m_view, m_newChat);
    recolour();
    m_view->hide();
}

void SessionList::recolour()
{
    const Palette &p = m_workbench.theme().palette();
    m_searchIcon->setPixmap(iconPixmap(QStringLiteral("search"), p.secondary, metrics::kIcon, devicePixelRatioF()));
    m_newChat->setIcon(icon(QStringLiteral("plus"), p.text));
    for (QLabel *label : {m_searchKeys, m_newKeys})
        label->setFont(m_workbench.theme().font(TextSize::caption));
    m_empty->setFont(m_workbench.theme().font(TextSize::secondary));
    m_view->viewport()->update();
}

void SessionList::refresh()
{
    if (!m_refreshTimer.isActive())
        m_refreshTimer.start();
}

void SessionList::focusSearch()
{
    m_search->setFocus();
    m_search->selectAll();
}

void SessionList::showSessions(const api::update::Sessions &sessions)
{
    if (sessions.query != m_search->text().trimmed().toStdString() || editing())
        return;
    const bool search = !sessions.query.empty();
    const QModelIndex before = m_view->currentIndex();
    const api::SessionSummary *at = m_model->session(before);
    const SessionId current = at ? at->id : m_workbench.session();
    m_model->setSessions(sessions.sessions, search, QDate::currentDate());
    m_view->setCurrentIndex(m_model->indexOf(current));
    // A window without a model has one chat that nobody began: it is not worth a row.
    const bool untouched = !search && m_workbench.model().phase == api::update::ModelPhase::none &&
                           sessions.sessions.size() == 1 && sessions.sessions.front().messages == 0;
    const bool empty = sessions.sessions.empty() || untouched;
    m_empty->setText(search ? tr("No chat holds these words.") : tr("Chats will be listed here."));
    m_empty->setVisible(empty);
    m_view->setVisible(!empty);
}

// A title is being written in place.
bool SessionList::editing() const
{
    const QWidget *focus = m_view->focusWidget();
    return focus && focus != m_view && m_view->isAncestorOf(focus) && focus->inherits("QLineEdit");
}

void SessionList::openIndex(const QModelIndex &index)
{
    const api::SessionSummary *session = m_model->session(index);
    if (!session)
        return;
    const SessionId id = session->id;
    if (id != m_workbench.session())
        m_workbench.post(api::command::OpenSession{id});
    emit chosen(id, m_search->text().trimmed());
}

void SessionList::renameCurrent()
{
    const QModelIndex index = m_model->indexOf(m_workbench.session());
    if (!index.isValid())
        return;
    m_view->setCurrentIndex(index);
    m_view->edit(index);
}

void SessionList::deleteSession(SessionId session)
{
    const QString title = m_model->data(m_model->indexOf(session), Qt::DisplayRole).toString();
    m_workbench.post(api::command::DeleteSession{session});
    emit deleted(session, title);
    refresh();
}

void SessionList::fileInto(const api::SessionSummary &session, const QString &folder)
{
    m_workbench.post(api::command::FileSession{session.id, folder.toStdString(), session.tags});
    refresh();
}

// One field above the list asks for a name in place; Enter takes it, Esc leaves.
void SessionList::askFolder(const api::SessionSummary &session)
{
    m_input->setPlaceholderText(tr("Name of the folder"));
    m_input->setAccessibleName(tr("Name of the folder"));
    m_input->setText(QString::fromStdString(session.folder));
    m_inputDone = [this, session](const QString &text) { fileInto(session, text.simplified().left(80)); };
    m_inputRow->show();
    m_input->setFocus();
}

void SessionList::editTags(const api::SessionSummary &session)
{
    QStringList tags;
    for (const std::string &tag : session.tags)
        tags << QString::fromStdString(tag);
    m_input->setPlaceholderText(tr("Tags, with commas between"));
    m_input->setAccessibleName(tr("Tags, with commas between"));
    m_input->setText(tags.join(QStringLiteral(", ")));
    m_inputDone = [this, session](const QString &text) {
        std::vector<std::string> words;
        for (const QString &word : text.split(QLatin1Char(','), Qt::SkipEmptyParts))
            if (!word.simplified().isEmpty())
                words.push_back(word.simplified().left(40).toStdString());
        m_workbench.post(api::command::FileSession{session.id, session.folder, words});
        refresh();
    };
    m_inputRow->show();
    m_input->setFocus();
}

void SessionList::showMenu(const QPoint &position)
{
    const QModelIndex index = m_view->indexAt(position);
    const api::SessionSummary *found = m_model->session(index);
    if (!found)
        return;
    const api::SessionSummary session = *found;
    QMenu menu(this);
    // The list may be told anew while the menu is open: only the id stays the same chat's.
    menu.addAction(tr("Open"), this, [this, session] { openIndex(m_model->indexOf(session.id)); });
    menu.addAction(tr("Rename"), QKeySequence(Qt::Key_F2), this,
                   [this, session] { m_view->edit(m_model->indexOf(session.id)); });
    QMenu *folders = menu.addMenu(tr("Folder"));
    for (const QString &folder : m_model->folders())
        folders->addAction(folder, this, [this, session, folder] { fileInto(session, folder); });
    folders->addAction(tr("New folder…"), this, [this, session] { askFolder(session); });
    if (!session.folder.empty())
        folders->addAction(tr("Out of its folder"), this, [this, session] { fileInto(session, {}); });
    menu.addAction(tr("Tags…"), this, [this, session] { editTags(session); });
    menu.addAction(tr("Export…"), this, [this, session] { emit exportWanted(session.id); });
    menu.addSeparator();
    QAction *drop = menu.addAction(tr("Drop KV, keep the text"), this, [this, session] {
        m_workbench.post(api::command::DropKv{session.id});
        refresh();
    });
    drop->setEnabled(session.kvBytes > 0 || session.blocksInMemory > 0);
    menu.addAction(tr("Delete"), QKeySequence(Qt::Key_Delete), this, [this, session] { deleteSession(session.id); });
    menu.exec(m_view->viewport()->mapToGlobal(position));
}

bool SessionList::eventFilter(QObject *object, QEvent *event)
{
    if (event->type() != QEvent::KeyPress)
        return QWidget::eventFilter(object, event);
    const int key = static_cast<QKeyEvent *>(event)->key();
    const bool enter = key == Qt::Key_Return || key == Qt::Key_Enter;
    if (object == m_search && key == Qt::Key_Escape && !m_search->text().isEmpty()) {
        m_search->clear();
        return true;
    }
    if (object == m_search && (key == Qt::Key_Down || enter) && m_view->isVisible()) {
        m_view->setFocus();
        if (!m_model->session(m_view->currentIndex()))
            m_view->setCurrentIndex(m_model->firstSession());
        if (enter)
            openIndex(m_view->currentIndex());
        return true;
    }
    if (object == m_input && (enter || key == Qt::Key_Escape)) {
        if (enter && m_inputDone)
            m_inputDone(m_input->text());
        m_inputRow->hide();
        m_view->setFocus();
        return true;
    }
    if (object == m_view && !editing()) {
        if (enter) {
            openIndex(m_view->currentIndex());
            return true;
        }
        if (key == Qt::Key_Delete) {
            if (const api::SessionSummary *session = m_model->session(m_view->currentIndex()))
                deleteSession(session->id);
            return true;
        }
        if (key == Qt::Key_Menu) {
            showMenu(m_view->visualRect(m_view->currentIndex()).center());
            return true;
        }
    }
    return QWidget::eventFilter(object, event);
}

} // namespace kvilt::ui
