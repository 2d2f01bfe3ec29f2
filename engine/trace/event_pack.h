// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/support/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// Events as bytes for a file: field by field, each the difference to the event before it as a zigzag varint. Events
// repeat themselves so much that most differences take one byte: about 17 bytes an event instead of 64. The form is
// pinned by EVENTS_DB.md and a test.
namespace kvilt::trace {

std::vector<std::byte> packEvents(std::span<const api::CacheEvent> events);
// corrupt: the bytes do not hold exactly `count` events with known kinds, reasons and tiers.
Result<std::vector<api::CacheEvent>> unpackEvents(std::span<const std::byte> packed, std::uint64_t count);

} // namespace kvilt::trace
