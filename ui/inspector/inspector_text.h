// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <QString>

#include <functional>
#include <vector>

namespace kvilt::ui {

// A turn explained in words: everything the inspector says, without a widget.
struct InspectorText {
    struct Number {
        QString value, label;
        enum class Tone : std::uint8_t { plain, saved, lost } tone = Tone::plain;
    };
    struct Row {
        QString name, value, note;
        bool operator==(const Row &) const = default;
    };
    struct Excerpt { // one of the two texts around the first difference
        QString before, token, after;
        bool empty() const { return before.isEmpty() && token.isEmpty() && after.isEmpty(); }
    };

    QString title, turn, paragraph;
    std::vector<Number> numbers;
    QString tiers;                 // "1,024 from memory, 64 from disk, 17 computed"
    QString blocks, stripCaption;
    QString differenceTitle;       // empty: nothing differs
    Excerpt cached, asked;
    QString fatesTitle;
    std::vector<Row> fates;        // what became of the blocks after the parting
    std::vector<api::update::Remedy> remedies;
};

struct InspectorContext {
    std::uint16_t blockSize = 16;
    std::uint64_t bytesPerBlock = 0;        // one block of every group
    double restoreBytesPerSecond = 0;       // measured; 0: not yet
    const std::vector<api::Message> *messages = nullptr; // of the live branch, for what can be undone
};

InspectorText inspectorText(const api::update::TurnInspected &turn, const InspectorContext &context);

// What holds for the chat as a whole: disk, restoring, a full context, thoughts.
struct ChatFacts {
    std::uint64_t kvBytes = 0;
    std::uint32_t blocksOnDisk = 0, blocksInMemory = 0, tokens = 0;
    double restoreBytesPerSecond = 0, prefillTokensPerSecond = 0;
    std::uint64_t bytesPerToken = 0;
    bool previewKnown = false;
    api::update::PromptPreview preview;
    std::uint32_t recomputed = 0;           // of the turn shown
    bool dropped = false;                   // its prompt began after the oldest messages
};
std::vector<InspectorText::Row> chatRows(const ChatFacts &facts);

// Up to `room` characters: the end of `before`, the token, the beginning of `after`, on one line.
InspectorText::Excerpt fitExcerpt(const InspectorText::Excerpt &excerpt, int room);

} // namespace kvilt::ui
