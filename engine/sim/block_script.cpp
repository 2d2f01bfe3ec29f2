// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/kv_cache.h"
#include "engine/sim/replay.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

namespace kvilt::sim {
namespace {

using Json = nlohmann::ordered_json; // keys in the order the format's page gives them

constexpr std::int64_t kMostBlocks = 1'000'000; // every step prints the whole eviction order

// What a step did, seen the way everybody sees it: by its events.
class StepEvents final : public trace::EventSink {
public:
    void emit(const api::CacheEvent &event) noexcept override
    {
        if (event.kind == api::EventKind::evict)
            m_events.push_back({{"type", "removed"}, {"block", event.block + 1}});
        else if (event.kind == api::EventKind::seal)
            ++m_sealed;
    }
    void cleared() { m_events.push_back({{"type", "cleared"}}); }
    Json take()
    {
        Json out = std::move(m_events);
        if (m_sealed > 0)
            out.push_back({{"type", "stored"}, {"blocks", m_sealed}});
        m_events = Json::array();
        m_sealed = 0;
        return out;
    }

private:
    Json m_events = Json::array();
    std::uint32_t m_sealed = 0;
};

tl::unexpected<Error> wrong(std::size_t line, const std::string &what)
{
    return fail(ErrorCode::badInput, "Line " + std::to_string(line) + " of the block script: " + what);
}

class Script {
public:
    explicit Script(const std::function<void(std::string_view)> &print) : m_print(print) {}

    Result<void> line(std::size_t number, const std::string &text)
    {
        m_line = number;
        const Json json = Json::parse(text, nullptr, false);
        if (!json.is_object())
            return wrong(m_line, "it is not a JSON object; each line has to be one.");
        return m_cache ? step(json) : setStage(json);
    }

private:
    struct Held {
        SequenceId sequence;
        std::vector<TokenId> tokens;
        std::string salt;
    };

    Result<std::int64_t> integer(const Json &json, const char *key, std::int64_t fallback, std::int64_t low,
                                 std::int64_t high)
    {
        const auto found = json.find(key);
        if (found == json.end() && fallback >= low)
            return fallback;
        const bool fits = found != json.end() && found->is_number_integer() &&
                          (!found->is_number_unsigned() || found->get<std::uint64_t>() <= std::uint64_t(high));
        if (!fits || found->get<std::int64_t>() < low || found->get<std::int64_t>() > high)
            return wrong(m_line, std::string("\"") + key + "\" has to be a whole number from " + std::to_string(low) +
                                     " to " + std::to_string(high) + ".");
        return found->get<std::int64_t>();
    }

    Result<bool> flag(const Json &json, const char *key, bool fallback)
    {
        const auto found = json.find(key);
        if (found == json.end())
            return fallback;
        if (!found->is_boolean())
            return wrong(m_line, std::string("\"") + key + "\" has to be true or false.");
        return found->get<bool>();
    }

    Result<std::string> text(const Json &json, const char *key, const char *fallback)
    {
        const auto found = json.find(key);
        if (found == json.end())
            return std::string(fallback);
        if (!found->is_string())
            return wrong(m_line, std::string("\"") + key + "\" has to be a string.");
        return found->get<std::string>();
    }

    Result<void> setStage(const Json &json)
    {
        kv::KvCacheConfig config;
        KVILT_TRY(const std::int64_t blockSize, integer(json, "block_size", 16, 1, 65535));
        KVILT_TRY(const std::int64_t blocks, integer(json, "blocks", 0, 1, kMostBlocks));
        KVILT_TRY(config.policy, text(json, "policy", "lru"));
        KVILT_TRY(config.caching, flag(json, "caching", true));
        KVILT_TRY(config.partialReuse, flag(json, "partial_reuse", false));
        KVILT_TRY(config.dedupe, flag(json, "dedupe", false));
        config.blocks = std::uint32_t(blocks);
        config.layout.blockSize = std::uint32_t(blockSize);
        config.layout.groups.resize(1);
        auto cache = kv::KvCache::create(std::move(config), m_events, m_clock);
        if (!cache)
            return wrong(m_line, cache.error().message);
        m_cache = std::move(*cache);
        return {};
    }

    Result<void> step(const Json &json)
    {
        KVILT_TRY(const std::string op, text(json, "op", ""));
        m_out = Json::object();
        m_out["step"] = ++m_step;
        m_out["ok"] = true;
        if (op == "alloc") {
            KVILT_TRY_VOID(alloc(json));
        } else if (op == "lookup") {
            KVILT_TRY_VOID(lookup(json));
        } else if (op == "free") {
            KVILT_TRY_VOID(release(json));
        } else if (op == "reset") {
            if (m_cache->reset(api::EventReason::dropped))
                m_events.cleared();
            else
                refuse("a request still holds blocks");
        } else {
            return wrong(m_line, "\"op\" has to be alloc, lookup, free or reset.");
        }
        m_out["free"] = m_cache->available(kGroup);
        m_out["eviction_order"] = ids(m_cache->evictionOrder(kGroup));
        m_out["events"] = m_events.take();
        // A key read from the script may hold bytes that are no UTF-8: they are replaced, not thrown at us.
        m_print(m_out.dump(-1, ' ', false, Json::error_handler_t::replace));
        return {};
    }

    void refuse(const char *why)
    {
        m_out["ok"] = false;
        m_out["reason"] = why;
    }

    static Json ids(std::span<const BlockId> blocks)
    {
        Json out = Json::array();
        for (const BlockId block : blocks)
            out.push_back(block.value + 1);
        return out;
    }

