// SPDX-License-Identifier: Apache-2.0
#include "engine/store/kvilt_file.h"

#include "engine/store/bounded_json.h"
#include "engine/support/new_file.h"
#include "engine/text/utf8.h"

#include <nlohmann/json.hpp>
#include <xxhash.h>

#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <unordered_map>

namespace kvilt::store {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr std::array<char, 8> kMagic{'\x89', 'K', 'V', 'I', 'L', 'T', '\r', '\n'}; // a text-mode copy breaks it
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kFrameHead = 12;       // type, length
constexpr std::size_t kFrameSum = 16;
constexpr std::uint64_t kLongestFrame = 1ull << 30;

enum FrameType : std::uint32_t { kSession = 1, kMessage = 2, kRoot = 3, kPayload = 4, kEnd = 5 };

void append(std::string &out, const auto &value)
{
    out.append(reinterpret_cast<const char *>(&value), sizeof value);
}

void appendText(std::string &out, std::string_view text)
{
    append(out, std::uint32_t(text.size()));
    out += text;
}

// Reads values from a frame's bytes; once something is missing, everything is.
class Cursor {
public:
    explicit Cursor(std::string_view bytes) : m_bytes(bytes) {}
    template <typename T>
    T take()
    {
        T value{};
        if (const auto raw = takeBytes(sizeof value); raw.size() == sizeof value)
            std::memcpy(&value, raw.data(), sizeof value);
        return value;
    }
    std::string_view takeBytes(std::uint64_t count)
    {
        m_ok = m_ok && count <= m_bytes.size();
        const auto taken = m_bytes.substr(0, m_ok ? std::size_t(count) : 0);
        m_bytes.remove_prefix(taken.size());
        return taken;
    }
    std::string takeText() { return std::string(takeBytes(take<std::uint32_t>())); }
    std::string_view takeRest() { return takeBytes(m_bytes.size()); }
    bool finished() const { return m_ok && m_bytes.empty(); }

private:
    std::string_view m_bytes;
    bool m_ok = true;
};

std::array<char, kFrameSum> sumOf(std::string_view head, std::string_view body)
{
    const XXH64_hash_t seed = XXH3_64bits(head.data(), head.size());
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(body.data(), body.size(), seed));
    std::array<char, kFrameSum> sum;
    std::memcpy(sum.data(), canonical.digest, sum.size());
    return sum;
}

class FrameWriter {
public:
    explicit FrameWriter(NewFile &file) : m_file(file)
    {
        std::string header(kMagic.data(), kMagic.size());
        append(header, kVersion);
        append(header, std::uint32_t(0));
        put(header);
    }
    void frame(FrameType type, std::string_view body)
    {
        std::string head;
        append(head, std::uint32_t(type));
        append(head, std::uint64_t(body.size()));
        const auto sum = sumOf(head, body);
        put(head);
        put(body);
        put({sum.data(), sum.size()});
        ++m_frames;
    }
    Result<void> finish()
    {
        std::string body;
        append(body, m_frames);
        frame(kEnd, body);
        return m_state;
    }
    bool good() const { return m_state.has_value(); }

private:
    void put(std::string_view bytes)
    {
        if (m_state)
            m_state = m_file.write(bytes);
    }
    NewFile &m_file;
    Result<void> m_state;
    std::uint64_t m_frames = 0;
};

