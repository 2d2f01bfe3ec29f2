// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "engine/api/engine_port.h"

#include <QString>

#include <vector>

// The line under a reply in words: from cache, restored, computed, first token, speed, saved or lost.
namespace kvilt::ui {

enum class Tone : std::uint8_t { strong, normal, saved, lost };
struct ReceiptPart {
    QString text;
    Tone tone = Tone::normal;
};

// `first`: the first reply of a chat spells out "first token".
std::vector<ReceiptPart> receiptParts(const api::TurnReceipt &receipt, bool first);
// While it is being written, from the progress of the turn.
std::vector<ReceiptPart> writingParts(const api::update::TurnProgress &progress);
QString plainReceipt(const std::vector<ReceiptPart> &parts); // joined by " · ", for clipboard and screen readers

// "Reading the prompt": "3,072 of 4,096 tokens", "2,544 from cache (62 %)", "528 computed, 1,024 to go at 352 tok/s".
struct PrefillWords {
    QString title;
    QString left;  // "3 s left"
    QString total;
    QString cached;
    QString computed;
    double cachedShare = 0;
    double computedShare = 0;
};
PrefillWords prefillWords(const api::update::TurnProgress &progress);

} // namespace kvilt::ui
