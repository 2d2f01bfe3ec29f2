// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/cache_event.h"
#include "engine/support/error.h"
#include "engine/trace/event_journal.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kvilt::trace {

enum class ExportFormat : std::uint8_t {
    json,      // one array
    jsonLines, // one object a line
    perfetto,  // Chrome trace events: open in ui.perfetto.dev
    sqlite,    // a table `event`
};
std::optional<ExportFormat> exportFormatFrom(std::string_view name); // "json", "jsonl", "perfetto", "sqlite"

// The fields of CacheEvent in snake case; kind, reason and tier by name; a block that is none is null.
std::string toJson(const api::CacheEvent &event);

// Calls its argument for each event, ascending by number.
using EventSource = std::function<Result<void>(const std::function<void(const api::CacheEvent &)> &)>;

struct Exported {
    std::uint64_t events = 0;
};
// A NewFile: a failure leaves nothing behind. badInput: `file` cannot be written at all.
Result<Exported> exportEvents(const EventSource &source, const std::filesystem::path &file, ExportFormat format);

} // namespace kvilt::trace
