// SPDX-License-Identifier: Apache-2.0
#include "app/worker/exports.h"

#include "engine/store/kvilt_file.h"
#include "engine/store/transcript.h"
#include "engine/support/new_file.h"
#include "engine/trace/event_export.h"

#include <fstream>

namespace kvilt::worker {

namespace {

constexpr std::uintmax_t kLargestTranscript = 256u << 20;

Result<void> writeText(const std::filesystem::path &file, const std::string &text)
{
    KVILT_TRY(NewFile out, NewFile::create(file));
    KVILT_TRY_VOID(out.write(text));
    return out.commit();
}

Result<SessionId> importTranscript(const std::filesystem::path &file, store::SessionStore &sessions)
{
    std::error_code error;
    const auto size = std::filesystem::file_size(file, error);
    if (error)
        return fail(ErrorCode::io, "The file " + file.string() + " cannot be read: " + error.message() + ".");
    if (size > kLargestTranscript)
        return fail(ErrorCode::badInput, "The file " + file.string() + " is larger than 256 MiB, so it is no chat.");
    std::ifstream in(file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    KVILT_TRY(store::StoredConversation conversation, store::fromOpenAiJson(text));
    if (conversation.session.title.empty())
        conversation.session.title = file.stem().string();
    return sessions.call([&](store::SessionDb &db) -> Result<SessionId> {
        KVILT_TRY(const store::SessionRow row, db.createConversation(conversation));
        return row.id;
    });
}

bool isKviltFile(const std::filesystem::path &file)
{
    char head = 0;
    std::ifstream in(file, std::ios::binary);
    // A transcript is JSON: it starts with a bracket, whatever white space stands before it.
    while (in.get(head) && (head == ' ' || head == '\n' || head == '\r' || head == '\t'))
        ;
    return in && head != '{' && head != '[';
}

} // namespace

Result<void> writeSession(const api::command::ExportSession &command, store::SessionStore &sessions, store::KvStore *kv)
{
    KVILT_TRY(store::StoredConversation conversation, sessions.conversation(command.session));
    switch (command.format) {
    case api::command::ExportFormat::markdown: return writeText(command.path, store::toMarkdown(conversation));
    case api::command::ExportFormat::json: return writeText(command.path, store::toOpenAiJson(conversation));
    case api::command::ExportFormat::kvilt: break;
    }
    auto tree = sessions.call([&](store::SessionDb &db) { return db.tree(command.session); });
    if (!tree)
        return tl::unexpected<Error>(tree.error());
    if (kv && command.withKv)
        KVILT_TRY_VOID(kv->flush());
    const auto written = store::writeKviltFile(
        command.path, {std::move(conversation.session), std::move(*tree), command.withKv ? kv : nullptr});
    if (!written)
        return tl::unexpected<Error>(written.error());
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
    if (!isKviltFile(file))
        return importTranscript(file, sessions);
    auto imported = sessions.call([&](store::SessionDb &db) { return store::importKviltFile(file, db, kv); });
    if (!imported)
        return tl::unexpected<Error>(imported.error());
    return imported->session;
}

} // namespace kvilt::worker
