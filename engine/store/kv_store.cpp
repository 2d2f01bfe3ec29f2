// SPDX-License-Identifier: Apache-2.0
#include "engine/store/kv_store_impl.h"

#include <algorithm>
#include <system_error>

namespace kvilt::store {

namespace fs = std::filesystem;

namespace {

bool mustBeSetAside(ErrorCode code)
{
    return code == ErrorCode::corrupt || code == ErrorCode::badInput || code == ErrorCode::unsupported;
}

} // namespace

std::uint64_t kvFileBytes(const fs::path &file)
{
    std::error_code missing;
    const auto bytes = fs::file_size(file, missing);
    return missing ? 0 : std::uint64_t(bytes);
}

// --- Opening ---

void KvStore::Impl::setAsideAndTell(const Error &why)
{
    const auto target = sql::setAside(options.file);
    if (target)
        notices.push_back(why.message + "; it was set aside as " + target->filename().string() +
                          " and a new one was made. Chats are complete, but their first turn is computed again.");
    else
        notices.push_back(target.error().message);
}

Result<void> KvStore::Impl::load()
{
    index = KvIndex();
    roots.clear();
    sql::Database &db = writer ? *writer : *reader;
    KVILT_TRY(strays, loadIndex(db, index));
    if (!strays.empty())
        notices.push_back(std::to_string(strays.size()) + " stored KV blocks in " + options.file.string() +
                          " were damaged and are dropped; what they held is computed again.");
    KVILT_TRY(lineage, loadLineage(db));
    return loadRoots(db, roots);
}

Result<void> KvStore::Impl::openOnce(sql::Access access)
{
    writer.reset();
    reader.reset();
    if (access == sql::Access::readWrite) {
        KVILT_TRY(writer, openKvDb(options, access));
        KVILT_TRY(reader, openKvDb(options, sql::Access::readOnly));
        identity = FileIdentity::of(options.file);
    } else {
        KVILT_TRY(reader, openKvDb(options, access));
    }
    return load();
}

Result<void> KvStore::Impl::openForWriting()
{
    auto opened = openOnce(sql::Access::readWrite);
    if (opened || !mustBeSetAside(opened.error().code))
        return opened;
    writer.reset();
    reader.reset();
    setAsideAndTell(opened.error());
    return openOnce(sql::Access::readWrite);
}

Result<void> KvStore::Impl::open()
{
    quota = options.quotaBytes;
    std::optional<Error> why;
    if (options.writable) {
        auto opened = openForWriting();
        canWrite = opened.has_value();
        if (canWrite)
            return {};
        why = opened.error();
        notices.push_back(why->message + " KV is not stored.");
    }
    for (const auto access : {sql::Access::readOnly, sql::Access::immutable})
        if (openOnce(access))
            return {};
    writer.reset();
    reader.reset();
    index = KvIndex();
    return why ? Result<void>(tl::unexpected(*why)) : Result<void>(); // nothing to read is no fault of a reader
}

Result<std::unique_ptr<KvStore>> KvStore::open(KvStoreOptions options)
{
    auto impl = std::make_unique<Impl>();
    impl->options = std::move(options);
    KVILT_TRY_VOID(impl->open());
    Impl *raw = impl.get();
    if (impl->canWrite)
        impl->thread = std::make_unique<StoreThread>([raw] { raw->idle(); });
    std::unique_ptr<KvStore> store(new KvStore(std::move(impl)));
    if (raw->canWrite)
        raw->thread->post([raw] { raw->shrinkToQuota(); });
    return store;
}

KvStore::KvStore(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
KvStore::~KvStore() = default;

bool KvStore::writable() const
{
    const std::lock_guard lock(m_impl->mutex);
    return m_impl->canWrite;
}

std::vector<std::string> KvStore::takeNotices()
{
    const std::lock_guard lock(m_impl->mutex);
    return std::exchange(m_impl->notices, {});
}

void KvStore::forEach(const std::function<void(const StoredEntry &)> &visit) const
{
    const std::lock_guard lock(m_impl->mutex);
    for (const auto &[id, row] : m_impl->index.rows())
        visit({{row.name, row.group, row.numerics}, id, row.bytes});
}

bool KvStore::contains(const PayloadKey &key) const
{
    const std::lock_guard lock(m_impl->mutex);
    return m_impl->index.find(key) != nullptr;
}

// --- Writing ---

bool KvStore::put(NewPayload payload)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    if (const KvIndex::Row *row = d.index.find(payload.key)) {
        const std::int64_t id = row->id;
        for (const std::int64_t known : d.index.touch(std::span(&id, 1)))
            d.touched.insert(known);
        return true;
    }
    const auto key = std::tuple(payload.key.name, payload.key.group.value, payload.key.numerics);
    if (d.queued.contains(key))
        return true;
    if (!d.canWrite || d.counts.pendingBytes + payload.bytes.size() > d.options.pendingBytes) {
        ++d.counts.declined;
        return false;
    }
    d.counts.pendingBytes += payload.bytes.size();
    d.queued.insert(key);
    d.queue.push_back(std::move(payload));
    d.postWrite();
    return true;
}

// --- Reading ---

ReadOutcome KvStore::read(std::int64_t row, const PayloadKey &key, std::span<const TokenId> tokens,
                          std::span<std::byte> out)
{
    Impl &d = *m_impl;
    Result<void> result;
    {
        const std::lock_guard lock(d.readMutex);
        if (!d.reader)
            return ReadOutcome::missing;
        result = readPayload(*d.reader, row, key, tokens, out);
    }
    if (result)
        return ReadOutcome::ok;
    if (result.error().code != ErrorCode::corrupt)
        return ReadOutcome::missing;
    const std::lock_guard lock(d.mutex);
    if (d.counts.corrupt++ == 0)
        d.notices.push_back("A stored KV block in " + d.options.file.string() +
                            " was damaged and is dropped; what it held is computed again.");
    if (d.canWrite)
        d.thread->post([&d, row] { d.removeRow(row, api::EventReason::corruptPayload); });
    return ReadOutcome::corrupt;
}

void KvStore::touch(std::span<const std::int64_t> rows)
{
    const std::lock_guard lock(m_impl->mutex);
    for (const std::int64_t id : m_impl->index.touch(rows))
        m_impl->touched.insert(id);
}

std::vector<KvCompletion> KvStore::takeCompletions()
{
    const std::lock_guard lock(m_impl->mutex);
    return std::exchange(m_impl->completions, {});
}

Result<void> KvStore::flush()
{
    if (m_impl->thread)
        m_impl->thread->drain();
    const std::lock_guard lock(m_impl->mutex);
    if (const auto error = std::exchange(m_impl->firstError, std::nullopt))
        return tl::unexpected(*error);
    return {};
}

// --- Sessions ---

void KvStore::rememberRoot(const kv::CacheIdentity &identity, std::string_view salt)
{
    Impl &d = *m_impl;
    const kv::BlockName name = kv::rootName(identity, salt);
    const std::lock_guard lock(d.mutex);
    if (!d.canWrite || !d.roots.emplace(name, StoredRoot{identity, std::string(salt)}).second)
        return;
    d.thread->post([&d, name, root = StoredRoot{identity, std::string(salt)}] {
        d.finish(d.change([&] { return saveRoot(*d.writer, name, root); }), {});
    });
}

std::optional<StoredRoot> KvStore::root(const kv::BlockName &name) const
{
    const std::lock_guard lock(m_impl->mutex);
    const auto it = m_impl->roots.find(name);
    return it == m_impl->roots.end() ? std::nullopt : std::optional(it->second);
}

void KvStore::claim(std::int64_t lineage)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    if (!d.canWrite || d.lineage == lineage)
        return;
    const bool disown = std::exchange(d.lineage, lineage) != 0; // 0: from before anybody said whose they are
    if (disown)
        d.index.disown();
    d.thread->post([&d, lineage, disown] {
        d.finish(d.change([&] { return saveLineage(*d.writer, lineage, disown); }), {});
    });
}