    Result<std::string> request(const Json &json)
    {
        const auto found = json.find("req");
        if (found == json.end() || !(found->is_number_integer() || found->is_string()))
            return wrong(m_line, "\"req\" has to be the number of a request.");
        return found->dump(-1, ' ', false, Json::error_handler_t::replace);
    }

    Result<std::vector<TokenId>> tokens(const Json &json)
    {
        const auto found = json.find("tokens");
        if (found == json.end() || !found->is_array())
            return wrong(m_line, "\"tokens\" has to be an array of token ids.");
        std::vector<TokenId> out;
        out.reserve(found->size());
        for (const Json &token : *found) {
            const bool fits = token.is_number_integer() &&
                              (!token.is_number_unsigned() || token.get<std::uint64_t>() <= 0x7fffffffu);
            if (!fits || token.get<std::int64_t>() < 0)
                return wrong(m_line, "a token id has to be a whole number from 0 to 2147483647.");
            out.push_back(token.get<TokenId>());
        }
        return out;
    }

    Result<void> alloc(const Json &json)
    {
        KVILT_TRY(const std::string name, request(json));
        KVILT_TRY(std::vector<TokenId> given, tokens(json));
        KVILT_TRY(const std::string salt, text(json, "salt", ""));
        KVILT_TRY(const bool reuse, flag(json, "lookup", true));
        m_out["hit_tokens"] = 0;
        m_out["new_blocks"] = Json::array();
        const auto held = m_held.find(name);
        if (held == m_held.end())
            start(name, std::move(given), salt, reuse);
        else
            extend(held->second, std::move(given), json.contains("salt") ? &salt : nullptr);
        const auto now = m_held.find(name);
        m_out["block_table"] = now == m_held.end() ? Json::array() : ids(table(now->second));
        return {};
    }

    std::span<const BlockId> table(const Held &held) const { return m_cache->tables(held.sequence)[0]->blocks(); }

    void start(const std::string &name, std::vector<TokenId> given, const std::string &salt, bool reuse)
    {
        const kv::Request request{.sequence = SequenceId{++m_sequences}, .tokens = given, .salt = salt, .reuse = reuse};
        const auto allocation = m_cache->allocate(request, m_cache->lookup(request), given.size());
        if (!allocation)
            return refuse("it does not fit");
        m_cache->append(request.sequence, std::span(given).subspan(allocation->hitTokens));
        Held &held = m_held[name];
        held = {request.sequence, std::move(given), salt};
        m_out["hit_tokens"] = allocation->hitTokens;
        m_out["new_blocks"] = newBlocks(held, allocation->newBlocks.size());
    }

    void extend(Held &held, std::vector<TokenId> given, const std::string *salt)
    {
        const bool extends = given.size() >= held.tokens.size() &&
                             std::equal(held.tokens.begin(), held.tokens.end(), given.begin()) &&
                             (!salt || *salt == held.salt);
        if (!extends)
            return refuse("it does not extend what the request holds");
        const std::size_t before = table(held).size();
        std::vector<kv::CopyOrder> copies;
        if (!m_cache->reserve(held.sequence, given.size(), copies))
            return refuse("it does not fit");
        m_cache->append(held.sequence, std::span(given).subspan(held.tokens.size()));
        held.tokens = std::move(given);
        m_out["new_blocks"] = newBlocks(held, table(held).size() - before);
    }

    // After sealing: a block that was replaced by its equal is not the request's any more.
    Json newBlocks(const Held &held, std::size_t count) const { return ids(table(held).last(count)); }

    Result<void> lookup(const Json &json)
    {
        KVILT_TRY(const std::vector<TokenId> wanted, tokens(json));
        KVILT_TRY(const std::string salt, text(json, "salt", ""));
        const kv::Lookup found = m_cache->lookup({.tokens = wanted, .salt = salt});
        m_out["hit_tokens"] = found.matchedTokens;
        Json blocks = Json::array();
        for (const NodeId node : found.nodes)
            blocks.push_back(m_cache->describe(node)->blocks[0].value + 1);
        m_out["hit_blocks"] = std::move(blocks);
        return {};
    }

    Result<void> release(const Json &json)
    {
        KVILT_TRY(const std::string name, request(json));
        const auto held = m_held.find(name);
        if (held == m_held.end()) {
            refuse("no such request");
            return {};
        }
        m_cache->release(held->second.sequence, api::EventReason::finished);
        m_held.erase(held);
        return {};
    }

    static constexpr GroupIndex kGroup{0};

    const std::function<void(std::string_view)> &m_print;
    std::size_t m_line = 0;
    std::uint64_t m_step = 0, m_sequences = 0;
    StepEvents m_events;
    ManualClock m_clock;
    std::unique_ptr<kv::KvCache> m_cache;
    std::map<std::string, Held> m_held;
    Json m_out;
};

} // namespace

Result<void> runBlockScript(std::istream &script, const std::function<void(std::string_view)> &line)
{
    Script run(line);
    std::string text;
    std::size_t number = 0;
    bool staged = false;
    while (std::getline(script, text)) {
        ++number;
        if (text.find_first_not_of(" \t\r") == std::string::npos)
            continue;
        KVILT_TRY_VOID(run.line(number, text));
        staged = true;
    }
    if (!staged)
        return fail(ErrorCode::badInput, "The block script is empty: its first line has to set the stage, for "
                                         "example {\"block_size\":16,\"blocks\":10}.");
    return {};
}

} // namespace kvilt::sim
