// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/conversation.h"
#include "engine/engine.h"

#include <span>
#include <string>
#include <string_view>

namespace kvilt::text {
class Tokenizer;
}

namespace kvilt::chat {

// The lookup of a turn in words a person can check: both texts around the first difference, the cause, the cost.
api::MissReport explainLookup(const LookupRecord &lookup, std::span<const TokenId> prompt,
                              const text::Tokenizer &tokenizer, double prefillTokensPerSecond,
                              std::uint32_t blockSize);

// What has become of the blocks that the turn parted from (`report.cachedPath`): still needed, by whom, dropped by the
// user, or dead: in memory, on disk, gone. False, and nothing is changed, when the cache has forgotten one of them.
bool sortPath(const kv::KvCache &cache, SessionId asker, api::MissReport &report);

// prompt = fromMemory + fromDisk + computed.
api::TurnReceipt makeReceipt(TurnId turn, const SequenceStats &stats, api::FinishReason finish, api::MissReport miss);

// One sentence: "Matched 812 of 1,024 tokens; then ... because ...".
std::string describe(const api::MissReport &miss);

// For the `receipt` column of a message: every field of the receipt and its miss report, as JSON.
std::string receiptToJson(const api::TurnReceipt &receipt);
Result<api::TurnReceipt> receiptFromJson(std::string_view json);

} // namespace kvilt::chat
