// SPDX-License-Identifier: Apache-2.0
#include "engine/trace/event_pack.h"

#include <array>

namespace kvilt::trace {

namespace {

inline constexpr std::size_t kFields = 14;
using Fields = std::array<std::uint64_t, kFields>;

Fields fieldsOf(const api::CacheEvent &e)
{
    return {e.sequenceNumber, e.timeNs, e.node, e.sequence, std::uint64_t(e.turn), e.block, e.references, e.group,
            std::uint64_t(e.kind), std::uint64_t(e.reason), std::uint64_t(e.tier), e.session, e.a, e.b};
}

// False: a value does not fit its field.
bool assign(const Fields &f, api::CacheEvent &e)
{
    if (f[5] > UINT32_MAX || f[6] > UINT16_MAX || f[7] > UINT16_MAX || f[8] >= std::uint64_t(api::kEventKinds) ||
        f[9] >= std::uint64_t(api::kEventReasons) || f[10] > std::uint64_t(api::Tier::disk) || f[11] > UINT32_MAX ||
        f[12] > UINT32_MAX || f[13] > UINT32_MAX)
        return false;
    e.sequenceNumber = f[0];
    e.timeNs = f[1];
    e.node = f[2];
    e.sequence = f[3];
    e.turn = std::int64_t(f[4]);
    e.block = std::uint32_t(f[5]);
    e.references = std::uint16_t(f[6]);
    e.group = std::uint16_t(f[7]);
    e.kind = api::EventKind(f[8]);
    e.reason = api::EventReason(f[9]);
    e.tier = api::Tier(f[10]);
    e.session = std::uint32_t(f[11]);
    e.a = std::uint32_t(f[12]);
    e.b = std::uint32_t(f[13]);
    return true;
}

std::uint64_t zigzag(std::uint64_t difference)
{
    return (difference << 1) ^ (0 - (difference >> 63));
}

std::uint64_t unzigzag(std::uint64_t value) { return (value >> 1) ^ (0 - (value & 1)); }

void putVarint(std::vector<std::byte> &out, std::uint64_t value)
{
    while (value >= 0x80) {
        out.push_back(std::byte(value | 0x80));
        value >>= 7;
    }
    out.push_back(std::byte(value));
}

bool getVarint(std::span<const std::byte> &in, std::uint64_t &value)
{
    value = 0;
    for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
        const auto byte = std::uint64_t(in.front());
        in = in.subspan(1);
        if (shift == 63 && byte > 1)
            return false;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

} // namespace

std::vector<std::byte> packEvents(std::span<const api::CacheEvent> events)
{
    std::vector<std::byte> out;
    out.reserve(events.size() * 20);
    Fields before{};
    for (const api::CacheEvent &event : events) {
        const Fields now = fieldsOf(event);
        for (std::size_t i = 0; i < kFields; ++i)
            putVarint(out, zigzag(now[i] - before[i]));
        before = now;
    }
    return out;
}

Result<std::vector<api::CacheEvent>> unpackEvents(std::span<const std::byte> packed, std::uint64_t count)
{
    const auto damaged = [] { return fail(ErrorCode::corrupt, "A stored chunk of cache events is damaged."); };
    if (count > packed.size() / kFields) // each event takes a byte a field at least
        return damaged();
    std::vector<api::CacheEvent> events(count);
    Fields fields{};
    for (api::CacheEvent &event : events) {
        for (std::uint64_t &field : fields) {
            std::uint64_t difference = 0;
            if (!getVarint(packed, difference))
                return damaged();
            field += unzigzag(difference);
        }
        if (!assign(fields, event))
            return damaged();
    }
    if (!packed.empty())
        return damaged();
    return events;
}

} // namespace kvilt::trace
