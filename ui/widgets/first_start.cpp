// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/first_start.h"

#include "ui/widgets/format.h"
#include "ui/widgets/icons.h"
#include "ui/widgets/model_fetch.h"
#include "ui/widgets/notice_bar.h"
#include "ui/widgets/theme.h"

#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QHeaderView>
#include <QLabel>
#include <QMimeData>
#include <QPainter>
#include <QProgressBar>
#include <QPushButton>
#include <QStyledItemDelegate>
#include <QTableView>
#include <QVBoxLayout>

namespace kvilt::ui {

namespace {

constexpr double kDefaultBytes = 93e6;
const auto kDefaultFile = QStringLiteral("smollm2-135m-instruct-q4_1.gguf");

QLabel *label(QWidget *parent, const QString &text, const QFont &font, const char *tone = nullptr)
{
    auto *l = new QLabel(text, parent);
    l->setFont(font);
    if (tone)
        l->setProperty("tone", tone);
    return l;
}

// Rows of 40 px with a line below; the name stronger, the fit in the colour of its meaning.
class FoundDelegate : public QStyledItemDelegate {
public:
    FoundDelegate(Theme &theme, QObject *parent) : QStyledItemDelegate(parent), m_theme(theme) {}
    void paint(QPainter *painter, const QStyleOptionViewItem &option, const QModelIndex &index) const override
    {
        const Palette &p = m_theme.palette();
        const auto *model = static_cast<const FoundModels *>(index.model());
        const api::ModelFacts *facts = model->at(index);
        if (!facts)
            return;
        painter->save();
        if (option.state & (QStyle::State_MouseOver | QStyle::State_Selected))
            painter->fillRect(option.rect, option.state & QStyle::State_Selected ? p.selection : p.tint);
        painter->fillRect(QRect(option.rect.left(), option.rect.bottom(), option.rect.width(), 1), p.border);
        const bool name = index.column() == FoundModels::kName;
        painter->setFont(m_theme.font(TextSize::body, name ? QFont::Medium : QFont::Normal));
        painter->setPen(name ? p.text : index.column() != FoundModels::kFits ? p.secondary
                                    : FoundModels::fits(*facts)                 ? p.saved
                                                                                : p.lost);
        const QRect text = option.rect.adjusted(name ? 0 : 8, 0, -8, -1);
        painter->drawText(text, Qt::AlignVCenter | Qt::AlignLeft,
                          painter->fontMetrics().elidedText(index.data().toString(), Qt::ElideRight, text.width()));
        painter->restore();
    }

private:
    Theme &m_theme;
};

// The drop zone's dashed outline, which no style sheet draws at a steady pitch.
class DashedFrame : public QFrame {
public:
    DashedFrame(Theme &theme, QWidget *parent) : QFrame(parent), m_theme(theme) {}

protected:
    void paintEvent(QPaintEvent *) override
    {
        QPainter painter(this);
        painter.setRenderHint(QPainter::Antialiasing);
        QPen pen(property("over").toBool() ? m_theme.palette().accent : m_theme.palette().freeCell, 1.5);
        pen.setDashPattern({4, 3});
        painter.setPen(pen);
        painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), metrics::kCardRadius, metrics::kCardRadius);
    }

private:
    Theme &m_theme;
};

} // namespace

