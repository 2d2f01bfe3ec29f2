// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/lab/policy_view.h"

#include "ui/lab/policy_text.h"
#include "ui/widgets/theme.h"

#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QTableWidget>
#include <QVBoxLayout>

namespace kvilt::ui {

namespace {

QTableWidgetItem *cell(const QString &text, bool first, const QFont &font)
{
    auto *item = new QTableWidgetItem(text);
    item->setFlags(Qt::ItemIsEnabled | Qt::ItemIsSelectable);
    item->setTextAlignment(first ? Qt::AlignLeft | Qt::AlignVCenter : Qt::AlignRight | Qt::AlignVCenter);
    item->setFont(font);
    return item;
}

} // namespace

PolicyView::PolicyView(Workbench &workbench, QWidget *parent) : QDialog(parent), m_workbench(workbench)
{
    setWindowTitle(tr("What would another policy have done?"));
    const Theme &theme = workbench.theme();
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(24, 20, 24, 20);
    column->setSpacing(12);
    auto *heading = new QLabel(windowTitle(), this);
    heading->setFont(theme.font(TextSize::title, QFont::DemiBold));
    m_sentence = new QLabel(this);
    m_sentence->setWordWrap(true);
    m_sentence->setTextFormat(Qt::PlainText);
    m_sentence->setProperty("tone", "secondary");
    m_table = new QTableWidget(this);
    m_table->setAccessibleName(tr("Hit ratio by policy and size of the pool"));
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setDefaultSectionSize(32);
    m_table->setShowGrid(false);
    m_table->setSelectionMode(QAbstractItemView::NoSelection);
    m_table->setEditTriggers(QAbstractItemView::NoEditTriggers);
    m_table->setStyleSheet(QStringLiteral("QTableView::item { padding: 0px 8px; } QTableView::item:first { padding-left: 0px; }"));
    m_table->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_table->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_note = new QLabel(tr("Share of the full blocks of all prompts that are found in memory. Evictions and what was wanted "
                           "again hold for the pool as it is. A dead branch goes first under every policy in the engine; here "
                           "policies are compared without that."),
                        this);
    m_note->setWordWrap(true);
    m_note->setProperty("tone", "tertiary");
    m_note->setFont(theme.font(TextSize::caption));
    auto *again = new QPushButton(tr("Compare again"), this);
    connect(again, &QPushButton::clicked, this, &PolicyView::compare);
    column->addWidget(heading);
    column->addWidget(m_sentence);
    column->addWidget(m_table);
    column->addWidget(m_note);
    column->addWidget(again, 0, Qt::AlignLeft);
    connect(&workbench, &Workbench::policiesCompared, this, &PolicyView::showComparison);
    resize(660, 400);
}

void PolicyView::compare()
{
    m_workbench.post(api::command::ComparePolicies{});
}

void PolicyView::showComparison(const api::update::PoliciesCompared &compared)
{
    const PolicyText text = policyText(compared);
    const Theme &theme = m_workbench.theme();
    m_sentence->setText(text.sentence);
    m_table->setVisible(!text.rows.empty());
    m_note->setVisible(!text.rows.empty());
    m_table->setColumnCount(int(text.columns.size()));
    m_table->setRowCount(int(text.rows.size()));
    m_table->setHorizontalHeaderLabels(text.columns);
    for (int c = 0; c < text.columns.size(); ++c)
        m_table->horizontalHeaderItem(c)->setTextAlignment((c == 0 ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    for (int r = 0; r < int(text.rows.size()); ++r) {
        const QStringList &row = text.rows[std::size_t(r)];
        const bool now = r == text.currentRow;
        const QFont font = theme.font(TextSize::body, now ? QFont::DemiBold : QFont::Normal);
        for (int c = 0; c < row.size(); ++c)
            m_table->setItem(r, c, cell(c == 0 && now ? tr("%1, in force").arg(row[c]) : row[c], c == 0, font));
    }
    m_table->horizontalHeader()->setSectionResizeMode(QHeaderView::Stretch);
    m_table->setFixedHeight(m_table->horizontalHeader()->sizeHint().height() + int(text.rows.size()) * 32 + 2);
}

} // namespace kvilt::ui
