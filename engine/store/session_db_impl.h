// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/store/session_db.h"
#include "engine/store/sqlite.h"

#include <functional>

// What the parts of SessionDb share; private to engine/store.
namespace kvilt::store {

const sql::Schema &sessionSchema();
void configureSessionDb(sql::Database &db);

struct SessionDb::Impl {
    std::unique_ptr<sql::Database> db;
    const Clock *clock = nullptr;
    // Asked when something failed: true when it has made room or mended the file, and trying again makes sense.
    std::function<bool(const Error &)> rescue;

    bool together = false; // within SessionDb::together(): its transaction is open

    std::int64_t nowMs() const { return std::int64_t(clock->nowNs() / 1'000'000); }

    template <typename Work>
    auto read(Work work) -> decltype(work())
    {
        for (int attempt = 0;; ++attempt) {
            auto result = work();
            if (result || attempt >= kAttempts || !rescue || !rescue(result.error()))
                return result;
        }
    }
    // One transaction; nothing of it stays when it fails.
    template <typename Work>
    auto write(Work work) -> decltype(work())
    {
        if (together)
            return work();
        return read([&]() -> decltype(work()) {
            KVILT_TRY(auto transaction, sql::Transaction::begin(*db));
            auto result = work();
            if (result)
                KVILT_TRY_VOID(transaction.commit());
            return result;
        });
    }
    // Within a transaction:
    Result<void> run(std::string_view sql, const auto &...values)
    {
        KVILT_TRY(auto statement, db->statement(sql));
        return statement.bind(values...).run();
    }
    Result<void> touchSession(SessionId id); // used now
    Result<void> indexText(MessageId id);
    Result<void> unindexText(MessageId id);
    Result<void> moveTip(SessionId session, MessageId leaf);
    Result<MessageId> leafUnder(SessionId session, MessageId message); // 0: of the roots
    Result<void> updateReply(const ReplyUpdate &reply);

    static constexpr int kAttempts = 3;
};

} // namespace kvilt::store