FirstStart::FirstStart(Workbench &workbench, const WindowOptions &options, QWidget *parent)
    : QScrollArea(parent), m_workbench(workbench), m_options(options)
{
    setWidgetResizable(true);
    setFrameShape(QFrame::NoFrame);
    setAcceptDrops(true);
    setAccessibleName(tr("Choose a model"));
    m_fetch = new ModelFetch(options.fetchProgram, this);
    m_found = new FoundModels(this);
    auto *outer = new QWidget;
    auto *centre = new QHBoxLayout(outer);
    centre->setContentsMargins(0, 0, 0, metrics::kPageMargin);
    m_page = new QWidget(outer);
    centre->addWidget(m_page);
    const Theme &theme = workbench.theme();
    auto *column = new QVBoxLayout(m_page);
    column->setContentsMargins(0, 30, 0, 0);
    column->setSpacing(0);
    column->addWidget(label(m_page, tr("Choose a model"), theme.font(TextSize::headline, QFont::DemiBold)));
    column->addSpacing(6);
    column->addWidget(label(m_page, tr("Kvilt runs GGUF files on its own engine, on this computer. Nothing leaves it."),
                            theme.font(TextSize::chat), "secondary"));
    column->addSpacing(metrics::kPageMargin);
    m_notice = new NoticeBar(workbench.theme(), m_page);
    column->addWidget(m_notice);
    buildFacts(m_page);
    buildGet(m_page);
    buildDrop(m_page);
    buildTable(m_page);
    column->addStretch(1);
    setWidget(outer);
    outer->setAutoFillBackground(false);
    viewport()->setAutoFillBackground(false);

    connect(&workbench, &Workbench::modelProbed, this, [this](const api::ModelFacts &facts) {
        if (QString::fromStdString(facts.path) == m_probing)
            showFacts(facts);
    });
    connect(&workbench, &Workbench::modelsFound, this, &FirstStart::showFound);
    connect(m_fetch, &ModelFetch::progressed, this, [this](double share) {
        m_progress->setValue(int(share * 1000));
        m_getMeta->setText(tr("%1 of 93 MB").arg(int(share * 93 + 0.5)));
    });
    connect(m_fetch, &ModelFetch::finished, this, [this](const QString &path) {
        m_localDefault = path;
        refreshGet();
        emit modelChosen(path);
    });
    connect(m_fetch, &ModelFetch::failed, this, [this](const QString &sentence) {
        refreshGet();
        if (!sentence.isEmpty())
            m_notice->showNotice(api::update::Severity::error, sentence);
    });
    connect(&workbench, &Workbench::machineMeasured, this, [this] {
        if (!m_fetch->running())
            refreshGet();
    });
    connect(&workbench.theme(), &Theme::changed, this, &FirstStart::recolour);
    const QString local = options.dataFolder + QLatin1Char('/') + kDefaultFile;
    m_localDefault = !options.dataFolder.isEmpty() && QFileInfo::exists(local) ? local : QString();
    refreshGet();
    recolour();
}

void FirstStart::buildGet(QWidget *page)
{
    const Theme &theme = m_workbench.theme();
    m_getCard = new QFrame(page);
    m_getCard->setProperty("role", "card");
    m_getCard->setProperty("chosen", "true");
    auto *row = new QHBoxLayout(m_getCard);
    row->setContentsMargins(20, 14, 20, 14);
    auto *words = new QVBoxLayout;
    words->setSpacing(4);
    words->addWidget(label(m_getCard, tr("SmolLM2 135M Instruct"), theme.font(TextSize::title, QFont::DemiBold)));
    words->addWidget(label(m_getCard, tr("A small, quick model to start with. 93 MB to fetch, Apache 2.0."),
                           theme.font(TextSize::body)));
    m_getMeta = label(m_getCard, {}, theme.font(TextSize::secondary), "tertiary");
    words->addWidget(m_getMeta);
    m_progress = new QProgressBar(m_getCard);
    m_progress->setRange(0, 1000);
    m_progress->setTextVisible(false);
    m_progress->setAccessibleName(tr("Fetching SmolLM2 135M"));
    words->addWidget(m_progress);
    row->addLayout(words, 1);
    row->addSpacing(16);
    m_getButton = new QPushButton(m_getCard);
    m_getButton->setProperty("role", "primary");
    m_getButton->setMinimumSize(92, 36);
    row->addWidget(m_getButton);
    connect(m_getButton, &QPushButton::clicked, this, &FirstStart::fetchOrUse);
    page->layout()->addWidget(m_getCard);
    static_cast<QVBoxLayout *>(page->layout())->addSpacing(metrics::kGroupGap);
}

void FirstStart::buildDrop(QWidget *page)
{
    m_drop = new DashedFrame(m_workbench.theme(), page);
    m_drop->setFixedHeight(74);
    auto *row = new QHBoxLayout(m_drop);
    row->setContentsMargins(24, 0, 24, 0);
    row->setSpacing(0);
    m_dropIcon = new QLabel(m_drop);
    row->addWidget(m_dropIcon);
    row->addSpacing(12);
    row->addWidget(label(m_drop, tr("Drop a GGUF file here, or"), m_workbench.theme().font(TextSize::chat), "secondary"));
    auto *open = new QPushButton(tr("open one…"), m_drop);
    open->setProperty("role", "link");
    open->setFont(m_workbench.theme().font(TextSize::chat, QFont::DemiBold));
    open->setAccessibleName(tr("Open a GGUF file"));
    open->setCursor(Qt::PointingHandCursor);
    connect(open, &QPushButton::clicked, this, &FirstStart::openFile);
    row->addWidget(open);
    row->addStretch(1);
    page->layout()->addWidget(m_drop);
    static_cast<QVBoxLayout *>(page->layout())->addSpacing(metrics::kGroupGap);
}

