// SPDX-License-Identifier: Apache-2.0
#include "app/cli/profile.h"
#include "app/cli/cli.h"
#include "engine/trace/event_export.h"

#include <cstdio>
#include <memory>

namespace kvilt::cli {

namespace {

struct EventsOptions {
    std::string file, session, format = "json";
};

Result<void> exportEvents(const Cli &cli, const EventsOptions &options)
{
    const auto format = trace::exportFormatFrom(options.format);
    if (!format)
        return fail(ErrorCode::badInput, "--format \"" + options.format + "\" is unknown; there are json, jsonl, perfetto, sqlite");
    KVILT_TRY(const auto profile,
              Profile::open(cli.profile, {.sessions = !options.session.empty(), .events = true, .onlyReads = true}));
    if (!profile->eventStore)
        return fail(ErrorCode::io, "the recorded events of this profile cannot be read");
    trace::EventFilter filter;
    if (!options.session.empty()) {
        KVILT_TRY(filter.session, findSession(*profile->sessions, options.session));
        if (!filter.session)
            return fail(ErrorCode::notFound, "there is no session " + options.session);
    }
    const trace::EventSource source = [&](const std::function<void(const api::CacheEvent &)> &visit) {
        return profile->eventStore->visit(filter, visit);
    };
    KVILT_TRY(const trace::Exported exported, trace::exportEvents(source, options.file, *format));
    if (cli.json)
        printJson({{"events", exported.events}, {"file", options.file}});
    else
        std::printf("%llu events in %s\n", (unsigned long long)exported.events, options.file.c_str());
    return {};
}

} // namespace

void addEvents(Cli &cli)
{
    auto options = std::make_shared<EventsOptions>();
    Command events = cli.addFamily("events", "What the cache did");
    Command command = cli.addTo(events, "export", "Write every recorded cache event to a file",
                                [&cli, options] { return exportEvents(cli, *options); });
    command.option("file", options->file, "File to write").required();
    command.option("--session", options->session, "Only events of this session's turns").notEmpty();
    command.option("--format", options->format, "json, jsonl, perfetto or sqlite").showDefault();
}

} // namespace kvilt::cli
