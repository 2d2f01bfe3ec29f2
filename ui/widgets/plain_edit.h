// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QMimeData>
#include <QPlainTextEdit>

namespace kvilt::ui {

// A plain text box that takes text and nothing else. Qt 6.4's own looks at the first format of what is pasted without
// asking whether there is one: an empty clipboard ends the program.
class PlainEdit : public QPlainTextEdit {
public:
    using QPlainTextEdit::QPlainTextEdit;

protected:
    bool canInsertFromMimeData(const QMimeData *source) const override { return source && source->hasText(); }
    void insertFromMimeData(const QMimeData *source) override
    {
        if (source && source->hasText())
            takeText(source->text());
    }
    virtual void takeText(const QString &text) { insertPlainText(text); }
};

} // namespace kvilt::ui
