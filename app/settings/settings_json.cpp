// SPDX-License-Identifier: Apache-2.0
#include "app/settings/settings_json.h"

#include "app/settings/settings.h"
#include "engine/api/conversation.h"

#include <nlohmann/json.hpp>

namespace kvilt::settings {

using nlohmann::json;

namespace {

template <typename T>
void read(const json &document, const char *key, T &value)
{
    const auto found = document.find(key);
    if (found == document.end())
        return;
    if constexpr (std::is_same_v<T, bool>) {
        if (found->is_boolean())
            value = found->get<bool>();
    } else if constexpr (std::is_floating_point_v<T>) {
        if (found->is_number())
            value = found->get<T>();
    } else if constexpr (std::is_integral_v<T>) {
        // Integers that do not fit keep the default: get<int>() would wrap them silently.
        if (found->is_number_unsigned() && found->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<T>::max()))
            value = static_cast<T>(found->get<std::uint64_t>());
        else if (std::is_signed_v<T> && found->is_number_integer() && !found->is_number_unsigned() &&
                 found->get<std::int64_t>() >= static_cast<std::int64_t>(std::numeric_limits<T>::min()))
            value = static_cast<T>(found->get<std::int64_t>());
    } else if (found->is_string()) {
        value = found->get<T>();
    }
}

template <typename Enum, std::size_t N>
void readEnum(const json &document, const char *key, const std::array<std::string_view, N> &names, Enum &value)
{
    std::string name;
    read(document, key, name);
    for (std::size_t i = 0; i < N; ++i) {
        if (name == names[i])
            value = static_cast<Enum>(i);
    }
}

constexpr std::array<std::string_view, 2> kThinking{"keep", "strip"};
constexpr std::array<std::string_view, 3> kContextFull{"ask", "drop-oldest", "stop"};

} // namespace

json toJson(const api::EngineSettings &s)
{
    return json{{"backend", s.backend},
                {"threads", s.threads},
                {"kv_type", "k=" + std::string(toString(s.kType)) + ",v=" + std::string(toString(s.vType))},
                {"block_size", s.blockSize},
                {"kv_blocks", s.kvBlocks},
                {"kv_memory", s.kvMemory},
                {"context_length", s.contextLength},
                {"policy", s.policy},
                {"cache", s.cache},
                {"disk_quota", s.diskQuota}};
}

json toJson(const api::SamplingSettings &s)
{
    return json{{"temperature", s.temperature},
                {"top_k", s.topK},
                {"top_p", s.topP},
                {"min_p", s.minP},
                {"repeat_penalty", s.repeatPenalty},
                {"presence_penalty", s.presencePenalty},
                {"frequency_penalty", s.frequencyPenalty},
                {"penalty_window", s.penaltyWindow},
                {"seed", s.seed},
                {"max_tokens", s.maxTokens},
                {"ignore_eos", s.ignoreEos},
                {"stop", s.stop}};
}

json toJson(const api::SessionSettings &s)
{
    return json{{"system_prompt", s.systemPrompt},
                {"sampling", toJson(s.sampling)},
                {"thinking", kThinking[static_cast<std::size_t>(s.thinking)]},
                {"context_full", kContextFull[static_cast<std::size_t>(s.contextFull)]}};
}

api::EngineSettings engineFromJson(const json &document, api::EngineSettings s)
{
    if (!document.is_object())
        return s;
    read(document, "backend", s.backend);
    read(document, "threads", s.threads);
    std::string kvType;
    read(document, "kv_type", kvType);
    if (!kvType.empty())
        (void)parseKvType(kvType, s); // an unknown name keeps the default
    read(document, "block_size", s.blockSize);
    read(document, "kv_blocks", s.kvBlocks);
    read(document, "kv_memory", s.kvMemory);
    read(document, "context_length", s.contextLength);
    read(document, "policy", s.policy);
    read(document, "cache", s.cache);
    read(document, "disk_quota", s.diskQuota);
    return s;
}

api::SamplingSettings samplingFromJson(const json &document, api::SamplingSettings s)
{
    if (!document.is_object())
        return s;
    read(document, "temperature", s.temperature);
    read(document, "top_k", s.topK);
    read(document, "top_p", s.topP);
    read(document, "min_p", s.minP);
    read(document, "repeat_penalty", s.repeatPenalty);
    read(document, "presence_penalty", s.presencePenalty);
    read(document, "frequency_penalty", s.frequencyPenalty);
    read(document, "penalty_window", s.penaltyWindow);
    read(document, "seed", s.seed);
    read(document, "max_tokens", s.maxTokens);
    read(document, "ignore_eos", s.ignoreEos);
    if (const auto stop = document.find("stop"); stop != document.end() && stop->is_array()) {
        s.stop.clear();
        for (const auto &entry : *stop) {
            if (entry.is_string())
                s.stop.push_back(entry.get<std::string>());
        }
    }
    return s;
}

api::SessionSettings sessionFromJson(const json &document, api::SessionSettings s)
{
    if (!document.is_object())
        return s;
    read(document, "system_prompt", s.systemPrompt);
    if (const auto sampling = document.find("sampling"); sampling != document.end())
        s.sampling = samplingFromJson(*sampling, s.sampling);
    readEnum(document, "thinking", kThinking, s.thinking);
    readEnum(document, "context_full", kContextFull, s.contextFull);
    return s;
}

} // namespace kvilt::settings
