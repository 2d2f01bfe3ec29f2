// SPDX-License-Identifier: Apache-2.0
#include "app/worker/exports.h"

#include "engine/store/session_exchange.h"
#include "engine/trace/event_export.h"

namespace kvilt::worker {

namespace {

store::SessionFormat formatOf(api::command::ExportFormat format)
{
    switch (format) {
    case api::command::ExportFormat::markdown: return store::SessionFormat::markdown;
    case api::command::ExportFormat::json: return store::SessionFormat::json;
    case api::command::ExportFormat::kvilt: break;
    }
    return store::SessionFormat::kvilt;
}

} // namespace

Result<void> writeSession(const api::command::ExportSession &command, store::SessionStore &sessions, store::KvStore *kv)
{
    if (auto written = store::exportSession(sessions, command.withKv ? kv : nullptr, command.session, command.path,
                                            formatOf(command.format));
        !written)
        return tl::unexpected(written.error());
    return {};
}

void exportSession(const api::command::ExportSession &command, store::SessionStore &sessions, store::KvStore *kv,
                   Background &background, Outlet out)
{
    background.post([=, &sessions](const std::atomic<bool> &) {
        if (auto written = writeSession(command, sessions, kv); !written)
            out(api::update::Notice{api::update::Severity::error, "export", written.error().message});
        else
            out(api::update::Exported{command.path});
    });
}

void exportEvents(const api::command::ExportEvents &command, const trace::EventJournal &journal, Background &background,
                  Outlet out)
{
    const auto format = trace::exportFormatFrom(command.format);
    if (!format) {
        out(api::update::Notice{api::update::Severity::error, "export",
                                "Events can be exported as json, jsonl, perfetto or sqlite, not as " + command.format + "."});
        return;
    }
    background.post([=, &journal](const std::atomic<bool> &) {
        trace::EventFilter filter;
        filter.session = command.session;
        const auto source = [&](const std::function<void(const api::CacheEvent &)> &visit) {
            return journal.visit(filter, visit);
        };
        if (auto written = trace::exportEvents(source, command.path, *format); !written)
            out(api::update::Notice{api::update::Severity::error, "export", written.error().message});
        else
            out(api::update::Exported{command.path});
    });
}

Result<SessionId> importSession(const std::filesystem::path &file, store::SessionStore &sessions, store::KvStore *kv)
{
    KVILT_TRY(const store::SessionFile read, store::SessionFile::open(file));
    KVILT_TRY(const store::ImportedSession imported, read.import(sessions, kv));
    return imported.session;
}

} // namespace kvilt::worker
