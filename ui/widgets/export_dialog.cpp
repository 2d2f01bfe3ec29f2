// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/export_dialog.h"

#include "ui/widgets/dialog_buttons.h"
#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QCheckBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QRadioButton>
#include <QRegularExpression>
#include <QVBoxLayout>

namespace kvilt::ui {

ExportDialog::ExportDialog(Theme &theme, const QString &title, std::uint64_t kvBytes, QWidget *parent) : QDialog(parent)
{
    setWindowTitle(tr("Export chat"));
    auto *column = new QVBoxLayout(this);
    column->setContentsMargins(24, 20, 24, 20);
    column->setSpacing(10);
    auto *heading = new QLabel(title.isEmpty() ? tr("Export chat") : title, this);
    heading->setTextFormat(Qt::PlainText);
    heading->setFont(theme.font(TextSize::title, QFont::DemiBold));
    column->addWidget(heading);
    m_markdown = new QRadioButton(tr("Markdown, to read"), this);
    m_json = new QRadioButton(tr("JSON, as OpenAI messages"), this);
    m_kvilt = new QRadioButton(tr("Kvilt file, to go on elsewhere"), this);
    m_withKv = new QCheckBox(kvBytes > 0 ? tr("with its KV, %1").arg(bytes(kvBytes)) : tr("with its KV"), this);
    m_markdown->setChecked(true);
    m_withKv->setEnabled(false);
    for (QWidget *widget : std::initializer_list<QWidget *>{m_markdown, m_json, m_kvilt})
        column->addWidget(widget);
    auto *indent = new QHBoxLayout;
    indent->setContentsMargins(24, 0, 0, 0);
    indent->addWidget(m_withKv);
    column->addLayout(indent);
    column->addSpacing(8);
    addDialogButtons(*this, *column, tr("Choose a place…"));
    connect(m_kvilt, &QRadioButton::toggled, m_withKv, &QWidget::setEnabled);
}

api::command::ExportFormat ExportDialog::format() const
{
    using api::command::ExportFormat;
    return m_json->isChecked() ? ExportFormat::json : m_kvilt->isChecked() ? ExportFormat::kvilt : ExportFormat::markdown;
}

bool ExportDialog::withKv() const
{
    return m_kvilt->isChecked() && m_withKv->isChecked();
}

QString ExportDialog::suffix(api::command::ExportFormat format)
{
    using api::command::ExportFormat;
    return format == ExportFormat::json    ? QStringLiteral(".json")
           : format == ExportFormat::kvilt ? QStringLiteral(".kvilt")
                                           : QStringLiteral(".md");
}

QString ExportDialog::fileName(const QString &title, api::command::ExportFormat format)
{
    QString name = title.simplified().left(60);
    name.replace(QRegularExpression(QStringLiteral("[^\\w .,()-]"), QRegularExpression::UseUnicodePropertiesOption),
                 QStringLiteral("_"));
    while (name.startsWith(QLatin1Char('.')) || name.startsWith(QLatin1Char(' ')))
        name.remove(0, 1);
    return (name.isEmpty() ? QStringLiteral("chat") : name) + suffix(format);
}

} // namespace kvilt::ui
