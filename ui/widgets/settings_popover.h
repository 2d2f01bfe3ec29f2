// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/workbench.h"

#include <QFrame>

class QComboBox;
class QDoubleSpinBox;
class QFormLayout;
class QGridLayout;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QSpinBox;

class QVBoxLayout;

namespace kvilt::ui {

// The settings of one chat: system prompt, sampling, thinking, what happens when the context is full. Taken over when
// the popover closes; what a change costs in cached blocks is said beside it.
class SettingsPopover : public QFrame {
    Q_OBJECT
public:
    explicit SettingsPopover(Workbench &workbench, QWidget *parent);
    void openAt(const QPoint &topRight);
    api::SessionSettings settings() const;
    void setSettings(const api::SessionSettings &settings);

signals:
    void usedForNewChats(const kvilt::api::SessionSettings &settings);

protected:
    void hideEvent(QHideEvent *event) override;

private:
    void buildPrompt(QVBoxLayout *column);
    void buildSampling(QVBoxLayout *column);
    void buildChoices(QVBoxLayout *column);
    void buildButtons(QVBoxLayout *column);
    QDoubleSpinBox *real(QGridLayout *grid, int cell, const QString &name, double low, double high, double step);
    QSpinBox *whole(QGridLayout *grid, int cell, const QString &name, int low, int high);
    void showCosts(const api::update::PromptPreview &preview);

    Workbench &m_workbench;
    api::SessionSettings m_before;
    SessionId m_session;
    QPlainTextEdit *m_prompt = nullptr;
    QDoubleSpinBox *m_temperature = nullptr, *m_topP = nullptr, *m_minP = nullptr, *m_repeat = nullptr,
                   *m_presence = nullptr, *m_frequency = nullptr;
    QSpinBox *m_topK = nullptr, *m_maxTokens = nullptr, *m_window = nullptr;
    QLineEdit *m_seed = nullptr, *m_stop = nullptr;
    QComboBox *m_thinking = nullptr, *m_full = nullptr;
    QLabel *m_thinkingCost = nullptr;
};

} // namespace kvilt::ui
