// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ui/chat/markdown.h"

#include <QString>
#include <tl/expected.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace kvilt::ui {

// A text file that goes with a message. It becomes part of the message's text, so that the prompt, the exports and the
// cache see one thing:
//     <file name="minutes.txt">
//     ...
//     </file>
// The chat shows it as a box with name and size, which unfolds.
struct Attachment {
    QString name;
    std::string text; // UTF-8, without its last line break
};

inline constexpr qint64 kLargestAttachment = 2 << 20; // bytes; far beyond what any context here takes

// Or a sentence, when the file cannot be read, is larger, or is not UTF-8 text.
tl::expected<Attachment, QString> readAttachment(const QString &path);
std::string withAttachments(const std::string &words, const std::vector<Attachment> &files);

// A user's message as its words and its files, in order.
std::vector<Section> userSections(std::string_view utf8);

} // namespace kvilt::ui