std::string sessionBody(const SessionRow &session)
{
    json tags = json::array();
    for (const std::string &tag : session.tags)
        tags.push_back(tag);
    const json document = {{"title", session.title}, {"folder", session.folder}, {"tags", tags},
                           {"settings", session.settings}, {"created", session.createdMs},
                           {"tokens", session.tokens}, {"tip", session.tip.value}};
    return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string messageBody(const MessageRow &row)
{
    std::string body;
    append(body, row.id.value);
    append(body, row.parent.value);
    append(body, std::uint8_t(row.role));
    append(body, std::uint8_t(row.state));
    append(body, std::uint8_t(row.pinned));
    append(body, row.createdMs);
    for (const std::string &text : {row.text, row.tokenizer, row.json, row.receipt})
        appendText(body, text);
    append(body, std::uint32_t(row.ids.size()));
    body.append(reinterpret_cast<const char *>(row.ids.data()), row.ids.size() * sizeof(TokenId));
    return body;
}

std::string rootBody(const StoredRoot &root)
{
    std::string body;
    for (const std::string &text :
         {root.identity.modelFingerprint, root.identity.tokenizer, root.identity.rope, root.identity.kvTypes})
        appendText(body, text);
    append(body, root.identity.blockSize);
    return body;
}

std::string payloadHead(std::uint32_t root, std::uint32_t node, std::uint32_t parent, const StoredNode &stored,
                        const StoredNode::Payload &payload)
{
    std::string body;
    append(body, root);
    append(body, node);
    append(body, parent);
    append(body, stored.firstToken);
    append(body, payload.group.value);
    appendText(body, payload.numerics);
    append(body, std::uint32_t(stored.tokens.size()));
    body.append(reinterpret_cast<const char *>(stored.tokens.data()), stored.tokens.size() * sizeof(TokenId));
    return body;
}

// Writes the chains whose root is known: nodes are numbered from 1 as they come, 0 is the root.
std::uint32_t writeKv(FrameWriter &out, KvStore &kv, SessionId session)
{
    struct Place {
        std::uint32_t root, node;
    };
    std::unordered_map<kv::BlockName, Place> places;
    std::uint32_t roots = 0, nodes = 0, payloads = 0;
    for (const StoredNode &stored : kv.sessionNodes(session)) {
        if (!places.contains(stored.parent)) {
            const auto root = kv.root(stored.parent);
            if (!root)
                continue;
            places[stored.parent] = {roots++, 0};
            out.frame(kRoot, rootBody(*root));
        }
        const Place parent = places.at(stored.parent);
        const Place self{parent.root, ++nodes};
        places[stored.name] = self;
        for (const StoredNode::Payload &payload : stored.payloads) {
            std::vector<std::byte> bytes(payload.bytes);
            const PayloadKey key{stored.name, payload.group, payload.numerics};
            if (kv.read(payload.row, key, stored.tokens, bytes) != ReadOutcome::ok)
                continue;
            std::string body = payloadHead(self.root, self.node, parent.node, stored, payload);
            body.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
            out.frame(kPayload, body);
            ++payloads;
        }
    }
    return payloads;
}

} // namespace

Result<KviltExported> writeKviltFile(const fs::path &file, const KviltExport &content)
{
    KviltExported done;
    KVILT_TRY(NewFile target, NewFile::create(file));
    FrameWriter out(target);
    out.frame(kSession, sessionBody(content.session));
    for (const MessageRow &message : content.messages)
        out.frame(kMessage, messageBody(message));
    if (content.kv && out.good())
        done.kvPayloads = writeKv(out, *content.kv, content.session.id);
    KVILT_TRY_VOID(out.finish());
    KVILT_TRY_VOID(target.commit());
    std::error_code unknown;
    done.bytes = fs::file_size(file, unknown);
    return done;
}

// --- Reading ---

