// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/numerics.h"

#include <charconv>
#include <optional>

namespace kvilt::backend {
namespace {

constexpr std::uint32_t kCpuTurnsSince = 2;

// The part of "a:b:c" with that index; empty: there is none.
std::string_view part(std::string_view text, int index)
{
    for (; index > 0; --index) {
        const std::size_t colon = text.find(':');
        text = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    }
    return text.substr(0, text.find(':'));
}

// Whether q8 and q4 rows are turned; nothing: an arithmetic of another program or a later version of this one.
std::optional<bool> turns(std::string_view numerics)
{
    const bool cuda = part(numerics, 0) == "cuda";
    if (!cuda && part(numerics, 0) != "cpu")
        return std::nullopt;
    const std::string_view digits = part(numerics, cuda ? 2 : 1);
    std::uint32_t version = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), version);
    if (read.ec != std::errc() || read.ptr != digits.data() + digits.size() || digits.empty())
        return std::nullopt;
    return version >= (cuda ? kCudaTurnsSince : kCpuTurnsSince);
}

} // namespace

bool meansTheSame(std::string_view made, std::string_view reader, api::KvType type)
{
    const auto theirs = turns(made), ours = turns(reader);
    if (!theirs || !ours)
        return false;
    return (type != api::KvType::q8 && type != api::KvType::q4) || *theirs == *ours;
}

} // namespace kvilt::backend