void FirstStart::buildFacts(QWidget *page)
{
    const Theme &theme = m_workbench.theme();
    m_factsCard = new QFrame(page);
    m_factsCard->setProperty("role", "card");
    m_factsCard->setProperty("chosen", "true");
    auto *column = new QVBoxLayout(m_factsCard);
    column->setContentsMargins(20, 14, 20, 16);
    column->setSpacing(6);
    m_factsName = label(m_factsCard, {}, theme.font(TextSize::title, QFont::DemiBold));
    m_factsName->setTextFormat(Qt::PlainText);
    m_factsText = label(m_factsCard, {}, theme.font(TextSize::body), "secondary");
    m_factsText->setTextFormat(Qt::PlainText);
    m_factsText->setWordWrap(true);
    column->addWidget(m_factsName);
    column->addWidget(m_factsText);
    auto *row = new QHBoxLayout;
    m_load = new QPushButton(tr("Load it"), m_factsCard);
    m_load->setProperty("role", "primary");
    auto *other = new QPushButton(tr("Another one"), m_factsCard);
    row->addWidget(m_load);
    row->addWidget(other);
    row->addStretch(1);
    column->addSpacing(6);
    column->addLayout(row);
    connect(m_load, &QPushButton::clicked, this, [this] {
        m_factsCard->hide();
        emit modelChosen(m_probing);
    });
    connect(other, &QPushButton::clicked, m_factsCard, &QFrame::hide);
    m_factsCard->hide();
    page->layout()->addWidget(m_factsCard);
    static_cast<QVBoxLayout *>(page->layout())->addSpacing(8);
}

void FirstStart::buildTable(QWidget *page)
{
    const Theme &theme = m_workbench.theme();
    auto *row = new QHBoxLayout;
    m_foundTitle = label(page, tr("Found on this computer"), theme.font(TextSize::body, QFont::DemiBold));
    m_foundNote = label(page, tr("looking…"), theme.font(TextSize::secondary), "tertiary");
    row->addWidget(m_foundTitle);
    row->addStretch(1);
    row->addWidget(m_foundNote);
    static_cast<QVBoxLayout *>(page->layout())->addLayout(row);
    static_cast<QVBoxLayout *>(page->layout())->addSpacing(4);
    m_table = new QTableView(page);
    m_table->setModel(m_found);
    m_table->setItemDelegate(new FoundDelegate(m_workbench.theme(), m_table));
    m_table->setAccessibleName(tr("Models found on this computer"));
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setDefaultSectionSize(metrics::kTableRow);
    m_table->setShowGrid(false);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->setTabKeyNavigation(false);
    m_table->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_table->setMouseTracking(true);
    QHeaderView *header = m_table->horizontalHeader();
    header->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
    header->setSectionResizeMode(QHeaderView::Fixed);
    header->setSectionResizeMode(FoundModels::kName, QHeaderView::Stretch);
    header->setHighlightSections(false);
    header->setMinimumSectionSize(56);
    m_table->setColumnWidth(FoundModels::kType, 76);
    m_table->setColumnWidth(FoundModels::kSize, 76);
    m_table->setColumnWidth(FoundModels::kContext, 80);
    m_table->setColumnWidth(FoundModels::kSpeed, 100);
    m_table->setColumnWidth(FoundModels::kFits, 150);
    const auto choose = [this](const QModelIndex &index) {
        if (const api::ModelFacts *facts = m_found->at(index))
            probe(QString::fromStdString(facts->path));
    };
    connect(m_table, &QTableView::clicked, this, choose);
    connect(m_table, &QTableView::activated, this, choose);
    page->layout()->addWidget(m_table);
    m_table->hide();
}

void FirstStart::recolour()
{
    m_dropIcon->setPixmap(iconPixmap(QStringLiteral("file"), m_workbench.theme().palette().secondary, metrics::kIcon,
                                     devicePixelRatioF()));
    m_drop->update();
    m_table->viewport()->update();
}

void FirstStart::refreshGet()
{
    const bool running = m_fetch->running();
    m_progress->setVisible(running);
    m_progress->setValue(0);
    if (running) {
        m_getMeta->setText(tr("Fetching…"));
        m_getButton->setText(tr("Cancel"));
    } else if (!m_localDefault.isEmpty()) {
        m_getMeta->setText(tr("Already on this computer."));
        m_getButton->setText(tr("Use it"));
    } else {
        QString meta = tr("Needs 0.2 GiB of memory · 8,192 tokens of context");
        if (const double read = m_workbench.machine().readBytesPerSecond; read > 0)
            meta += tr(" · about %1 here")
                        .arg(FoundModels::expectedRate(api::kDecodeShareOfReadRate * read / kDefaultBytes));
        m_getMeta->setText(m_fetch->available() ? meta : tr("The script that fetches it, fetch-model, is not installed."));
        m_getButton->setText(tr("Get it"));
    }
    m_getButton->setEnabled(running || !m_localDefault.isEmpty() || m_fetch->available());
    m_getButton->setAccessibleName(m_getButton->text() + QStringLiteral(": SmolLM2 135M Instruct"));
}

