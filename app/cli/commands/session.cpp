// SPDX-License-Identifier: Apache-2.0
#include "app/cli/profile.h"
#include "app/cli/cli.h"
#include "engine/store/profile_start.h"
#include "engine/store/session_exchange.h"
#include "engine/store/transcript.h"

#include <cstdio>
#include <ctime>
#include <memory>
#include <utility>

namespace kvilt::cli {

namespace {

std::string isoTime(std::int64_t unixMs)
{
    const std::time_t seconds = std::time_t(unixMs / 1000);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

Result<SessionId> existing(Profile &profile, const std::string &id)
{
    KVILT_TRY(const auto found, findSession(*profile.sessions, id));
    if (!found)
        return fail(ErrorCode::notFound, "there is no session " + id + "; `session list` shows them");
    return *found;
}

Result<void> listSessions(const Cli &cli)
{
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = true, .onlyReads = true}));
    KVILT_TRY(const auto sessions, profile->sessions->list());
    nlohmann::json list = nlohmann::json::array();
    for (const api::SessionSummary &s : sessions)
        list.push_back({{"id", shownId(s.id, s.name)},
                        {"number", s.id.value},
                        {"title", s.title},
                        {"messages", s.messages},
                        {"tokens", s.tokens},
                        {"kv_bytes", profile->kv ? profile->kv->usage(s.id).bytes : 0},
                        {"updated", isoTime(s.updatedMs)}});
    if (cli.json) {
        printJson({{"sessions", list}});
        return {};
    }
    for (const nlohmann::json &s : list)
        std::printf("%-12s %s  %4d messages  %6d tokens  %8.1f MiB  %s\n", s["id"].get<std::string>().c_str(),
                    s["updated"].get<std::string>().c_str(), s["messages"].get<int>(), s["tokens"].get<int>(),
                    s["kv_bytes"].get<double>() / double(1 << 20), forTerminal(s["title"].get<std::string>(), true).c_str());
    return {};
}

Result<void> showSession(const Cli &cli, const std::string &id)
{
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .onlyReads = true}));
    KVILT_TRY(const SessionId session, existing(*profile, id));
    KVILT_TRY(const store::StoredConversation conversation, profile->sessions->conversation(session));
    nlohmann::json messages = nlohmann::json::array();
    for (const store::MessageRow &m : conversation.messages)
        messages.push_back({{"role", api::toString(m.role)}, {"content", m.text}, {"state", api::toString(m.state)}});
    if (cli.json) {
        printJson({{"id", shownId(session, conversation.session.name)},
                   {"number", session.value},
                   {"title", conversation.session.title},
                   {"messages", messages}});
        return {};
    }
    const std::string text = store::toMarkdown(conversation);
    printText(text);
    return {};
}

// By the file's ending: .md, .json (OpenAI messages), anything else is a .kvilt file.
Result<void> exportSession(const Cli &cli, const std::string &id, const std::string &file, bool withKv)
{
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = withKv, .onlyReads = true}));
    KVILT_TRY(const SessionId session, existing(*profile, id));
    KVILT_TRY(const store::ExportedSession exported,
              store::exportSession(*profile->sessions, withKv ? profile->kv.get() : nullptr, session, file,
                                   store::sessionFormatOf(file)));
    if (cli.json)
        printJson({{"id", id}, {"file", file}, {"messages", exported.messages}, {"kv_blocks", exported.kvBlocks}});
    else
        std::printf("%s: %u messages, %u KV blocks\n", file.c_str(), exported.messages, exported.kvBlocks);
    return {};
}

Result<void> importSession(const Cli &cli, const std::string &file)
{
    KVILT_TRY(const store::SessionFile read, store::SessionFile::open(file)); // before a profile is made
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = true, .mustStore = true}));
    KVILT_TRY(const store::ImportedSession made, read.import(*profile->sessions, profile->kv.get()));
    KVILT_TRY_VOID(profile->sessionsStored());
    KVILT_TRY(const store::StoredConversation conversation, profile->sessions->conversation(made.session));
    const std::string id = shownId(made.session, conversation.session.name);
    if (cli.json)
        printJson({{"id", id},
                   {"number", made.session.value},
                   {"title", conversation.session.title},
                   {"messages", conversation.messages.size()},
                   {"kv_blocks", made.kvBlocks}});
    else
        std::printf("session %s: %u messages, %u KV blocks\n", id.c_str(), made.messages, made.kvBlocks);
    return {};
}

Result<void> deleteSession(const Cli &cli, const std::string &id)
{
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = true, .onlyReads = true}));
    KVILT_TRY(const SessionId session, existing(*profile, id));
    if (!profile->lock)
        return fail(ErrorCode::full, "nothing can be deleted now: " + profile->whyNot);
    KVILT_TRY_VOID(profile->sessions->call([&](store::SessionDb &db) { return db.deleteSession(session); }));
    KVILT_TRY(const auto gone, store::purgeDeleted(*profile->sessions, profile->kv.get()));
    KVILT_TRY_VOID(profile->sessionsStored());
    if (profile->kv)
        KVILT_TRY_VOID(profile->kv->flush());
    if (cli.json)
        printJson({{"deleted", id}});
    return {};
}

} // namespace

void addSession(Cli &cli)
{
    struct Options {
        std::string id, file;
        bool withKv = false;
    };
    auto options = std::make_shared<Options>();
    Command session = cli.addFamily("session", "Stored conversations");
    auto add = [&](const char *name, const char *help, std::function<Result<void>()> action) {
        return cli.addTo(session, name, help, std::move(action));
    };
    add("list", "All sessions, most recent first", [&cli] { return listSessions(cli); });
    add("show", "Messages of a session", [&cli, options] { return showSession(cli, options->id); })
        .option("id", options->id).required();
    Command out = add("export", "Write a session to a .kvilt, .md or .json file",
                        [&cli, options] { return exportSession(cli, options->id, options->file, options->withKv); });
    out.option("id", options->id).required();
    out.option("file", options->file).required();
    out.flag("--with-kv", options->withKv, "Put its KV into the file");
    add("import", "Read a .kvilt or .json file", [&cli, options] { return importSession(cli, options->file); })
        .option("file", options->file).required();
    add("delete", "Delete a session and its KV", [&cli, options] { return deleteSession(cli, options->id); })
        .option("id", options->id).required();
}

} // namespace kvilt::cli