namespace {

tl::unexpected<Error> notWhole(const fs::path &file)
{
    return fail(ErrorCode::badInput, file.string() + " is damaged or incomplete; nothing was imported.");
}

using FrameVisitor = std::function<bool(FrameType, std::string_view)>;

// Checks every frame and hands it on; false from the visitor, or anything unexpected: not whole. No frame is longer
// than what is left of the file, so nothing larger than the file is ever allocated.
Result<void> readFrames(const fs::path &file, const FrameVisitor &visit)
{
    std::error_code problem;
    std::uint64_t left = fs::file_size(file, problem);
    std::ifstream in(file, std::ios::binary);
    if (problem || !in)
        return fail(ErrorCode::notFound, file.string() + " cannot be read.");
    std::array<char, kHeaderBytes> header{};
    std::uint32_t version = 0, flags = 0;
    if (left < kHeaderBytes || !in.read(header.data(), header.size()) ||
        !std::equal(kMagic.begin(), kMagic.end(), header.begin()))
        return fail(ErrorCode::badInput, file.string() + " is neither a .kvilt file nor a conversation as JSON.");
    std::memcpy(&version, header.data() + 8, 4);
    std::memcpy(&flags, header.data() + 12, 4);
    if (version != kVersion || flags != 0)
        return fail(ErrorCode::unsupported, file.string() + " was written by another version of Kvilt.");
    left -= kHeaderBytes;
    std::string body;
    for (std::uint64_t frames = 0;; ++frames) {
        std::array<char, kFrameHead> head{};
        std::array<char, kFrameSum> sum{};
        std::uint32_t type = 0;
        std::uint64_t length = 0;
        if (left < kFrameHead + kFrameSum || !in.read(head.data(), head.size()))
            return notWhole(file);
        std::memcpy(&type, head.data(), 4);
        std::memcpy(&length, head.data() + 4, 8);
        left -= kFrameHead + kFrameSum;
        if (length > left || length > kLongestFrame)
            return notWhole(file);
        left -= length;
        body.resize(std::size_t(length));
        if (!in.read(body.data(), std::streamsize(length)) || !in.read(sum.data(), sum.size()) ||
            sum != sumOf({head.data(), head.size()}, body))
            return notWhole(file);
        if (type == kEnd) {
            Cursor cursor(body);
            return cursor.take<std::uint64_t>() == frames && cursor.finished() && left == 0 ? Result<void>()
                                                                                            : notWhole(file);
        }
        if (type < kSession || type > kPayload || !visit(FrameType(type), body))
            return notWhole(file);
    }
}

std::vector<TokenId> tokensFrom(std::string_view bytes)
{
    std::vector<TokenId> tokens(bytes.size() / sizeof(TokenId));
    if (!tokens.empty())
        std::memcpy(tokens.data(), bytes.data(), tokens.size() * sizeof(TokenId));
    return tokens;
}

bool parseSession(std::string_view body, SessionRow &session)
{
    const json document = json::parse(body, nullptr, false);
    if (!document.is_object())
        return false;
    const auto text = [&](const char *key) {
        const auto it = document.find(key);
        return it != document.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    const auto number = [&](const char *key) {
        const auto it = document.find(key);
        return it != document.end() && it->is_number_integer() ? it->get<std::int64_t>() : 0;
    };
    session.title = text("title");
    session.folder = text("folder");
    session.settings = text("settings");
    session.createdMs = number("created");
    session.tokens = std::uint32_t(std::clamp<std::int64_t>(number("tokens"), 0, UINT32_MAX));
    session.tip = {number("tip")};
    if (const auto tags = document.find("tags"); tags != document.end() && tags->is_array())
        for (const auto &tag : *tags)
            if (tag.is_string())
                session.tags.push_back(tag.get<std::string>());
    return true;
}

bool parseMessage(std::string_view body, MessageRow &row)
{
    Cursor in(body);
    row.id = {in.take<std::int64_t>()};
    row.parent = {in.take<std::int64_t>()};
    const auto role = in.take<std::uint8_t>(), state = in.take<std::uint8_t>(), pinned = in.take<std::uint8_t>();
    row.createdMs = in.take<std::int64_t>();
    row.text = in.takeText();
    row.tokenizer = in.takeText();
    row.json = in.takeText();
    row.receipt = in.takeText();
    row.ids = tokensFrom(in.takeBytes(std::uint64_t(in.take<std::uint32_t>()) * sizeof(TokenId)));
    if (!in.finished() || role > std::uint8_t(api::Role::tool) || state > std::uint8_t(api::MessageState::failed))
        return false;
    row.role = api::Role(role);
    row.state = api::MessageState(state) == api::MessageState::streaming ? api::MessageState::interrupted
                                                                         : api::MessageState(state);
    row.pinned = pinned != 0;
    return true;
}

bool parseRoot(std::string_view body, kv::CacheIdentity &identity)
{
    Cursor in(body);
    identity.modelFingerprint = in.takeText();
    identity.tokenizer = in.takeText();
    identity.rope = in.takeText();
    identity.kvTypes = in.takeText();
    identity.blockSize = in.take<std::uint32_t>();
    return in.finished() && identity.blockSize >= 1 && identity.blockSize <= 512;
}

struct ParsedPayload {
    std::uint32_t root = 0, node = 0, parent = 0;
    NewPayload payload; // without names
};

bool parsePayload(std::string_view body, ParsedPayload &out)
{
    Cursor in(body);
    out.root = in.take<std::uint32_t>();
    out.node = in.take<std::uint32_t>();
    out.parent = in.take<std::uint32_t>();
    out.payload.firstToken = in.take<std::int32_t>();
    out.payload.key.group = {in.take<std::uint16_t>()};
    out.payload.key.numerics = in.takeText();
    out.payload.tokens = tokensFrom(in.takeBytes(std::uint64_t(in.take<std::uint32_t>()) * sizeof(TokenId)));
    const auto bytes = std::as_bytes(std::span(in.takeRest()));
    out.payload.bytes.assign(bytes.begin(), bytes.end());
    return in.finished() && out.payload.firstToken >= 0 && !out.payload.tokens.empty() &&
           out.payload.key.numerics.size() <= 256;
}

// Gives what a file describes to the stores, under new ids and a salt that no other session has.
class Importer {
public:
    Importer(SessionDb *sessions, KvStore *kv) : m_sessions(sessions), m_kv(kv) {} // both null: only checks

    bool check(FrameType type, std::string_view body);
    Result<KviltImported> importSession();
    bool importFrame(FrameType type, std::string_view body);
    void finishKv();
    std::uint32_t payloads() const { return m_done.kvPayloads; }

private:
    bool checkMessage(std::string_view body);
    std::string receiptHere(const std::string &receipt) const;
    MessageRow messageHere(const MessageRow &row) const;
    bool checkPayload(std::string_view body);

    SessionDb *m_sessions;
    KvStore *m_kv;
    SessionRow m_session;
    bool m_haveSession = false;
    std::vector<MessageRow> m_messages;
    std::unordered_map<std::int64_t, MessageId> m_ids;       // file's -> ours
    std::vector<kv::CacheIdentity> m_roots;
    std::map<std::pair<std::uint32_t, std::uint32_t>, kv::BlockName> m_names; // (root, node) -> name
    std::map<std::pair<std::uint32_t, std::uint32_t>, bool> m_inner;          // has a child
    KviltImported m_done;
};

bool Importer::checkMessage(std::string_view body)
{
    MessageRow row;
    if (!parseMessage(body, row) || row.id.value <= 0 || m_ids.contains(row.id.value) ||
        (row.parent.value != 0 && !m_ids.contains(row.parent.value)))
        return false;
    m_ids[row.id.value] = {};
    m_messages.push_back(std::move(row));
    return true;
}

bool Importer::checkPayload(std::string_view body)
{
    ParsedPayload parsed;
    return parsePayload(body, parsed) && parsed.root < m_roots.size() && parsed.node > parsed.parent &&
           parsed.payload.tokens.size() == m_roots[parsed.root].blockSize;
}

bool Importer::check(FrameType type, std::string_view body)
{
    switch (type) {
    case kSession: return !std::exchange(m_haveSession, true) && parseSession(body, m_session);
    case kMessage: return m_haveSession && checkMessage(body);
    case kRoot: m_roots.emplace_back(); return parseRoot(body, m_roots.back());
    case kPayload: return checkPayload(body);
    case kEnd: break;
    }
    return false;
}

std::string freshSalt()
{
    std::random_device random;
    std::string salt = "import:";
    for (int i = 0; i < 4; ++i) {
        char part[9];
        std::snprintf(part, sizeof part, "%08x", unsigned(random()));
        salt += part;
    }
    return salt;
}

// A receipt speaks of ids: messages of the file get their new ones, turns and nodes of another profile mean nothing.
std::string Importer::receiptHere(const std::string &receipt) const
{
    auto document = parseBoundedJson(receipt);
    if (!document.is_object())
        return {};
    document["turn"] = 0;
    const auto start = document.find("context_start");
    if (start != document.end()) {
        const auto known = m_ids.find(start->is_number_integer() ? start->get<std::int64_t>() : 0);
        *start = known != m_ids.end() ? known->second.value : 0;
    }
    if (const auto miss = document.find("miss"); miss != document.end() && miss->is_object())
        (*miss)["cached_path"] = ordered_json::array();
    return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

MessageRow Importer::messageHere(const MessageRow &row) const
{
    MessageRow out = row;
    out.session = m_session.id;
    out.parent = row.parent.value ? m_ids.at(row.parent.value) : MessageId{};
    if (!out.ids.empty() && !out.tokenizer.starts_with(kImportedTokenizer))
        out.tokenizer.insert(0, kImportedTokenizer);
    if (!out.json.empty() && !parseBoundedJson(out.json).is_object())
        out.json.clear();
    if (!out.receipt.empty())
        out.receipt = receiptHere(out.receipt);
    return out;
}

Result<KviltImported> Importer::importSession()
{
    const SessionRow described = m_session;
    KVILT_TRY_VOID(m_sessions->together([&]() -> Result<void> {
        m_session = described;
        m_session.salt = freshSalt();
        KVILT_TRY(m_session, m_sessions->createSession(m_session));
        for (const MessageRow &row : m_messages) {
            KVILT_TRY(const MessageRow added, m_sessions->append(messageHere(row)));
            m_ids[row.id.value] = added.id;
        }
        const auto leaf = m_ids.find(described.tip.value);
        return leaf != m_ids.end() ? m_sessions->setTip(m_session.id, leaf->second) : Result<void>();
    }));
    m_done.messages = std::uint32_t(m_messages.size());
    m_done.session = m_session.id;
    return m_done;
}

bool Importer::importFrame(FrameType type, std::string_view body)
{
    if (type != kPayload || !m_kv)
        return true;
    ParsedPayload parsed;
    if (!parsePayload(body, parsed))
        return false;
    const auto rootName = kv::rootName(m_roots[parsed.root], m_session.salt);
    const auto parent = m_names.find({parsed.root, parsed.parent});
    if (parsed.parent != 0 && parent == m_names.end())
        return true; // its way to the root is not in the file: nobody could ever hit it
    parsed.payload.parent = parsed.parent == 0 ? rootName : parent->second;
    parsed.payload.key.name = kv::childName(parsed.payload.parent, parsed.payload.tokens);
    parsed.payload.session = m_session.id;
    m_names[{parsed.root, parsed.node}] = parsed.payload.key.name;
    m_inner[{parsed.root, parsed.node}];
    m_inner[{parsed.root, parsed.parent}] = true;
    m_kv->rememberRoot(m_roots[parsed.root], m_session.salt);
    const bool taken = m_kv->put(std::move(parsed.payload));
    // The queue is bounded, a file is not. What the disk did not take is a miss later, no broken chat.
    if (const auto flushed = m_kv->flush(); taken && flushed)
        ++m_done.kvPayloads;
    return true;
}

// Each leaf is a tip, so that the KV belongs to the session.
void Importer::finishKv()
{
    std::int64_t branch = 0;
    for (const auto &[place, name] : m_names)
        if (!m_inner.at(place))
            m_kv->setTip(m_session.id, MessageId{--branch}, name); // negative: no message of the file's own
}

} // namespace

Result<void> checkKviltFile(const fs::path &file)
{
    Importer importer(nullptr, nullptr);
    return readFrames(file, [&](FrameType type, std::string_view body) { return importer.check(type, body); });
}

Result<KviltImported> importKviltFile(const fs::path &file, SessionDb &sessions, KvStore *kv)
{
    Importer importer(&sessions, kv);
    KVILT_TRY_VOID(readFrames(file, [&](FrameType type, std::string_view body) { return importer.check(type, body); }));
    KVILT_TRY(KviltImported done, importer.importSession());
    if (kv && kv->writable()) {
        KVILT_TRY_VOID(readFrames(file, [&](FrameType type, std::string_view body) {
            return importer.importFrame(type, body);
        }));
        importer.finishKv();
        done.kvPayloads = importer.payloads();
    }
    return done;
}

} // namespace kvilt::store
