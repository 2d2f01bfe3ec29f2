// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/status_strip.h"

#include "ui/widgets/format.h"
#include "ui/widgets/theme.h"

#include <QPainter>
#include <QThread>

namespace kvilt::ui {

namespace {
constexpr int kHeight = 29;
constexpr int kLeft = 16;
}

StatusStrip::StatusStrip(Workbench &workbench, QWidget *parent) : QWidget(parent), m_workbench(workbench)
{
    setFixedHeight(kHeight);
    connect(&workbench, &Workbench::modelChanged, this, &StatusStrip::rebuild);
    connect(&workbench, &Workbench::countsChanged, this, &StatusStrip::rebuild);
    connect(&workbench, &Workbench::machineMeasured, this, &StatusStrip::rebuild);
    connect(&workbench, &Workbench::turnFinished, this, [this](const api::update::TurnFinished &finished) {
        const api::TurnReceipt &r = finished.message.receipt;
        m_turn = r.miss.lostSeconds > 0.005 ? tr("Last turn lost %1").arg(seconds(r.miss.lostSeconds))
                 : r.savedSeconds > 0.005   ? tr("Last turn saved %1").arg(seconds(r.savedSeconds))
                                            : QString();
        rebuild();
    });
    connect(&workbench, &Workbench::turnProgressed, this, [this](const api::update::TurnProgress &progress) {
        const bool reading = progress.phase != api::update::TurnPhase::decode && progress.secondsLeft >= 0.5;
        const QString now = reading ? tr("This turn: %1 s left").arg(int(progress.secondsLeft + 0.5)) : QString();
        if (progress.session == m_workbench.session() && now != m_turn && (reading || m_turn.startsWith(u"This"))) {
            m_turn = now;
            rebuild();
        }
    });
    connect(&workbench.theme(), &Theme::changed, this, qOverload<>(&QWidget::update));
    rebuild();
}

QSize StatusStrip::sizeHint() const
{
    return {400, kHeight};
}

void StatusStrip::setStallText(const QString &text)
{
    m_stalls = text;
    update();
}

QString StatusStrip::deviceWords(const api::update::ModelState &state)
{
    const QString device = state.device.empty() ? QStringLiteral("CPU") : QString::fromStdString(state.device);
    QStringList words{device};
    if (state.settings.backend == "cuda") // its threads are nothing to count
        return device + QStringLiteral(", ") + QString::fromStdString(state.isa);
    if (!state.isa.empty()) {
        const QString isa = QString::fromStdString(state.isa);
        words << (isa == u"scalar" ? isa : isa.toUpper().replace(QStringLiteral("AVX512"), QStringLiteral("AVX-512")));
    }
    const int threads = state.settings.threads > 0 ? state.settings.threads : QThread::idealThreadCount();
    words << count(std::uint64_t(threads), QStringLiteral("thread"), QStringLiteral("threads"));
    return words.join(QStringLiteral(", "));
}

// Before a model is there: what it will have to live with.
void StatusStrip::addMachine(QStringList &items) const
{
    const api::update::MachineFacts &machine = m_workbench.machine();
    if (machine.memoryBytes > 0)
        items << tr("Memory %1, %2 free").arg(bytes(machine.memoryBytes), bytes(machine.freeBytes));
    if (machine.readBytesPerSecond > 0)
        items << tr("Reads %1 GB/s").arg(threeDigits(machine.readBytesPerSecond / 1e9));
}

void StatusStrip::rebuild()
{
    using api::update::ModelPhase;
    const auto &model = m_workbench.model();
    api::update::ModelState device = model;
    if (model.phase == ModelPhase::none)
        device.isa = m_workbench.machine().isa;
    QStringList items{deviceWords(device)};
    if (model.phase == ModelPhase::none) {
        items << tr("No model");
        addMachine(items);
    } else if (model.phase == ModelPhase::loading) {
        items << tr("Loading, %1 %").arg(int(model.progress * 100));
    } else if (model.phase == ModelPhase::failed) {
        items << tr("The model could not be loaded");
        addMachine(items);
    }
    if (const auto &counts = m_workbench.counts(); counts && model.phase == ModelPhase::ready) {
        const api::PoolCounts &c = *counts;
        const std::uint64_t held = std::uint64_t(c.inUse) + c.partlyFilled;
        items << tr("%1 of %2 blocks: %3 in use, %4 cached")
                     .arg(grouped(held + c.cachedIdle), grouped(c.capacity), grouped(held), grouped(c.cachedIdle));
        if (c.device.gpu && c.device.totalBytes > 0)
            items << tr("GPU memory %1 of %2, KV %3 of it")
                         .arg(bytes(c.device.usedBytes()), bytes(c.device.totalBytes), bytes(c.device.poolBytes));
        items << tr("Hit rate %1").arg(percent(c.hitTokensMemory + c.hitTokensDisk, c.lookupTokens));
        items << (c.host.blocks > 0 ? tr("KV %1, in host memory %2, on disk %3").arg(bytes(c.bytesInMemory), bytes(c.host.bytes), bytes(c.bytesOnDisk))
                                    : tr("KV %1, on disk %2").arg(bytes(c.bytesInMemory), bytes(c.bytesOnDisk)));
        if (!m_turn.isEmpty())
            items << m_turn;
    }
    if (items == m_items)
        return;
    m_items = items;
    setAccessibleName(m_items.join(QStringLiteral(". ")));
    update();
}

void StatusStrip::paintEvent(QPaintEvent *)
{
    const Palette &p = m_workbench.theme().palette();
    QPainter painter(this);
    painter.setFont(m_workbench.theme().font(TextSize::secondary));
    int x = kLeft;
    for (qsizetype i = 0; i < m_items.size(); ++i) {
        if (i > 0) {
            painter.fillRect(QRect(x + 16, 9, 1, kHeight - 18), p.border);
            x += 33;
        }
        const int w = painter.fontMetrics().horizontalAdvance(m_items[i]);
        painter.setPen(p.secondary);
        painter.drawText(QRect(x, 0, w + 4, kHeight), Qt::AlignVCenter, m_items[i]);
        x += w;
    }
    if (!m_stalls.isEmpty()) {
        painter.setPen(p.tertiary);
        painter.drawText(rect().adjusted(0, 0, -kLeft, 0), Qt::AlignRight | Qt::AlignVCenter, m_stalls);
    }
}

} // namespace kvilt::ui
