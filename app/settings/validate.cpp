// SPDX-License-Identifier: Apache-2.0
#include "app/settings/settings.h"

#include "engine/api/conversation.h"
#include "engine/kv/eviction_policy.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <optional>

namespace kvilt::settings {

namespace {

std::string shown(double value)
{
    std::array<char, 32> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

// NaN fails every comparison, so it is refused with the rest.
Result<void> within(const char *name, double value, double low, double high)
{
    if (value >= low && value <= high)
        return {};
    return fail(ErrorCode::badInput, std::string(name) + " is " + shown(value) + ", but must lie between " + shown(low) +
                                         " and " + shown(high) + ".");
}

std::optional<api::KvType> kvTypeFrom(std::string_view name)
{
    for (int i = 0; i <= static_cast<int>(api::KvType::fp8); ++i) {
        if (toString(static_cast<api::KvType>(i)) == name)
            return static_cast<api::KvType>(i);
    }
    return std::nullopt;
}

Result<api::KvType> namedKvType(std::string_view name)
{
    if (const auto type = kvTypeFrom(name))
        return *type;
    return fail(ErrorCode::badInput,
                "\"" + std::string(name.substr(0, 40)) + "\" is no KV type; use f32, f16, bf16, q8, q4 or fp8.");
}

struct Unit {
    std::string_view name;
    std::uint64_t bytes;
};
constexpr std::array<Unit, 11> kUnits{{{"", 1},
                                       {"B", 1},
                                       {"KiB", 1ull << 10},
                                       {"MiB", 1ull << 20},
                                       {"GiB", 1ull << 30},
                                       {"TiB", 1ull << 40},
                                       {"kB", 1000},
                                       {"KB", 1000},
                                       {"MB", 1000'000},
                                       {"GB", 1000'000'000},
                                       {"TB", 1000'000'000'000}}};

} // namespace

Result<void> parseKvType(std::string_view text, api::EngineSettings &settings)
{
    if (text.find('=') == std::string_view::npos) {
        KVILT_TRY(const api::KvType both, namedKvType(text));
        settings.kType = settings.vType = both;
        return {};
    }
    while (!text.empty()) {
        const auto comma = text.find(',');
        const std::string_view part = text.substr(0, comma);
        text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
        if (!part.starts_with("k=") && !part.starts_with("v="))
            return fail(ErrorCode::badInput, "A KV type is one name, or both sides as in k=q8,v=q4.");
        KVILT_TRY(const api::KvType type, namedKvType(part.substr(2)));
        (part.front() == 'k' ? settings.kType : settings.vType) = type;
    }
    return {};
}

Result<std::uint64_t> parseBytes(std::string_view text)
{
    const auto bad = [&] {
        return fail(ErrorCode::badInput, "\"" + std::string(text.substr(0, 40)) +
                                             "\" is no amount of memory; write it like 2GiB, 512MiB or 1000000.");
    };
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc() || !(number >= 0) || !std::isfinite(number))
        return bad();
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    while (unit.starts_with(' '))
        unit.remove_prefix(1);
    for (const Unit &candidate : kUnits) {
        if (unit != candidate.name)
            continue;
        const double bytes = number * static_cast<double>(candidate.bytes);
        if (bytes > 0x1p62)
            return bad();
        return static_cast<std::uint64_t>(bytes);
    }
    return bad();
}

Result<void> validate(const api::EngineSettings &s)
{
    if (s.backend != "auto" && s.backend != "cpu" && s.backend != "cuda")
        return fail(ErrorCode::badInput, "The backend must be auto, cpu or cuda, not \"" + s.backend.substr(0, 40) + "\".");
    KVILT_TRY_VOID(within("threads", s.threads, 0, 1024));
    if (s.blockSize < 16 || s.blockSize > 512 || !std::has_single_bit(static_cast<unsigned>(s.blockSize)))
        return fail(ErrorCode::badInput, "The block size must be a power of two from 16 to 512, not " +
                                             std::to_string(s.blockSize) + ".");
    KVILT_TRY_VOID(within("kv_blocks", static_cast<double>(s.kvBlocks), 0, 1u << 30));
    KVILT_TRY_VOID(within("kv_memory", static_cast<double>(s.kvMemory), 0, 0x1p50));
    KVILT_TRY_VOID(within("context_length", s.contextLength, 0, 1 << 27));
    if (!kv::makeEvictionPolicy(s.policy))
        return fail(ErrorCode::badInput, "The policy must be one of " + kv::evictionPolicyList() + ", not \"" +
                                             s.policy.substr(0, 40) + "\".");
    return {};
}

Result<void> validate(const api::SamplingSettings &s)
{
    KVILT_TRY_VOID(within("temperature", s.temperature, 0, 100));
    KVILT_TRY_VOID(within("top_k", s.topK, 0, 1 << 30));
    KVILT_TRY_VOID(within("top_p", s.topP, 0, 1));
    KVILT_TRY_VOID(within("min_p", s.minP, 0, 1));
    KVILT_TRY_VOID(within("repeat_penalty", s.repeatPenalty, 0.01, 100));
    KVILT_TRY_VOID(within("presence_penalty", s.presencePenalty, -100, 100));
    KVILT_TRY_VOID(within("frequency_penalty", s.frequencyPenalty, -100, 100));
    KVILT_TRY_VOID(within("penalty_window", s.penaltyWindow, 0, 1 << 24));
    KVILT_TRY_VOID(within("max_tokens", s.maxTokens, 0, 1 << 30));
    return {};
}

} // namespace kvilt::settings
