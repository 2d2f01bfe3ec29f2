// SPDX-License-Identifier: Apache-2.0
// The message tree of a session. A child's id is greater than its parent's, always: a file that says otherwise has
// its walk ended there, so no file can make one go on for ever. A message is in the text index iff it is not
// streaming.
#include "engine/store/session_db_impl.h"
#include "engine/text/utf8.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace kvilt::store {

using text::utf8::sanitized;

namespace {

constexpr std::string_view kRow = "SELECT id, parent, session, role, state, text, ids, tokenizer, json, receipt, created,"
                                  " pinned FROM message WHERE id=? AND deleted=0";

std::vector<TokenId> idsFrom(std::span<const std::byte> blob)
{
    std::vector<TokenId> ids(blob.size() / sizeof(TokenId));
    if (!ids.empty())
        std::memcpy(ids.data(), blob.data(), ids.size() * sizeof(TokenId));
    return ids;
}

std::span<const std::byte> bytesOf(const std::vector<TokenId> &ids) { return std::as_bytes(std::span(ids)); }

// Numbers out of range become what shows the text and claims nothing.
MessageRow rowFrom(const sql::Statement &query)
{
    MessageRow row;
    row.id = {query.integer(0)};
    row.parent = {query.integer(1)};
    row.session = {query.integer(2)};
    const std::int64_t role = query.integer(3), state = query.integer(4);
    row.role = role >= 0 && role <= std::int64_t(api::Role::tool) ? api::Role(role) : api::Role::user;
    row.state = state >= 0 && state <= std::int64_t(api::MessageState::failed) ? api::MessageState(state)
                                                                              : api::MessageState::interrupted;
    row.text = query.text(5);
    row.ids = idsFrom(query.blob(6));
    row.tokenizer = query.text(7);
    row.json = query.text(8);
    row.receipt = query.text(9);
    row.createdMs = query.integer(10);
    row.pinned = query.integer(11) != 0;
    return row;
}

// Ids of a session's tree, without the rows.
struct Tree {
    std::unordered_map<std::int64_t, std::int64_t> parent;
    std::unordered_map<std::int64_t, std::vector<std::int64_t>> children; // ascending
    std::unordered_map<std::int64_t, std::int64_t> shown;

    void number(MessageRow &row) const
    {
        const auto &siblings = children.at(row.parent.value);
        row.branchCount = int(siblings.size());
        row.branchIndex = int(std::ranges::lower_bound(siblings, row.id.value) - siblings.begin());
    }
};

Result<Tree> loadTree(sql::Database &db, SessionId session)
{
    Tree tree;
    KVILT_TRY(auto query, db.statement("SELECT id, parent, shown FROM message WHERE session=? AND deleted=0 ORDER BY id"));
    query.bind(session.value);
    for (;;) {
        KVILT_TRY(const bool any, query.step());
        if (!any)
            return tree;
        const std::int64_t id = query.integer(0);
        std::int64_t parent = query.integer(1);
        if (parent != 0 && !tree.parent.contains(parent)) // a later or a lost message: its text still shows, at the root
            parent = 0;
        tree.parent[id] = parent;
        tree.children[parent].push_back(id);
        if (const std::int64_t shown = query.integer(2); shown > id)
            tree.shown[id] = shown;
    }
}

Result<std::optional<MessageRow>> loadRow(sql::Database &db, std::int64_t id, const Tree &tree)
{
    KVILT_TRY(auto query, db.statement(kRow));
    KVILT_TRY(const bool any, query.bind(id).step());
    if (!any || !tree.parent.contains(id))
        return std::nullopt;
    MessageRow row = rowFrom(query);
    row.parent = {tree.parent.at(id)};
    tree.number(row);
    return row;
}

Result<std::vector<MessageRow>> loadBranch(sql::Database &db, SessionId session, MessageId leaf)
{
    KVILT_TRY(const Tree tree, loadTree(db, session));
    std::vector<MessageRow> branch;
    for (std::int64_t at = leaf.value; at != 0 && tree.parent.contains(at); at = tree.parent.at(at)) {
        KVILT_TRY(auto row, loadRow(db, at, tree));
        if (row)
            branch.push_back(std::move(*row));
    }
    std::ranges::reverse(branch);
    return branch;
}

std::int64_t descend(const Tree &tree, std::int64_t at)
{
    for (auto it = tree.children.find(at); it != tree.children.end(); it = tree.children.find(at)) {
        const auto shown = tree.shown.find(at);
        const bool known = shown != tree.shown.end() && std::ranges::binary_search(it->second, shown->second);
        at = known ? shown->second : it->second.back();
    }
    return at;
}

Result<SessionId> sessionOf(sql::Database &db, MessageId id)
{
    KVILT_TRY(auto query, db.statement("SELECT session FROM message WHERE id=?"));
    KVILT_TRY(const bool any, query.bind(id.value).step());
    if (!any)
        return fail(ErrorCode::notFound, "The message is no longer there.");
    return SessionId{query.integer(0)};
}

} // namespace

