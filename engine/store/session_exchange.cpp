// SPDX-License-Identifier: Apache-2.0
#include "engine/store/session_exchange.h"

#include "engine/store/kvilt_file.h"
#include "engine/store/transcript.h"
#include "engine/support/new_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/stat.h>

namespace kvilt::store {

namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kLargestTranscript = 256u << 20;

tl::unexpected<Error> cannotRead(ErrorCode code, const fs::path &file, const std::string &why)
{
    return fail(code, "cannot read " + file.string() + ": " + why);
}

Result<ExportedSession> writeText(const fs::path &file, const StoredConversation &conversation, const std::string &text)
{
    KVILT_TRY(NewFile out, NewFile::create(file));
    KVILT_TRY_VOID(out.write(text));
    KVILT_TRY_VOID(out.commit());
    return ExportedSession{.messages = std::uint32_t(conversation.messages.size())};
}

// A transcript is JSON: it starts with a bracket, whatever white space or byte order mark stands before it.
bool looksLikeJson(const fs::path &file)
{
    std::ifstream in(file, std::ios::binary);
    char head = 0;
    while (in.get(head) && (head == ' ' || head == '\n' || head == '\r' || head == '\t' || (head & 0x80) != 0))
        ;
    return in && (head == '{' || head == '[');
}

Result<StoredConversation> readTranscript(const fs::path &file)
{
    std::error_code problem;
    if (fs::file_size(file, problem) > kLargestTranscript || problem)
        return cannotRead(ErrorCode::badInput, file, "it is larger than 256 MiB, so it is no chat");
    std::ifstream in(file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    auto conversation = fromOpenAiJson(text);
    if (!conversation)
        return cannotRead(conversation.error().code, file, conversation.error().message);
    if (conversation->session.title.empty())
        conversation->session.title = file.stem().string();
    return conversation;
}

} // namespace

SessionFormat sessionFormatOf(const fs::path &file)
{
    return file.extension() == ".md"     ? SessionFormat::markdown
           : file.extension() == ".json" ? SessionFormat::json
                                         : SessionFormat::kvilt;
}

Result<ExportedSession> exportSession(SessionStore &sessions, KvStore *kv, SessionId session, const fs::path &file,
                                      SessionFormat format)
{
    KVILT_TRY(StoredConversation conversation, sessions.conversation(session));
    if (format == SessionFormat::markdown)
        return writeText(file, conversation, toMarkdown(conversation));
    if (format == SessionFormat::json)
        return writeText(file, conversation, toOpenAiJson(conversation));
    KVILT_TRY(std::vector<MessageRow> tree, sessions.call([&](SessionDb &db) { return db.tree(session); }));
    if (kv)
        KVILT_TRY_VOID(kv->flush());
    const auto messages = std::uint32_t(tree.size());
    KVILT_TRY(const KviltExported written, writeKviltFile(file, {std::move(conversation.session), std::move(tree), kv}));
    return ExportedSession{messages, written.kvPayloads};
}

Result<SessionFile> SessionFile::open(const fs::path &file)
{
    struct stat found {};
    if (::stat(file.c_str(), &found) != 0)
        return cannotRead(errno == ENOENT ? ErrorCode::notFound : ErrorCode::badInput, file, std::strerror(errno));
    if (S_ISDIR(found.st_mode))
        return cannotRead(ErrorCode::badInput, file, "it is a folder");
    if (!S_ISREG(found.st_mode))
        return cannotRead(ErrorCode::badInput, file, "it is a device or a pipe, not a file");
    if (!std::ifstream(file, std::ios::binary))
        return cannotRead(ErrorCode::badInput, file, std::strerror(errno));
    SessionFile out;
    out.m_file = file;
    if (looksLikeJson(file) || file.extension() == ".json") {
        KVILT_TRY(out.m_transcript, readTranscript(file));
    } else {
        KVILT_TRY_VOID(checkKviltFile(file));
    }
    return out;
}

Result<ImportedSession> SessionFile::import(SessionStore &sessions, KvStore *kv) const
{
    if (m_transcript) {
        KVILT_TRY(const SessionRow made,
                  sessions.call([&](SessionDb &db) { return db.createConversation(*m_transcript); }));
        return ImportedSession{made.id, std::uint32_t(m_transcript->messages.size()), 0};
    }
    KVILT_TRY(const KviltImported made,
              sessions.call([&](SessionDb &db) { return importKviltFile(m_file, db, kv); }));
    if (kv)
        KVILT_TRY_VOID(kv->flush());
    return ImportedSession{made.session, made.messages, made.kvPayloads};
}

} // namespace kvilt::store
