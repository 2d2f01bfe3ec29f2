// SPDX-License-Identifier: Apache-2.0
// The list of sessions, whole or as a search finds it.
#include "engine/store/session_db_impl.h"
#include "engine/text/utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <unordered_map>

namespace kvilt::store {

namespace {

using Snippets = std::unordered_map<std::int64_t, std::string>; // by session

constexpr std::size_t kLongestQuery = 1000; // bytes; SQLite's LIKE takes 50,000

bool isWordByte(unsigned char c) { return c >= 0x80 || std::isalnum(c); }

// "fox ju" -> "\"fox\" \"ju\"*": each word quoted, so that nothing of it is an operator. Empty: no words.
std::string ftsQuery(std::string_view query)
{
    std::string out;
    std::string word;
    const auto flush = [&] {
        if (std::ranges::any_of(word, isWordByte)) {
            out += out.empty() ? "\"" : " \"";
            for (const char c : word)
                out += c == '"' ? std::string("\"\"") : std::string(1, c);
            out += '"';
        }
        word.clear();
    };
    for (const char c : query) {
        if (static_cast<unsigned char>(c) <= ' ')
            flush();
        else
            word += c;
    }
    flush();
    return out.empty() ? out : out + "*";
}

// SQLite's snippet marks (2 and 3) become balanced <b> tags; everything else is escaped.
std::string snippetToHtml(std::string_view text)
{
    std::string out;
    bool open = false;
    for (const char c : text) {
        switch (c) {
        case '\2': out += open ? "" : "<b>"; open = true; break;
        case '\3': out += open ? "</b>" : ""; open = false; break;
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        default: out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
        }
    }
    return out + (open ? "</b>" : "");
}

Result<void> collect(sql::Statement &query, Snippets &found)
{
    for (;;) {
        KVILT_TRY(const bool any, query.step());
        if (!any)
            return {};
        found.try_emplace(query.integer(0), snippetToHtml(query.text(1)));
    }
}

Result<Snippets> findWords(sql::Database &db, const std::string &words)
{
    Snippets found;
    KVILT_TRY(auto text, db.statement("SELECT m.session, snippet(text_fts, 0, char(2), char(3), '…', 12) FROM text_fts"
                                      " JOIN message m ON m.id=text_fts.rowid WHERE text_fts MATCH ? AND m.deleted=0"
                                      " ORDER BY rank LIMIT 2000"));
    KVILT_TRY_VOID(collect(text.bind(words), found));
    KVILT_TRY(auto title, db.statement("SELECT rowid, highlight(title_fts, 0, char(2), char(3)) FROM title_fts"
                                       " WHERE title_fts MATCH ? LIMIT 2000"));
    KVILT_TRY_VOID(collect(title.bind(words), found));
    return found;
}

// For scripts without spaces, where a word of the index is a whole sentence: plain substrings, ends cut at characters.
Result<Snippets> findSubstring(sql::Database &db, std::string_view needle)
{
    std::string pattern = "%";
    for (const char c : needle)
        pattern += (c == '%' || c == '_' || c == '\\') ? std::string{'\\', c} : std::string(1, c);
    pattern += '%';
    Snippets found;
    KVILT_TRY(auto text, db.statement("SELECT session, substr(text, max(1, instr(text, ?1) - 20), 60) FROM message"
                                      " WHERE text LIKE ?2 ESCAPE '\\' AND deleted=0 AND state<>1 LIMIT 2000"));
    KVILT_TRY_VOID(collect(text.bind(needle, pattern), found));
    KVILT_TRY(auto title, db.statement("SELECT id, title FROM session WHERE title LIKE ? ESCAPE '\\' LIMIT 2000"));
    KVILT_TRY_VOID(collect(title.bind(pattern), found));
    return found;
}

Result<Snippets> search(sql::Database &db, std::string_view query)
{
    query = query.substr(0, kLongestQuery);
    const std::string clean = text::utf8::sanitized(query);
    if (const std::string words = ftsQuery(clean); !words.empty()) {
        auto found = findWords(db, words);
        if (!found && found.error().code == ErrorCode::corrupt) { // the index can be made from the text again
            KVILT_TRY_VOID(db.exec("INSERT INTO text_fts(text_fts) VALUES('rebuild');"
                                   " INSERT INTO text_fts(text_fts, rowid, text) SELECT 'delete', id, text FROM message"
                                   " WHERE state=1")); // streaming text is not in the index
            KVILT_TRY_VOID(db.exec("INSERT INTO title_fts(title_fts) VALUES('rebuild')"));
            found = findWords(db, words);
        }
        KVILT_TRY(Snippets result, std::move(found));
        if (!result.empty())
            return result;
    }
    return findSubstring(db, clean);
}

Result<std::unordered_map<std::int64_t, std::uint32_t>> messageCounts(sql::Database &db)
{
    std::unordered_map<std::int64_t, std::uint32_t> counts;
    KVILT_TRY(auto query, db.statement("SELECT session, count(*) FROM message WHERE deleted=0 GROUP BY session"));
    for (;;) {
        KVILT_TRY(const bool any, query.step());
        if (!any)
            return counts;
        counts[query.integer(0)] = std::uint32_t(query.integer(1));
    }
}

api::SessionSummary summaryFrom(const sql::Statement &query)
{
    api::SessionSummary summary;
    summary.id = {query.integer(0)};
    summary.title = query.text(1);
    summary.folder = query.text(2);
    const auto tags = nlohmann::json::parse(query.text(3), nullptr, false);
    for (const auto &tag : tags.is_array() ? tags : nlohmann::json::array())
        if (tag.is_string())
            summary.tags.push_back(tag.get<std::string>());
    summary.updatedMs = query.integer(4);
    summary.tokens = std::uint32_t(std::clamp<std::int64_t>(query.integer(5), 0, UINT32_MAX));
    summary.name = query.text(6);
    return summary;
}

} // namespace

Result<std::vector<api::SessionSummary>> SessionDb::list(std::string_view query, std::uint32_t limit) const
{
    Impl &d = *m_impl;
    return d.read([&]() -> Result<std::vector<api::SessionSummary>> {
        Snippets found;
        if (!query.empty()) {
            KVILT_TRY(found, search(*d.db, query));
        }
        KVILT_TRY(const auto counts, messageCounts(*d.db));
        KVILT_TRY(auto rows, d.db->statement("SELECT id, title, folder, tags, updated, tokens, name FROM session"
                                             " WHERE deleted=0 ORDER BY recency DESC, id DESC"));
        std::vector<api::SessionSummary> sessions;
        while (sessions.size() < limit) {
            KVILT_TRY(const bool any, rows.step());
            if (!any)
                break;
            const auto hit = found.find(rows.integer(0));
            if (!query.empty() && hit == found.end())
                continue;
            sessions.push_back(summaryFrom(rows));
            sessions.back().snippet = query.empty() ? std::string() : hit->second;
            const auto count = counts.find(rows.integer(0));
            sessions.back().messages = count == counts.end() ? 0 : count->second;
        }
        return sessions;
    });
}

} // namespace kvilt::store