Result<void> SessionDb::Impl::indexText(MessageId id)
{
    return run("INSERT INTO text_fts(rowid, text) SELECT id, text FROM message WHERE id=?", id.value);
}

Result<void> SessionDb::Impl::unindexText(MessageId id)
{
    return run("INSERT INTO text_fts(text_fts, rowid, text) SELECT 'delete', id, text FROM message WHERE id=?", id.value);
}

// The new leaf, and each message on the way to it as the child that its parent shows.
Result<void> SessionDb::Impl::moveTip(SessionId session, MessageId leaf)
{
    KVILT_TRY_VOID(run("UPDATE session SET tip=? WHERE id=?", leaf.value, session.value));
    for (std::int64_t at = leaf.value; at > 0;) {
        KVILT_TRY(auto query, db->statement("SELECT m.parent, p.shown FROM message m LEFT JOIN message p ON p.id=m.parent"
                                            " WHERE m.id=?"));
        KVILT_TRY(const bool any, query.bind(at).step());
        const std::int64_t parent = any ? query.integer(0) : 0;
        if (parent <= 0 || parent >= at || query.integer(1) == at) // above it everything shows this way already
            return {};
        KVILT_TRY_VOID(run("UPDATE message SET shown=? WHERE id=?", at, parent));
        at = parent;
    }
    return {};
}

Result<MessageId> SessionDb::Impl::leafUnder(SessionId session, MessageId message)
{
    KVILT_TRY(const Tree tree, loadTree(*db, session));
    return MessageId{descend(tree, message.value)};
}

Result<void> SessionDb::together(const std::function<Result<void>()> &work)
{
    return m_impl->write([&]() -> Result<void> {
        m_impl->together = true;
        const auto result = work();
        m_impl->together = false;
        return result;
    });
}

Result<SessionRow> SessionDb::createConversation(const StoredConversation &conversation)
{
    SessionRow made;
    KVILT_TRY_VOID(together([&]() -> Result<void> {
        KVILT_TRY(made, createSession(conversation.session));
        for (MessageRow row : conversation.messages) {
            row.session = made.id;
            row.parent = made.tip;
            KVILT_TRY(const MessageRow kept, append(std::move(row)));
            made.tip = kept.id;
        }
        return {};
    }));
    return made;
}

