// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QDBusVariant>
#include <QObject>

namespace kvilt::ui {

class Theme;

// Tells the theme whether the desktop is dark, now and when it changes: from the desktop portal (Qt itself knows only
// from 6.5), or, where there is none, from how light the palette is that the platform gave. Asks without waiting.
class SystemThemeWatcher : public QObject {
    Q_OBJECT
public:
    explicit SystemThemeWatcher(Theme &theme, QObject *parent = nullptr);

private slots:
    void settingChanged(const QString &group, const QString &key, const QDBusVariant &value);

private:
    void take(const QVariant &value);

    Theme &m_theme;
};

} // namespace kvilt::ui
