// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/conversation.h"
#include "engine/api/ids.h"
#include "engine/support/clock.h"
#include "engine/support/error.h"

#include <cstdint>
#include <functional>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Rows of sessions.db (SESSIONS_DB.md) and the statements over them. Settings and receipts are JSON documents of
// their owners (app/settings, engine/chat): the store keeps them as text.
namespace kvilt::store {

struct MessageRow {
    MessageId id;
    MessageId parent;              // 0: first of its session
    SessionId session;
    api::Role role = api::Role::user;
    api::MessageState state = api::MessageState::complete;
    std::string text;
    std::vector<TokenId> ids;      // as computed or generated; empty: none yet
    std::string tokenizer;         // what `ids` belong to
    std::string json;              // the OpenAI object where it says more than role and text
    std::string receipt;           // JSON, assistant messages
    std::int64_t createdMs = 0;    // 0 when new: now
    bool pinned = false;
    int branchIndex = 0;           // among its siblings, when read
    int branchCount = 1;
};

struct SessionRow {
    SessionId id;
    std::string title;
    std::string name;              // given on the command line, to call it by; empty: none
    std::string folder;
    std::vector<std::string> tags;
    std::string settings;          // JSON
    std::string salt;              // of its KV; imported sessions have one of their own
    MessageId tip;                 // leaf of the live branch; 0: no message
    std::int64_t createdMs = 0, updatedMs = 0;
    std::uint32_t tokens = 0;      // of the live branch at its last turn
};

struct StoredConversation {
    SessionRow session;
    std::vector<MessageRow> messages; // live branch, root first
};

// What changes of a message while and after it is written.
struct ReplyUpdate {
    MessageId id;
    std::string text;
    std::vector<TokenId> ids;
    std::string tokenizer;
    api::MessageState state = api::MessageState::streaming;
    std::string receipt;           // empty: unchanged
};

// One connection to sessions.db. Not thread-safe: the store thread owns the writing one. Every method is one
// transaction and is on the disk when it returns. Text is taken as it comes; what is no UTF-8 is repaired (U+FFFD).
class SessionDb {
public:
    ~SessionDb();
    SessionDb(SessionDb &&) noexcept;
    SessionDb &operator=(SessionDb &&) noexcept;

    // What `work` does with this object is one transaction: all of it, or nothing. It is called again when the store
    // could mend what stopped it.
    Result<void> together(const std::function<Result<void>()> &work);
    // A session with the messages of one branch, root first. Its row, or nothing is kept.
    Result<SessionRow> createConversation(const StoredConversation &conversation);

    Result<SessionRow> createSession(SessionRow session); // id, times are given by the store
    Result<std::optional<SessionRow>> session(SessionId id) const;
    Result<std::optional<SessionId>> named(std::string_view name) const; // by SessionRow::name
    Result<void> rename(SessionId id, std::string_view title);
    Result<void> file(SessionId id, std::string_view folder, const std::vector<std::string> &tags);
    Result<void> setSettings(SessionId id, std::string_view json);
    Result<void> setTokens(SessionId id, std::uint32_t tokens);
    Result<void> deleteSession(SessionId id);             // hidden; purge() removes it
    Result<void> undoDelete(SessionId id);
    Result<std::vector<SessionId>> purgeDeleted();        // removes what was hidden, for good
    // Most recent first. A query is words; the last one may be the beginning of a word. Hits in titles and in text;
    // the snippet is HTML-escaped text with <b> marks.
    Result<std::vector<api::SessionSummary>> list(std::string_view query, std::uint32_t limit = 10000) const;

    Result<MessageRow> append(MessageRow message);        // becomes the live tip of its session
    Result<void> update(const ReplyUpdate &reply);
    Result<void> update(const std::vector<ReplyUpdate> &replies);
    Result<void> setIds(MessageId id, const std::vector<TokenId> &ids, std::string_view tokenizer);
    Result<void> setPinned(MessageId id, bool pinned);
    // Hides a message and what follows it; the tip moves to the nearest branch that is left.
    Result<void> deleteMessage(MessageId id);
    Result<void> undoDeleteMessage(MessageId id);
    Result<void> setTip(SessionId session, MessageId leaf);
    // Shows sibling `branchIndex` of `message`, down to the leaf that was last shown there. Returns the new tip.
    Result<MessageId> switchBranch(MessageId message, int branchIndex);
    Result<std::optional<MessageRow>> message(MessageId id) const;
    Result<std::vector<MessageRow>> branch(MessageId leaf) const;     // root first
    Result<std::vector<MessageRow>> tree(SessionId session) const;    // every message, parents first
    Result<StoredConversation> conversation(SessionId session) const; // notFound: no such session

    Result<std::optional<SessionId>> lastSession() const;             // remembered by setLastSession
    Result<void> setLastSession(SessionId id);
    // After a crash: what was streaming is interrupted, its text kept. Returns how many.
    Result<int> interruptStreaming();
    // A number of this file's own, made by chance with it. Session ids say nothing without it: when the file is lost,
    // the next one gives the same ids to other sessions.
    Result<std::int64_t> lineage();

private:
    friend class SessionStore;
    struct Impl;
    explicit SessionDb(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

} // namespace kvilt::store