Result<MessageRow> SessionDb::append(MessageRow message)
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<MessageRow> {
        MessageRow row = message;
        row.text = sanitized(row.text);
        row.createdMs = row.createdMs ? row.createdMs : d.nowMs();
        if (row.parent.value != 0) {
            KVILT_TRY(const SessionId owner, sessionOf(*d.db, row.parent));
            if (owner != row.session)
                return fail(ErrorCode::badInput, "A message cannot follow one of another session.");
        }
        KVILT_TRY_VOID(d.run("INSERT INTO message(session, parent, role, state, text, ids, tokenizer, json, receipt,"
                             " created, pinned, shown, deleted) VALUES(?,?,?,?,?,?,?,?,?,?,?,0,0)",
                             row.session.value, row.parent.value, int(row.role), int(row.state), row.text,
                             bytesOf(row.ids), row.tokenizer, row.json, row.receipt, row.createdMs, row.pinned));
        row.id = {d.db->lastRow()};
        if (row.state != api::MessageState::streaming)
            KVILT_TRY_VOID(d.indexText(row.id));
        KVILT_TRY_VOID(d.moveTip(row.session, row.id));
        KVILT_TRY_VOID(d.touchSession(row.session));
        if (d.db->changes() != 1)
            return fail(ErrorCode::notFound, "The session is no longer there.");
        KVILT_TRY(auto siblings, d.db->statement("SELECT count(*) FROM message WHERE session=? AND deleted=0 AND parent=?"));
        KVILT_TRY(const bool counted, siblings.bind(row.session.value, row.parent.value).step());
        row.branchCount = counted ? int(siblings.integer(0)) : 1;
        row.branchIndex = row.branchCount - 1;
        return row;
    });
}

Result<void> SessionDb::Impl::updateReply(const ReplyUpdate &reply)
{
    bool indexed = false;
    {
        KVILT_TRY(auto query, db->statement("SELECT state FROM message WHERE id=?"));
        KVILT_TRY(const bool any, query.bind(reply.id.value).step());
        if (!any)
            return fail(ErrorCode::notFound, "The message is no longer there.");
        indexed = query.integer(0) != std::int64_t(api::MessageState::streaming);
    }
    if (indexed)
        KVILT_TRY_VOID(unindexText(reply.id));
    KVILT_TRY_VOID(run("UPDATE message SET text=?, ids=?, tokenizer=?, state=? WHERE id=?", sanitized(reply.text),
                       bytesOf(reply.ids), reply.tokenizer, int(reply.state), reply.id.value));
    if (!reply.receipt.empty())
        KVILT_TRY_VOID(run("UPDATE message SET receipt=? WHERE id=?", reply.receipt, reply.id.value));
    if (reply.state == api::MessageState::streaming)
        return {};
    KVILT_TRY_VOID(indexText(reply.id));
    KVILT_TRY(const SessionId session, sessionOf(*db, reply.id));
    return touchSession(session);
}

Result<void> SessionDb::update(const ReplyUpdate &reply)
{
    return m_impl->write([&] { return m_impl->updateReply(reply); });
}

Result<void> SessionDb::update(const std::vector<ReplyUpdate> &replies)
{
    return m_impl->write([&]() -> Result<void> {
        for (const ReplyUpdate &reply : replies) {
            auto result = m_impl->updateReply(reply);
            if (!result && result.error().code != ErrorCode::notFound) // a deleted one must not stop the others
                return result;
        }
        return {};
    });
}

Result<void> SessionDb::setIds(MessageId id, const std::vector<TokenId> &ids, std::string_view tokenizer)
{
    Impl &d = *m_impl;
    return d.write([&] {
        return d.run("UPDATE message SET ids=?, tokenizer=? WHERE id=?", bytesOf(ids), tokenizer, id.value);
    });
}

Result<void> SessionDb::setPinned(MessageId id, bool pinned)
{
    Impl &d = *m_impl;
    return d.write([&] { return d.run("UPDATE message SET pinned=? WHERE id=?", pinned, id.value); });
}

// `deleted` holds the id of the message that was deleted, so that undo brings back just what went with it.
Result<void> SessionDb::deleteMessage(MessageId id)
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<void> {
        KVILT_TRY(const SessionId session, sessionOf(*d.db, id));
        KVILT_TRY_VOID(d.run("WITH RECURSIVE below(id) AS (SELECT id FROM message WHERE id=?1 AND deleted=0 UNION"
                             " SELECT m.id FROM message m JOIN below ON m.parent=below.id AND m.session=?2"
                             " AND m.deleted=0)"
                             " UPDATE message SET deleted=?1 WHERE id IN below",
                             id.value, session.value));
        KVILT_TRY(auto query, d.db->statement("SELECT m.deleted FROM session s JOIN message m ON m.id=s.tip WHERE s.id=?"));
        KVILT_TRY(const bool any, query.bind(session.value).step());
        if (any && query.integer(0) == 0)
            return {};
        KVILT_TRY(auto parent, d.db->statement("SELECT parent FROM message WHERE id=?"));
        KVILT_TRY(const bool known, parent.bind(id.value).step());
        KVILT_TRY(const MessageId leaf, d.leafUnder(session, MessageId{known ? parent.integer(0) : 0}));
        return d.moveTip(session, leaf);
    });
}

