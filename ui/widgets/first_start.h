// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/models/found_models.h"
#include "ui/models/workbench.h"
#include "ui/widgets/window_options.h"

#include <QScrollArea>

class QFrame;
class QLabel;
class QProgressBar;
class QPushButton;
class QTableView;

namespace kvilt::ui {

class ModelFetch;
class NoticeBar;

// The page of a window without a model: get the default one, drop or open a file, or take one that is already here.
// What is chosen is read first: its memory, KV bytes a token and longest context are shown before anything loads.
class FirstStart : public QScrollArea {
    Q_OBJECT
public:
    FirstStart(Workbench &workbench, const WindowOptions &options, QWidget *parent = nullptr);

    void scan();
    void probe(const QString &path);
    void openFile();
    NoticeBar &notices() { return *m_notice; }

signals:
    void modelChosen(const QString &path);

protected:
    void resizeEvent(QResizeEvent *event) override;
    void dragEnterEvent(QDragEnterEvent *event) override;
    void dropEvent(QDropEvent *event) override;

private:
    void buildGet(QWidget *page);
    void buildDrop(QWidget *page);
    void buildTable(QWidget *page);
    void buildFacts(QWidget *page);
    void showFacts(const api::ModelFacts &facts);
    void showFound(const api::update::ModelsFound &found);
    void fetchOrUse();
    void refreshGet();
    void recolour();

    Workbench &m_workbench;
    WindowOptions m_options;
    ModelFetch *m_fetch = nullptr;
    FoundModels *m_found = nullptr;
    QWidget *m_page = nullptr;
    QFrame *m_getCard = nullptr;
    QLabel *m_getMeta = nullptr;
    QPushButton *m_getButton = nullptr;
    QProgressBar *m_progress = nullptr;
    QFrame *m_drop = nullptr;
    QLabel *m_dropIcon = nullptr;
    QFrame *m_factsCard = nullptr;
    QLabel *m_factsName = nullptr;
    QLabel *m_factsText = nullptr;
    QPushButton *m_load = nullptr;
    QLabel *m_foundTitle = nullptr;
    QLabel *m_foundNote = nullptr;
    QTableView *m_table = nullptr;
    NoticeBar *m_notice = nullptr;
    QString m_probing;
    QString m_localDefault; // the default model's path when it is already here
};

} // namespace kvilt::ui
