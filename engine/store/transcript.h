// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/session_db.h"

#include <string>
#include <string_view>

// A session as a document that other programs read: Markdown, or JSON with OpenAI's message objects.
namespace kvilt::store {

// Heading, then each message of the live branch under its role.
std::string toMarkdown(const StoredConversation &conversation);
// {"title":…, "created":…, "messages":[{"role","content",…}]} of the live branch.
std::string toOpenAiJson(const StoredConversation &conversation);

// An array of messages, or an object with "messages". Content may be text, null or an array of text parts; fields
// beyond role and content are kept in MessageRow::json. badInput: one sentence with the message's number.
Result<StoredConversation> fromOpenAiJson(std::string_view document);

} // namespace kvilt::store
