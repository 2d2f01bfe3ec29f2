// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/settings_popover.h"

#include "ui/widgets/format.h"
#include "ui/widgets/plain_edit.h"
#include "ui/widgets/theme.h"

#include <QComboBox>
#include <QDoubleSpinBox>
#include <QGridLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QRegularExpressionValidator>
#include <QVBoxLayout>

namespace kvilt::ui {

namespace {

QLabel *heading(QWidget *parent, const QString &text, Theme &theme)
{
    auto *label = new QLabel(text, parent);
    label->setFont(theme.font(TextSize::body, QFont::DemiBold));
    return label;
}

// Stop strings in one line: separated by commas, \n written as such.
QString joinedStops(const std::vector<std::string> &stops)
{
    QStringList parts;
    for (const std::string &stop : stops)
        parts << QString::fromStdString(stop).replace(QLatin1Char('\n'), QStringLiteral("\\n"));
    return parts.join(QLatin1Char(','));
}

std::vector<std::string> splitStops(const QString &text)
{
    std::vector<std::string> stops;
    for (QString part : text.split(QLatin1Char(','), Qt::SkipEmptyParts))
        stops.push_back(part.replace(QStringLiteral("\\n"), QStringLiteral("\n")).toStdString());
    return stops;
}

} // namespace

SettingsPopover::SettingsPopover(Workbench &workbench, QWidget *parent)
    : QFrame(parent, Qt::Popup | Qt::FramelessWindowHint), m_workbench(workbench)
{
    setProperty("role", "popover");
    setAccessibleName(tr("Settings of this chat"));
    setFixedWidth(400);
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(20, 16, 20, 16);
    column->setSpacing(8);
    buildPrompt(column);
    buildSampling(column);
    buildChoices(column);
    buildButtons(column);
    connect(&workbench, &Workbench::promptPreviewed, this, &SettingsPopover::showCosts);
}

void SettingsPopover::buildPrompt(QVBoxLayout *column)
{
    Theme &theme = m_workbench.theme();
    column->addWidget(heading(this, tr("System prompt"), theme));
    m_prompt = new PlainEdit(this);
    m_prompt->setProperty("role", "field");
    m_prompt->setAccessibleName(tr("System prompt"));
    m_prompt->setPlaceholderText(tr("None: the model's template decides"));
    m_prompt->setTabChangesFocus(true);
    m_prompt->setFixedHeight(84);
    column->addWidget(m_prompt);
    auto *note = new QLabel(tr("It stands first: a change computes the whole chat again."), this);
    note->setProperty("tone", "tertiary");
    note->setFont(theme.font(TextSize::caption));
    column->addWidget(note);
    column->addSpacing(8);
}

QDoubleSpinBox *SettingsPopover::real(QGridLayout *grid, int cell, const QString &name, double low, double high,
                                      double step)
{
    auto *label = new QLabel(name, this);
    label->setProperty("tone", "secondary");
    auto *box = new QDoubleSpinBox(this);
    box->setRange(low, high);
    box->setSingleStep(step);
    box->setDecimals(2);
    box->setLocale(QLocale::c());
    box->setAlignment(Qt::AlignRight);
    box->setAccessibleName(name);
    label->setBuddy(box);
    grid->addWidget(label, cell / 2, cell % 2 * 3);
    grid->addWidget(box, cell / 2, cell % 2 * 3 + 1);
    return box;
}

QSpinBox *SettingsPopover::whole(QGridLayout *grid, int cell, const QString &name, int low, int high)
{
    auto *label = new QLabel(name, this);
    label->setProperty("tone", "secondary");
    auto *box = new QSpinBox(this);
    box->setRange(low, high);
    box->setLocale(QLocale::c());
    box->setAlignment(Qt::AlignRight);
    box->setAccessibleName(name);
    label->setBuddy(box);
    grid->addWidget(label, cell / 2, cell % 2 * 3);
    grid->addWidget(box, cell / 2, cell % 2 * 3 + 1);
    return box;
}

void SettingsPopover::buildSampling(QVBoxLayout *column)
{
    column->addWidget(heading(this, tr("Sampling"), m_workbench.theme()));
    auto *grid = new QGridLayout;
    grid->setHorizontalSpacing(8);
    grid->setVerticalSpacing(6);
    grid->setColumnMinimumWidth(2, 12);
    grid->setColumnStretch(1, 1);
    grid->setColumnStretch(4, 1);
    m_temperature = real(grid, 0, tr("Temperature"), 0, 5, 0.05);
    m_topK = whole(grid, 1, tr("Top-k"), 0, 1'000'000);
    m_topP = real(grid, 2, tr("Top-p"), 0, 1, 0.01);
    m_minP = real(grid, 3, tr("Min-p"), 0, 1, 0.01);
    m_repeat = real(grid, 4, tr("Repeat"), 0.01, 10, 0.05);
    m_window = whole(grid, 5, tr("over tokens"), 0, 65536);
    m_presence = real(grid, 6, tr("Presence"), -10, 10, 0.1);
    m_frequency = real(grid, 7, tr("Frequency"), -10, 10, 0.1);
    m_maxTokens = whole(grid, 8, tr("Max tokens"), 1, 1'000'000);
    auto *seedLabel = new QLabel(tr("Seed"), this);
    seedLabel->setProperty("tone", "secondary");
    m_seed = new QLineEdit(this);
    m_seed->setAccessibleName(tr("Seed"));
    m_seed->setAlignment(Qt::AlignRight);
    m_seed->setValidator(new QRegularExpressionValidator(QRegularExpression(QStringLiteral("[0-9]{0,19}")), m_seed));
    grid->addWidget(seedLabel, 4, 3);
    grid->addWidget(m_seed, 4, 4);
    auto *stopLabel = new QLabel(tr("Stop at"), this);
    stopLabel->setProperty("tone", "secondary");
    m_stop = new QLineEdit(this);
    m_stop->setAccessibleName(tr("Stop strings, with commas between"));
    m_stop->setPlaceholderText(tr("texts with commas between"));
    grid->addWidget(stopLabel, 5, 0);
    grid->addWidget(m_stop, 5, 1, 1, 4);
    column->addLayout(grid);
    column->addSpacing(8);
}

void SettingsPopover::buildChoices(QVBoxLayout *column)
{
    auto *grid = new QGridLayout;
    grid->setHorizontalSpacing(8);
    grid->setVerticalSpacing(6);
    grid->setColumnStretch(1, 1);
    auto *thinking = new QLabel(tr("Earlier thinking"), this);
    thinking->setProperty("tone", "secondary");
    m_thinking = new QComboBox(this);
    m_thinking->addItem(tr("stays in the prompt"), int(api::ThinkingInPrompt::keep));
    m_thinking->addItem(tr("is left out"), int(api::ThinkingInPrompt::strip));
    m_thinking->setAccessibleName(tr("Earlier thinking"));
    m_thinkingCost = new QLabel(this);
    m_thinkingCost->setProperty("tone", "tertiary");
    m_thinkingCost->setFont(m_workbench.theme().font(TextSize::caption));
    m_thinkingCost->setWordWrap(true);
    m_thinkingCost->setText(tr("Left out, what follows it is computed again each turn."));
    auto *full = new QLabel(tr("Context full"), this);
    full->setProperty("tone", "secondary");
    m_full = new QComboBox(this);
    m_full->addItem(tr("asks before sending"), int(api::ContextFull::ask));
    m_full->addItem(tr("drops the oldest turns"), int(api::ContextFull::dropOldest));
    m_full->addItem(tr("stops"), int(api::ContextFull::stop));
    m_full->setAccessibleName(tr("When the context is full"));
    grid->addWidget(thinking, 0, 0);
    grid->addWidget(m_thinking, 0, 1);
    grid->addWidget(m_thinkingCost, 1, 1);
    grid->addWidget(full, 2, 0);
    grid->addWidget(m_full, 2, 1);
    column->addLayout(grid);
    column->addSpacing(8);
}

void SettingsPopover::buildButtons(QVBoxLayout *column)
{
    auto *row = new QHBoxLayout;
    auto *keep = new QPushButton(tr("Use for new chats"), this);
    auto *reset = new QPushButton(tr("Back to the defaults"), this);
    row->addWidget(keep);
    row->addWidget(reset);
    row->addStretch(1);
    column->addLayout(row);
    connect(keep, &QPushButton::clicked, this, [this] { emit usedForNewChats(settings()); });
    connect(reset, &QPushButton::clicked, this, [this] {
        api::SessionSettings defaults;
        defaults.systemPrompt = m_prompt->toPlainText().toStdString();
        setSettings(defaults);
    });
}

void SettingsPopover::setSettings(const api::SessionSettings &s)
{
    m_prompt->setPlainText(QString::fromStdString(s.systemPrompt));
    m_temperature->setValue(s.sampling.temperature);
    m_topK->setValue(s.sampling.topK);
    m_topP->setValue(s.sampling.topP);
    m_minP->setValue(s.sampling.minP);
    m_repeat->setValue(s.sampling.repeatPenalty);
    m_window->setValue(s.sampling.penaltyWindow);
    m_presence->setValue(s.sampling.presencePenalty);
    m_frequency->setValue(s.sampling.frequencyPenalty);
    m_maxTokens->setValue(s.sampling.maxTokens);
    m_seed->setText(QString::number(s.sampling.seed));
    m_stop->setText(joinedStops(s.sampling.stop));
    m_thinking->setCurrentIndex(m_thinking->findData(int(s.thinking)));
    m_full->setCurrentIndex(m_full->findData(int(s.contextFull)));
}

api::SessionSettings SettingsPopover::settings() const
{
    api::SessionSettings s = m_before;
    s.systemPrompt = m_prompt->toPlainText().toStdString();
    s.sampling.temperature = m_temperature->value();
    s.sampling.topK = m_topK->value();
    s.sampling.topP = m_topP->value();
    s.sampling.minP = m_minP->value();
    s.sampling.repeatPenalty = m_repeat->value();
    s.sampling.penaltyWindow = m_window->value();
    s.sampling.presencePenalty = m_presence->value();
    s.sampling.frequencyPenalty = m_frequency->value();
    s.sampling.maxTokens = m_maxTokens->value();
    s.sampling.seed = m_seed->text().toULongLong();
    s.sampling.stop = splitStops(m_stop->text());
    s.thinking = api::ThinkingInPrompt(m_thinking->currentData().toInt());
    s.contextFull = api::ContextFull(m_full->currentData().toInt());
    return s;
}

void SettingsPopover::openAt(const QPoint &topRight)
{
    m_session = m_workbench.session();
    m_before = m_workbench.sessionSettings();
    setSettings(m_before);
    m_before = settings(); // as the fields round it: only what the user changes is a change
    adjustSize();
    move(topRight - QPoint(width(), 0));
    show();
    m_prompt->setFocus();
    if (m_session.value != 0 && m_workbench.modelReady())
        m_workbench.post(api::command::PreviewPrompt{m_session, {}});
}

void SettingsPopover::showCosts(const api::update::PromptPreview &preview)
{
    if (!isVisible() || preview.session != m_session)
        return;
    if (preview.thinkingTokens == 0)
        m_thinkingCost->setText(tr("This chat has no thinking yet."));
    else
        m_thinkingCost->setText(tr("Thinking takes %1 here. Leaving it out computes about %2 again each turn.")
                                    .arg(count(preview.thinkingTokens, tr("token"), tr("tokens")),
                                         seconds(preview.thinkingStripSeconds)));
}

void SettingsPopover::hideEvent(QHideEvent *event)
{
    QFrame::hideEvent(event);
    const api::SessionSettings now = settings();
    const auto &a = now.sampling, &b = m_before.sampling;
    const bool same = now.systemPrompt == m_before.systemPrompt && now.thinking == m_before.thinking &&
                      now.contextFull == m_before.contextFull && a.temperature == b.temperature && a.topK == b.topK &&
                      a.topP == b.topP && a.minP == b.minP && a.repeatPenalty == b.repeatPenalty &&
                      a.penaltyWindow == b.penaltyWindow && a.presencePenalty == b.presencePenalty &&
                      a.frequencyPenalty == b.frequencyPenalty && a.maxTokens == b.maxTokens && a.seed == b.seed &&
                      a.stop == b.stop;
    if (!same && m_session.value != 0)
        m_workbench.post(api::command::SetSessionSettings{m_session, now});
}

} // namespace kvilt::ui