void KvStore::setTip(SessionId session, MessageId branch, const kv::BlockName &node)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    if (!d.canWrite)
        return;
    d.index.setTip(session.value, branch.value, node);
    std::vector<std::int64_t> rows;
    for (const kv::BlockName &name : d.index.chain(node))
        std::ranges::copy(d.index.rowsOf(name), std::back_inserter(rows));
    for (const std::int64_t id : d.index.touch(rows)) // used together: none leaves before its successors
        d.touched.insert(id);
    d.thread->post([&d, session, branch, node] {
        d.finish(d.change([&] { return saveTip(*d.writer, session.value, branch.value, node); }), {});
    });
}

void KvStore::endBranch(SessionId session, MessageId branch)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    const auto tips = d.index.tips().find(session.value);
    if (!d.canWrite || tips == d.index.tips().end() || !tips->second.contains(branch.value))
        return;
    const auto chain = d.index.chain(tips->second.at(branch.value));
    d.index.removeTip(session.value, branch.value);
    const auto needed = d.index.neededNodes();
    for (const kv::BlockName &name : chain)
        for (const std::int64_t id : needed.contains(name) ? std::vector<std::int64_t>() : d.index.rowsOf(name)) {
            d.index.setDead(id, true);
            d.touched.insert(id);
        }
    d.thread->post([&d, session, branch] {
        d.finish(d.change([&] { return deleteTip(*d.writer, session.value, branch.value); }), {});
    });
}

