// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/engine_dialog.h"

#include "engine/api/conversation.h"
#include "ui/widgets/dialog_buttons.h"
#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QCheckBox>
#include <QComboBox>
#include <QFormLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QRegularExpressionValidator>
#include <QSpinBox>
#include <QVBoxLayout>

#include <array>

namespace kvilt::ui {

namespace {

constexpr double kGiB = double(1ull << 30);
// What every backend has; the narrower types stand in the command line until they have passed everywhere.
constexpr std::array kTypes{api::KvType::f16, api::KvType::q8, api::KvType::bf16, api::KvType::f32};

} // namespace

EngineDialog::EngineDialog(Theme &theme, const api::EngineSettings &now, const api::ModelFacts &model, QWidget *parent)
    : QDialog(parent), m_before(now), m_bytesPerToken(model.kvBytesPerToken),
      m_longestContext(model.contextLength > 0 ? int(model.contextLength) : 10'000'000)
{
    setWindowTitle(tr("Engine and cache"));
    build(theme);
}

QComboBox *EngineDialog::types(const QString &name, api::KvType now)
{
    auto *box = new QComboBox(this);
    box->setAccessibleName(name);
    const auto add = [box](api::KvType type) { box->addItem(QString::fromStdString(std::string(api::toString(type))), int(type)); };
    for (const api::KvType type : kTypes)
        add(type);
    if (box->findData(int(now)) < 0)
        add(now);
    box->setCurrentIndex(box->findData(int(now)));
    return box;
}

QWidget *EngineDialog::buildMemory()
{
    auto *row = new QWidget(this);
    auto *layout = new QHBoxLayout(row);
    layout->setContentsMargins(0, 0, 0, 0);
    m_memory = new QLineEdit(row);
    m_memory->setAccessibleName(tr("Memory for KV in GiB, empty: chosen by the program"));
    m_memory->setPlaceholderText(tr("chosen"));
    m_memory->setValidator(new QRegularExpressionValidator(QRegularExpression(QStringLiteral("\\d{0,4}([.]\\d{0,2})?")), m_memory));
    m_memory->setMaximumWidth(90);
    if (m_before.kvMemory > 0)
        m_memory->setText(QString::number(double(m_before.kvMemory) / kGiB, 'f', 2));
    m_cost = new QLabel(row);
    m_cost->setProperty("tone", "tertiary");
    layout->addWidget(m_memory);
    layout->addWidget(new QLabel(QStringLiteral("GiB"), row));
    layout->addWidget(m_cost, 1);
    connect(m_memory, &QLineEdit::textChanged, this, &EngineDialog::refreshCost);
    return row;
}

void EngineDialog::build(Theme &theme)
{
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(24, 20, 24, 20);
    column->setSpacing(12);
    auto *heading = new QLabel(windowTitle(), this);
    heading->setFont(theme.font(TextSize::title, QFont::DemiBold));
    column->addWidget(heading);
    auto *form = new QFormLayout;
    form->setHorizontalSpacing(16);
    form->setVerticalSpacing(8);
    m_threads = new QSpinBox(this);
    m_threads->setRange(0, 1024);
    m_threads->setSpecialValueText(tr("all cores"));
    m_threads->setValue(m_before.threads);
    m_context = new QSpinBox(this);
    m_context->setRange(0, m_longestContext); // more than the model has cannot be written
    m_context->setSingleStep(1024);
    m_context->setSpecialValueText(tr("the model's own"));
    m_context->setValue(m_before.contextLength);
    m_k = types(tr("Type of keys"), m_before.kType);
    m_v = types(tr("Type of values"), m_before.vType);
    m_block = new QComboBox(this);
    for (int size = 16; size <= 512; size *= 2)
        m_block->addItem(tr("%1 tokens").arg(size), size);
    m_block->setCurrentIndex(m_block->findData(m_before.blockSize));
    m_policy = new QComboBox(this);
    for (const char *policy : {"lru", "fifo", "lfu"})
        m_policy->addItem(QString::fromLatin1(policy));
    m_policy->setCurrentText(QString::fromStdString(m_before.policy));
    m_cache = new QCheckBox(tr("Reuse KV across turns and keep it on disk"), this);
    m_cache->setChecked(m_before.cache);
    const std::pair<QString, QWidget *> rows[] = {
        {tr("Threads"), m_threads}, {tr("Context"), m_context},     {tr("Memory for KV"), buildMemory()},
        {tr("Keys as"), m_k},       {tr("Values as"), m_v},         {tr("Block size"), m_block},
        {tr("Evict by"), m_policy}, {tr("Cache"), m_cache}};
    for (const auto &[name, widget] : rows) {
        auto *label = new QLabel(name, this);
        label->setProperty("tone", "secondary");
        label->setBuddy(widget);
        if (widget->accessibleName().isEmpty())
            widget->setAccessibleName(name);
        form->addRow(label, widget);
    }
    column->addLayout(form);
    setTabOrder(m_context, m_memory);
    setTabOrder(m_memory, m_k);
    auto *note = new QLabel(tr("Applying this loads the model again. q8 halves the KV and changes results slightly; KV stored "
                               "with other types stays on disk and is found again when the types come back."), this);
    note->setWordWrap(true);
    note->setProperty("tone", "tertiary");
    note->setFont(theme.font(TextSize::caption));
    column->addWidget(note);
    addDialogButtons(*this, *column, tr("Apply and reload"));
    refreshCost();
    setMinimumWidth(460);
}

// How many tokens the memory holds, as the types are now.
void EngineDialog::refreshCost()
{
    const double gib = m_memory->text().toDouble();
    const bool known = gib > 0 && m_bytesPerToken > 0;
    m_cost->setText(known ? tr("%1 with the types of now").arg(count(std::uint64_t(gib * kGiB) / m_bytesPerToken, tr("token"), tr("tokens")))
                          : QString());
}

api::EngineSettings EngineDialog::settings() const
{
    api::EngineSettings s = m_before;
    s.threads = m_threads->value();
    s.contextLength = m_context->value();
    s.kvMemory = std::uint64_t(m_memory->text().toDouble() * kGiB);
    if (s.kvMemory != m_before.kvMemory)
        s.kvBlocks = 0; // a number of blocks would win over the memory that was just set
    s.kType = api::KvType(m_k->currentData().toInt());
    s.vType = api::KvType(m_v->currentData().toInt());
    s.blockSize = m_block->currentData().toInt();
    s.policy = m_policy->currentText().toStdString();
    s.cache = m_cache->isChecked();
    return s;
}

} // namespace kvilt::ui
