// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QDialog>

#include <cstdint>

class QDoubleSpinBox;
class QLabel;

namespace kvilt::ui {

class Theme;

// How much stored KV may take on disk, beside what it takes now. Nothing is lost by a smaller one but time: what has to
// go is computed again when its chat goes on.
class QuotaDialog : public QDialog {
    Q_OBJECT
public:
    QuotaDialog(Theme &theme, std::uint64_t quota, std::uint64_t used, QWidget *parent = nullptr);
    std::uint64_t quota() const; // bytes

private:
    void refreshEffect();

    std::uint64_t m_used;
    QDoubleSpinBox *m_gib = nullptr;
    QLabel *m_effect = nullptr;
};

} // namespace kvilt::ui