void KvStore::dropSession(SessionId session)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    if (!d.canWrite)
        return;
    // On the store thread, after what was put before: payloads of the session may still wait there.
    d.thread->post([&d, session] {
        std::vector<KvCompletion> done;
        auto result = d.change([&]() -> Result<void> {
            std::vector<KvIndex::Row> rows;
            {
                const std::lock_guard guard(d.mutex);
                const auto ids = d.index.rowsOfSession(session.value);
                d.index.removeSession(session.value);
                const auto needed = d.index.neededNodes();
                for (const std::int64_t id : ids)
                    if (const KvIndex::Row &row = *d.index.find(id); !needed.contains(row.name))
                        rows.push_back(row);
            }
            for (KvIndex::Row &row : rows)
                KVILT_TRY_VOID(d.evict(std::move(row), api::EventReason::dropped, done));
            return deleteTips(*d.writer, session.value);
        });
        d.finish(std::move(result), std::move(done));
    });
}

KvUsage KvStore::usage(SessionId session) const
{
    const std::lock_guard lock(m_impl->mutex);
    KvUsage usage;
    std::unordered_set<kv::BlockName> names;
    for (const std::int64_t id : m_impl->index.rowsOfSession(session.value)) {
        const KvIndex::Row &row = *m_impl->index.find(id);
        usage.bytes += row.bytes;
        usage.blocks += names.insert(row.name).second ? 1 : 0;
    }
    return usage;
}

std::map<SessionId, KvUsage> KvStore::usages() const
{
    const std::lock_guard lock(m_impl->mutex);
    const KvIndex &index = m_impl->index;
    std::map<SessionId, KvUsage> usages;
    std::map<std::int64_t, std::unordered_set<kv::BlockName>> counted;
    for (const auto &[session, branches] : index.tips()) {
        KvUsage &usage = usages[SessionId{session}];
        auto &names = counted[session] = index.nodesOf(session);
        for (const kv::BlockName &name : names) {
            const auto rows = index.rowsOf(name);
            usage.blocks += rows.empty() ? 0 : 1;
            for (const std::int64_t id : rows)
                usage.bytes += index.find(id)->bytes;
        }
    }
    std::map<std::int64_t, std::unordered_set<kv::BlockName>> besides; // written by it, needed by none of its tips
    for (const auto &[id, row] : index.rows()) {
        if (row.session == 0 || counted[row.session].contains(row.name))
            continue;
        KvUsage &usage = usages[SessionId{row.session}];
        usage.bytes += row.bytes;
        usage.blocks += besides[row.session].insert(row.name).second ? 1 : 0;
    }
    return usages;
}

std::vector<StoredNode> KvStore::sessionNodes(SessionId session) const
{
    Impl &d = *m_impl;
    std::vector<StoredNode> nodes;
    {
        const std::lock_guard lock(d.mutex);
        for (const kv::BlockName &name : d.index.nodesOf(session.value)) {
            StoredNode node{.name = name};
            for (const std::int64_t id : d.index.rowsOf(name)) {
                const KvIndex::Row &row = *d.index.find(id);
                node.parent = row.parent;
                node.firstToken = row.firstToken;
                node.payloads.push_back({id, row.group, row.numerics, row.bytes});
            }
            nodes.push_back(std::move(node));
        }
    }
    std::ranges::sort(nodes, [](const StoredNode &a, const StoredNode &b) {
        return std::tie(a.firstToken, a.name) < std::tie(b.firstToken, b.name);
    });
    const std::lock_guard lock(d.readMutex);
    std::erase_if(nodes, [&](StoredNode &node) {
        auto tokens = d.reader ? readTokens(*d.reader, node.payloads.front().row)
                               : Result<std::vector<TokenId>>(fail(ErrorCode::notFound, ""));
        if (tokens)
            node.tokens = std::move(*tokens);
        return !tokens;
    });
    return nodes;
}

void KvStore::setQuota(std::uint64_t bytes)
{
    Impl &d = *m_impl;
    const std::lock_guard lock(d.mutex);
    d.quota = bytes;
    if (d.canWrite)
        d.thread->post([&d] { d.shrinkToQuota(); });
}

KvStats KvStore::stats() const
{
    const std::lock_guard lock(m_impl->mutex);
    KvStats stats = m_impl->counts;
    stats.bytes = m_impl->index.bytes();
    stats.payloads = m_impl->index.rows().size();
    stats.quota = m_impl->quota;
    stats.fileBytes = kvFileBytes(m_impl->options.file) + kvFileBytes(m_impl->options.file.string() + "-wal");
    return stats;
}

} // namespace kvilt::store