void FirstStart::fetchOrUse()
{
    if (m_fetch->running()) {
        m_fetch->cancel();
    } else if (!m_localDefault.isEmpty()) {
        emit modelChosen(m_localDefault);
    } else {
        m_notice->dismiss();
        m_fetch->start(QStringLiteral("smollm2"));
        refreshGet();
    }
}

void FirstStart::scan()
{
    m_workbench.post(api::command::ScanModels{m_options.modelFolders}); // none: the usual places
}

void FirstStart::probe(const QString &path)
{
    m_probing = path;
    m_workbench.post(api::command::ProbeModel{path.toStdString()});
}

void FirstStart::openFile()
{
    const QString path = QFileDialog::getOpenFileName(this, tr("Open a GGUF file"), m_options.dataFolder,
                                                      tr("GGUF models (*.gguf);;All files (*)"));
    if (!path.isEmpty())
        probe(path);
}

void FirstStart::showFacts(const api::ModelFacts &facts)
{
    if (!facts.usable) {
        m_factsCard->hide();
        m_notice->showNotice(api::update::Severity::error, QString::fromStdString(facts.problem));
        return;
    }
    m_notice->dismiss();
    m_factsName->setText(QString::fromStdString(facts.name));
    QStringList lines;
    lines << tr("%1, %2, %3 million parameters, %4 layers")
                 .arg(QString::fromStdString(facts.architecture), QString::fromStdString(facts.quantisation),
                      threeDigits(double(facts.parameters) / 1e6), grouped(facts.layers));
    lines << tr("Weights take %1 of memory, each token of context %2.").arg(bytes(facts.fileBytes), bytes(facts.kvBytesPerToken));
    if (facts.decodeTokensPerSecond > 0 && FoundModels::fits(facts))
        lines << tr("It will write about %1 here.").arg(FoundModels::expectedRate(facts.decodeTokensPerSecond));
    lines << (facts.missingBytes > 0 ? tr("%1 of memory are lacking: it is too large for what is free now.").arg(bytes(facts.missingBytes))
              : facts.longestContext == 0 ? tr("It does not fit into the memory that is free now.")
              : facts.longestContext >= facts.contextLength
                  ? tr("The whole context of %1 tokens fits.").arg(grouped(facts.contextLength))
                  : tr("Of its context of %1 tokens, %2 fit.").arg(grouped(facts.contextLength), grouped(facts.longestContext)));
    if (!facts.chatTemplate)
        lines << tr("It has no chat template, so it cannot answer in a chat; kvilt-cli generate can use it.");
    m_factsText->setText(lines.join(QLatin1Char('\n')));
    m_load->setEnabled(facts.longestContext > 0);
    m_factsCard->show();
    m_load->setFocus();
    ensureWidgetVisible(m_factsCard);
}

void FirstStart::showFound(const api::update::ModelsFound &found)
{
    m_found->setModels(found.models);
    const auto n = found.models.size();
    m_foundNote->setText(n == 0 ? tr("no GGUF file in the usual places")
                                : tr("%1 in %2, left where they are")
                                      .arg(count(n, tr("file"), tr("files")),
                                           count(std::uint64_t(std::max(found.places, 0)), tr("place"), tr("places"))));
    m_table->setVisible(n > 0);
    m_table->setFixedHeight(m_table->horizontalHeader()->sizeHint().height() + int(n) * metrics::kTableRow + 2);
}

// The same column as the chat's.
void FirstStart::resizeEvent(QResizeEvent *event)
{
    QScrollArea::resizeEvent(event);
    const int column = std::min(metrics::kColumnWidth, width() - 2 * metrics::kPageMargin);
    const int side = std::max((width() - column) / 2, 0);
    widget()->layout()->setContentsMargins(side, 0, std::max(viewport()->width() - column - side, 0), metrics::kPageMargin);
}

void FirstStart::dragEnterEvent(QDragEnterEvent *event)
{
    if (event->mimeData()->hasUrls())
        event->acceptProposedAction();
}

void FirstStart::dropEvent(QDropEvent *event)
{
    const QList<QUrl> urls = event->mimeData()->urls();
    if (!urls.isEmpty() && urls.first().isLocalFile())
        probe(urls.first().toLocalFile());
}

} // namespace kvilt::ui
