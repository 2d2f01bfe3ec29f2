// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/widgets/model_fetch.h"

namespace kvilt::ui {

ModelFetch::ModelFetch(QString program, QObject *parent) : QObject(parent), m_program(std::move(program))
{
    connect(&m_process, &QProcess::readyReadStandardOutput, this, &ModelFetch::readLines);
    connect(&m_process, &QProcess::readyReadStandardError, this,
            [this] { m_errors = (m_errors + m_process.readAllStandardError()).right(4000); });
    connect(&m_process, &QProcess::finished, this, &ModelFetch::ended);
    connect(&m_process, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
        if (error == QProcess::FailedToStart)
            emit failed(tr("The model could not be fetched: %1 did not start. Is Python 3 installed?").arg(m_program));
    });
}

void ModelFetch::start(const QString &model)
{
    if (running())
        return;
    m_path.clear();
    m_errors.clear();
    m_cancelled = false;
    m_process.start(m_program, {model, QStringLiteral("--progress"), QStringLiteral("lines")});
}

void ModelFetch::cancel()
{
    m_cancelled = true;
    m_process.terminate();
}

// "progress 0.420" lines, then the path of the file.
void ModelFetch::readLines()
{
    while (m_process.canReadLine()) {
        const QString line = QString::fromUtf8(m_process.readLine()).trimmed();
        if (line.startsWith(u"progress "))
            emit progressed(line.mid(9).toDouble());
        else if (!line.isEmpty())
            m_path = line;
    }
}

void ModelFetch::ended(int code, QProcess::ExitStatus status)
{
    readLines();
    if (m_cancelled) {
        emit failed({});
    } else if (status == QProcess::NormalExit && code == 0 && !m_path.isEmpty()) {
        emit finished(m_path);
    } else {
        const QString last = QString::fromUtf8(m_errors).trimmed().section(QLatin1Char('\n'), -1);
        emit failed(last.isEmpty() ? tr("The model could not be fetched.") : last);
    }
}

} // namespace kvilt::ui