Result<void> SessionDb::undoDeleteMessage(MessageId id)
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<void> {
        KVILT_TRY(const SessionId session, sessionOf(*d.db, id));
        KVILT_TRY_VOID(d.run("UPDATE message SET deleted=0 WHERE deleted=? AND session=?", id.value, session.value));
        KVILT_TRY(const MessageId leaf, d.leafUnder(session, id));
        return d.moveTip(session, leaf);
    });
}

Result<void> SessionDb::setTip(SessionId session, MessageId leaf)
{
    return m_impl->write([&] { return m_impl->moveTip(session, leaf); });
}

Result<MessageId> SessionDb::switchBranch(MessageId message, int branchIndex)
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<MessageId> {
        KVILT_TRY(const SessionId session, sessionOf(*d.db, message));
        KVILT_TRY(const Tree tree, loadTree(*d.db, session));
        const auto parent = tree.parent.find(message.value);
        if (parent == tree.parent.end())
            return fail(ErrorCode::notFound, "The message is no longer there.");
        const auto &siblings = tree.children.at(parent->second);
        if (branchIndex < 0 || std::size_t(branchIndex) >= siblings.size())
            return fail(ErrorCode::badInput, "There is no branch " + std::to_string(branchIndex + 1) + " of this message.");
        const MessageId leaf{descend(tree, siblings[std::size_t(branchIndex)])};
        KVILT_TRY_VOID(d.moveTip(session, leaf));
        return leaf;
    });
}

Result<std::optional<MessageRow>> SessionDb::message(MessageId id) const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<std::optional<MessageRow>> {
        const auto session = sessionOf(*d.db, id);
        if (!session && session.error().code == ErrorCode::notFound)
            return std::nullopt;
        KVILT_TRY(const SessionId owner, session);
        KVILT_TRY(const Tree tree, loadTree(*d.db, owner));
        return loadRow(*d.db, id.value, tree);
    });
}

Result<std::vector<MessageRow>> SessionDb::branch(MessageId leaf) const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<std::vector<MessageRow>> {
        KVILT_TRY(const SessionId session, sessionOf(*d.db, leaf));
        return loadBranch(*d.db, session, leaf);
    });
}

Result<std::vector<MessageRow>> SessionDb::tree(SessionId session) const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<std::vector<MessageRow>> {
        KVILT_TRY(const Tree tree, loadTree(*d.db, session));
        std::vector<std::int64_t> ids;
        for (const auto &[id, parent] : tree.parent)
            ids.push_back(id);
        std::ranges::sort(ids); // parents before children, as ids grow downwards
        std::vector<MessageRow> rows;
        for (const std::int64_t id : ids) {
            KVILT_TRY(auto row, loadRow(*d.db, id, tree));
            if (row)
                rows.push_back(std::move(*row));
        }
        return rows;
    });
}

Result<StoredConversation> SessionDb::conversation(SessionId id) const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<StoredConversation> {
        KVILT_TRY(auto row, session(id));
        if (!row)
            return fail(ErrorCode::notFound, "There is no session " + std::to_string(id.value) + ".");
        StoredConversation result{.session = std::move(*row)};
        KVILT_TRY(result.messages, loadBranch(*d.db, id, result.session.tip));
        return result;
    });
}

Result<int> SessionDb::interruptStreaming()
{
    Impl &d = *m_impl;
    return d.write([&]() -> Result<int> {
        KVILT_TRY_VOID(d.run("INSERT INTO text_fts(rowid, text) SELECT id, text FROM message WHERE state=1"));
        KVILT_TRY_VOID(d.run("UPDATE message SET state=2 WHERE state=1"));
        return d.db->changes();
    });
}

} // namespace kvilt::store
