// SPDX-License-Identifier: Apache-2.0
#include "app/cli/profile.h"
#include "app/cli/cli.h"
#include "app/cli/input.h"
#include "engine/store/kvilt_file.h"
#include "engine/store/transcript.h"
#include "engine/support/new_file.h"

#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
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
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = true}));
    KVILT_TRY(const auto sessions, profile->sessions->list());
    nlohmann::json list = nlohmann::json::array();
    for (const api::SessionSummary &s : sessions)
        list.push_back({{"id", shownId(s.id, s.name)},
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
        std::printf("%-12s %s  %4d messages  %6d tokens  %8.1f MiB  %s\n", s["id"].dump().c_str(),
                    s["updated"].get<std::string>().c_str(), s["messages"].get<int>(), s["tokens"].get<int>(),
                    s["kv_bytes"].get<double>() / double(1 << 20), s["title"].get<std::string>().c_str());
    return {};
}

Result<void> showSession(const Cli &cli, const std::string &id)
{
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true}));
    KVILT_TRY(const SessionId session, existing(*profile, id));
    KVILT_TRY(const store::StoredConversation conversation, profile->sessions->conversation(session));
    nlohmann::json messages = nlohmann::json::array();
    for (const store::MessageRow &m : conversation.messages)
        messages.push_back({{"role", api::toString(m.role)}, {"content", m.text}, {"state", api::toString(m.state)}});
    if (cli.json) {
        printJson({{"id", shownId(session, conversation.session.name)},
                   {"title", conversation.session.title},
                   {"messages", messages}});
        return {};
    }
    const std::string text = store::toMarkdown(conversation);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return {};
}

// By the file's ending: .md, .json (OpenAI messages), anything else is a .kvilt file.
Result<void> exportSession(const Cli &cli, const std::string &id, const std::string &file, bool withKv)
{
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = withKv}));
    KVILT_TRY(const SessionId session, existing(*profile, id));
    KVILT_TRY(const store::StoredConversation conversation, profile->sessions->conversation(session));
    std::uint32_t payloads = 0;
    if (file.ends_with(".md") || file.ends_with(".json")) {
        const std::string text =
            file.ends_with(".md") ? store::toMarkdown(conversation) : store::toOpenAiJson(conversation);
        KVILT_TRY(NewFile out, NewFile::create(file));
        KVILT_TRY_VOID(out.write(text));
        KVILT_TRY_VOID(out.commit());
    } else {
        KVILT_TRY(const auto tree,
                  profile->sessions->call([&](store::SessionDb &db) { return db.tree(session); }));
        KVILT_TRY(const store::KviltExported exported,
                  store::writeKviltFile(file, {.session = conversation.session, .messages = tree,
                                               .kv = withKv ? profile->kv.get() : nullptr}));
        payloads = exported.kvPayloads;
    }
    if (cli.json)
        printJson({{"id", shownId(session, conversation.session.name)}, {"file", file}, {"kv_blocks", payloads}});
    else
        std::printf("%s: %zu messages, %u KV blocks\n", file.c_str(), conversation.messages.size(), payloads);
    return {};
}

Result<SessionId> importOpenAi(Profile &profile, const std::string &file)
{
    KVILT_TRY(const std::string text, readFile(file));
    KVILT_TRY(store::StoredConversation conversation, store::fromOpenAiJson(text));
    return profile.sessions->call([&](store::SessionDb &db) -> Result<SessionId> {
        KVILT_TRY(const store::SessionRow made, db.createConversation(conversation));
        return made.id;
    });
}

Result<void> importSession(const Cli &cli, const std::string &file)
{
    // The file is looked at before the profile is made.
    const bool isJson = file.ends_with(".json");
    std::error_code ignored;
    if (isJson) {
        KVILT_TRY(const std::string text, readFile(file));
        KVILT_TRY_VOID(store::fromOpenAiJson(text));
    } else if (!std::filesystem::is_regular_file(file, ignored)) {
        return fail(ErrorCode::badInput, "cannot read " + file + ": there is no such file");
    }
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = true}));
    SessionId session;
    std::uint32_t payloads = 0;
    if (isJson) {
        KVILT_TRY(session, importOpenAi(*profile, file));
    } else {
        KVILT_TRY(const store::KviltImported imported,
                  profile->sessions->call([&](store::SessionDb &db) {
                      return store::importKviltFile(file, db, profile->kv.get());
                  }));
        session = imported.session;
        payloads = imported.kvPayloads;
        if (profile->kv)
            KVILT_TRY_VOID(profile->kv->flush());
    }
    KVILT_TRY(const store::StoredConversation conversation, profile->sessions->conversation(session));
    if (cli.json)
        printJson({{"id", shownId(session, conversation.session.name)},
                   {"title", conversation.session.title},
                   {"messages", conversation.messages.size()},
                   {"kv_blocks", payloads}});
    else
        std::printf("session %lld: %zu messages, %u KV blocks\n", (long long)session.value,
                    conversation.messages.size(), payloads);
    return {};
}

Result<void> deleteSession(const Cli &cli, const std::string &id)
{
    KVILT_TRY(const auto profile, Profile::open(cli.profile, {.sessions = true, .kv = true}));
    KVILT_TRY(const SessionId session, existing(*profile, id));
    if (!profile->writable)
        return fail(ErrorCode::full, "another program uses this profile, so nothing can be deleted now; close it first");
    const auto remove = [&](store::SessionDb &db) -> Result<void> {
        KVILT_TRY_VOID(db.deleteSession(session));
        if (auto purged = db.purgeDeleted(); !purged)
            return tl::unexpected(purged.error());
        return {};
    };
    KVILT_TRY_VOID(profile->sessions->call(remove));
    if (profile->kv) {
        profile->kv->dropSession(session);
        KVILT_TRY_VOID(profile->kv->flush());
    }
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
