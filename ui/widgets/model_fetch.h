// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QObject>
#include <QProcess>

namespace kvilt::ui {

// Runs the project's fetch script for the default model and reads its progress. The script checks the file's SHA-256;
// nothing of it is done here.
class ModelFetch : public QObject {
    Q_OBJECT
public:
    explicit ModelFetch(QString program, QObject *parent = nullptr);
    bool available() const { return !m_program.isEmpty(); }
    bool running() const { return m_process.state() != QProcess::NotRunning; }
    void start(const QString &model);
    void cancel();

signals:
    void progressed(double share);
    void finished(const QString &path);
    void failed(const QString &sentence);

private:
    void readLines();
    void ended(int code, QProcess::ExitStatus status);

    QString m_program;
    QProcess m_process;
    QString m_path;
    QByteArray m_errors;
    bool m_cancelled = false;
};

} // namespace kvilt::ui
