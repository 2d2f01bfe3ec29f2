// SPDX-License-Identifier: Apache-2.0
// Long random histories. One test keeps the contents of every physical row beside the cache and checks after each
// operation that every live sequence reads exactly its own past: a wrong hit, a block overwritten too early, a
// forgotten copy or a wrongly sealed block all show there. The other compares tables, hits and eviction order with a
// second, naive implementation of the same rules.
#include "tests/engine/kv/kv_test_support.h"
#include "tests/support/test_registry.h"

#include <list>
#include <optional>
#include <set>
#include <unordered_set>

using namespace kvilt;
using namespace kvilt::kv;
using namespace kvilt::test;
using api::EventReason;

namespace {

constexpr std::size_t kBlock = 4;

std::uint64_t mix(std::uint64_t a, std::uint64_t b)
{
    return (a ^ (b + 0x9e3779b97f4a7c15ull + (a << 6) + (a >> 2))) * 0xbf58476d1ce4e5b9ull;
}

// A row's content stands for K and V: it depends on every token before it, on the salt and on gaps.
struct World {
    struct Live {
        std::vector<std::uint64_t> content; // by position
        std::uint64_t chain = 0;
        std::size_t gapBegin = 0, gapEnd = 0;
        std::uint64_t root = 0;
    };

    World(std::uint32_t seed, auto &&...edits) : bench(14, edits...), random(seed)
    {
        groups = bench.cache->config().layout.groups.size();
        rows.assign(groups, std::vector<std::uint64_t>(14 * kBlock, 0));
    }

    std::size_t below(std::size_t n) { return random() % n; }
    std::vector<TokenId> prompt()
    {
        // Few choices, so that prompts share prefixes of all lengths.
        std::vector<TokenId> out(1 + below(26));
        const TokenId style = TokenId(below(2));
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i] = below(12) == 0 ? TokenId(below(3)) : style;
        return out;
    }
    static std::uint64_t root(std::string_view salt) { return std::hash<std::string_view>{}(salt) | 1; }

    void write(Live &live, SequenceId id, std::span<const TokenId> tokens)
    {
        for (const TokenId token : tokens) {
            const std::size_t at = live.content.size();
            live.chain = mix(live.chain, std::uint64_t(token) + 1);
            live.content.push_back(live.chain);
            for (std::size_t g = 0; g < groups; ++g)
                row(g, bench.cache->tables(id)[g]->blocks()[at / kBlock], at % kBlock) = mix(live.chain, g);
        }
    }
    std::uint64_t &row(std::size_t g, BlockId block, std::size_t r)
    {
        if (block == kNoBlock)
            qFatal("a hole was touched");
        return rows[g][block.value * kBlock + r];
    }
    void copy(const std::vector<CopyOrder> &orders)
    {
        for (const CopyOrder &o : orders)
            for (std::uint32_t r = 0; r < o.tokens; ++r)
                row(o.group.value, o.to, r) = row(o.group.value, o.from, r);
    }

    void start()
    {
        const auto tokens = prompt();
        const std::string salt = below(3) == 0 ? "other" : "";
        Request r = bench.request(++lastId, tokens, salt);
        r.session = SessionId{std::int64_t(1 + below(3))};
        r.reuse = below(8) != 0;
        const Lookup found = bench.cache->lookup(r);
        if (below(6) == 0)
            step(); // the lookup goes stale
        const std::size_t chunk = std::max<std::size_t>(found.matchedTokens, below(tokens.size() + 1));
        const auto allocation = bench.cache->allocate(r, found, chunk);
        if (!allocation)
            return;
        ++admitted;
        copy(allocation->copies);
        for (const RestoreOrder &o : allocation->restores) {
            const auto &stored = disk.at({o.name, o.group.value});
            for (std::size_t i = 0; i < kBlock; ++i)
                row(o.group.value, o.block, i) = stored[i];
            bench.cache->restored(r.sequence, o, 1);
            ++restored;
        }
        Live live;
        live.chain = live.root = root(salt);
        for (std::size_t i = 0; i < allocation->hitTokens; ++i) {
            live.chain = mix(live.chain, std::uint64_t(tokens[i]) + 1);
            live.content.push_back(live.chain);
        }
        hitTokens += allocation->hitTokens;
        sequences[r.sequence] = live;
        check();
        grow(r.sequence, std::vector<TokenId>(tokens.begin() + std::ptrdiff_t(allocation->hitTokens), tokens.end()));
    }

    void grow(SequenceId id, const std::vector<TokenId> &tokens)
    {
        Live &live = sequences.at(id);
        std::size_t done = 0;
        while (done < tokens.size()) {
            const std::size_t chunk = std::min(tokens.size() - done, 1 + below(9));
            std::vector<CopyOrder> copies;
            if (!bench.cache->reserve(id, live.content.size() + chunk, copies))
                return;
            copy(copies);
            const auto part = std::span(tokens).subspan(done, chunk);
            write(live, id, part);
            bench.cache->append(id, part);
            done += chunk;
        }
    }

    SequenceId any()
    {
        auto it = sequences.begin();
        std::advance(it, std::ptrdiff_t(below(sequences.size())));
        return it->first;
    }

    void step()
    {
        bench.clock.ns += 1'000'000;
        const std::size_t what = below(20);
        if (what < 6 || sequences.empty())
            return start();
        const SequenceId id = any();
        Live &live = sequences.at(id);
        if (what < 9) {
            grow(id, prompt());
        } else if (what < 12) {
            bench.cache->release(id, EventReason::finished);
            sequences.erase(id);
        } else if (what == 12) {
            const SequenceId to{++lastId};
            const std::size_t tokens = below(live.content.size() + 1);
            if ((live.gapEnd == 0 || tokens >= live.gapEnd) &&
                bench.cache->fork(id, to, SessionId{1}, TurnId{1}, tokens))
                cut(sequences[to] = live, tokens);
        } else if (what == 13) {
            const std::size_t tokens = below(live.content.size() + 1);
            if ((live.gapEnd == 0 || tokens >= live.gapEnd) && bench.cache->truncate(id, tokens))
                cut(live, tokens);
        } else if (what == 14 && live.gapEnd == 0) {
            const std::size_t begin = below(live.content.size() + 1), end = begin + below(12);
            const std::size_t first = (begin + kBlock - 1) / kBlock * kBlock;
            const std::size_t last = std::min(end, live.content.size()) / kBlock * kBlock;
            bench.cache->dropMiddle(id, begin, end);
            if (first < last) {
                live.gapBegin = first;
                live.gapEnd = last;
                live.chain = mix(live.chain, 12345); // what follows saw another past
            }
        } else if (what == 15) {
            bench.cache->pin(bench.cache->path(id), below(4) == 0);
        } else if (what == 16) {
            const auto path = bench.cache->path(id);
            bench.cache->release(id, EventReason::edited);
            sequences.erase(id);
            bench.cache->markDead(path, SessionId{std::int64_t(1 + below(3))}, EventReason::edited);
        } else if (what == 17) {
            bench.cache->dropSession(SessionId{std::int64_t(1 + below(3))});
        } else if (what == 18) {
            store();
        } else {
            unstore();
        }
    }
    static void cut(Live &live, std::size_t tokens)
    {
        live.content.resize(tokens);
        if (live.gapEnd == 0)
            live.chain = tokens == 0 ? live.root : live.content.back();
        else
            live.chain = mix(tokens == 0 ? 0 : live.content.back(), 54321); // any unique past
    }

    void store()
    {
        for (const SealedBlock &b : bench.cache->takeSealed()) {
            std::vector<std::uint64_t> content;
            for (std::size_t r = 0; r < kBlock; ++r)
                content.push_back(row(b.group.value, b.block, r));
            if (below(3) == 0)
                continue; // the store declined
            disk[{b.name, b.group.value}] = content;
            bench.cache->markStored({b.name, b.group, "cpu:1", 1, 8}, b.session, b.turn);
        }
    }
    void unstore()
    {
        if (disk.empty())
            return;
        auto it = disk.begin();
        std::advance(it, std::ptrdiff_t(below(disk.size())));
        bench.cache->forgetStored(it->first.first, GroupIndex{std::uint16_t(it->first.second)}, "cpu:1", EventReason::lru);
        disk.erase(it);
    }

    // Every row that a live sequence may read holds exactly what it computed there.
    void check()
    {
        std::vector<std::vector<std::uint32_t>> references(groups, std::vector<std::uint32_t>(14));
        for (auto &[id, live] : sequences) {
            QCOMPARE(bench.cache->computedTokens(id), live.content.size());
            for (std::size_t g = 0; g < groups; ++g) {
                const auto table = bench.cache->tables(id)[g]->blocks();
                for (const BlockId b : table)
                    if (b != kNoBlock)
                        ++references[g][b.value];
                const LayerGroup &group = bench.cache->config().layout.groups[g];
                const std::size_t keep = group.kind == GroupKind::rows ? live.content.size() : group.window - 1;
                const std::size_t from = live.content.size() > keep ? live.content.size() - keep : 0;
                for (std::size_t at = from; at < live.content.size(); ++at)
                    if (at < live.gapBegin || at >= live.gapEnd)
                        QCOMPARE(row(g, table[at / kBlock], at % kBlock), mix(live.content[at], g));
            }
        }
        checkPools(references);
    }

    void checkPools(const std::vector<std::vector<std::uint32_t>> &references)
    {
        const api::PoolSnapshot snapshot = bench.cache->snapshot();
        for (std::size_t g = 0; g < groups; ++g) {
            std::set<std::uint32_t> queued;
            for (const std::uint32_t b : bench.order(std::uint16_t(g))) {
                QVERIFY(queued.insert(b).second);
                QCOMPARE(references[g][b], 0u); // never both free and held
            }
            QCOMPARE(queued.size(), std::size_t(bench.cache->available(GroupIndex{std::uint16_t(g)})));
            for (std::uint32_t b = 0; b < snapshot.groups[g].blocks.size(); ++b) {
                const api::BlockInfo &info = snapshot.groups[g].blocks[b];
                QCOMPARE(std::uint32_t(info.references), references[g][b]);
                QVERIFY(info.references > 0 || queued.contains(b) || info.state == api::BlockState::pinned);
                QVERIFY(info.node.value == 0 || info.tokens == kBlock);
            }
        }
        const api::PoolCounts c = bench.cache->counts();
        QCOMPARE(c.inUse + c.partlyFilled + c.cachedIdle + c.free, c.capacity);
        QCOMPARE(c.bytesOnDisk, std::uint64_t(8 * disk.size()));
    }

    CacheBench bench;
    std::mt19937 random;
    std::size_t groups = 0;
    std::uint64_t lastId = 0;
    std::map<SequenceId, Live> sequences;
    std::vector<std::vector<std::uint64_t>> rows; // [group][block × kBlock + row]
    std::map<std::pair<BlockName, std::uint16_t>, std::vector<std::uint64_t>> disk;
    std::size_t hitTokens = 0, restored = 0, admitted = 0;
};

// The block script's rules once more, as plainly as they can be written: lists, linear searches, whole prefixes as keys.
struct Naive {
    using Key = std::vector<TokenId>;
    struct Block {
        int references = 0;
        std::optional<Key> key;
        long sealedAt = 0;
    };
    struct Sequence {
        Key tokens;
        std::vector<int> table;
    };
    explicit Naive(int count) : blocks(std::size_t(count))
    {
        for (int i = 0; i < count; ++i)
            queue.push_back(i);
    }
    int find(const Key &key) const
    {
        int best = -1;
        for (int b = 0; b < int(blocks.size()); ++b)
            if (blocks[std::size_t(b)].key == key &&
                (best < 0 || blocks[std::size_t(b)].sealedAt < blocks[std::size_t(best)].sealedAt))
                best = b;
        return best;
    }
    std::vector<int> hits(const Key &tokens) const
    {
        std::vector<int> out;
        for (std::size_t n = kBlock; n < tokens.size(); n += kBlock) {
            const int b = find(Key(tokens.begin(), tokens.begin() + std::ptrdiff_t(n)));
            if (b < 0)
                break;
            out.push_back(b);
        }
        return out;
    }
    int allocate(int id, const Key &tokens)
    {
        const bool known = sequences.contains(id);
        const std::vector<int> hit = known ? std::vector<int>{} : hits(tokens);
        const std::size_t have = known ? sequences[id].table.size() : hit.size();
        const std::size_t fresh = (tokens.size() + kBlock - 1) / kBlock - have;
        std::size_t idle = 0;
        for (const int b : hit)
            idle += blocks[std::size_t(b)].references == 0;
        if (fresh + idle > queue.size())
            return -1;
        Sequence &s = sequences[id];
        for (const int b : hit) {
            if (blocks[std::size_t(b)].references++ == 0)
                queue.remove(b);
            s.table.push_back(b);
        }
        for (std::size_t i = 0; i < fresh; ++i) {
            const int b = queue.front();
            queue.pop_front();
            blocks[std::size_t(b)] = {.references = 1};
            s.table.push_back(b);
        }
        const std::size_t from = known ? s.tokens.size() / kBlock : hit.size();
        s.tokens = tokens;
        for (std::size_t i = from; i < tokens.size() / kBlock; ++i) {
            Block &b = blocks[std::size_t(s.table[i])];
            b.key = Key(tokens.begin(), tokens.begin() + std::ptrdiff_t((i + 1) * kBlock));
            b.sealedAt = ++clock;
        }
        return int(hit.size() * kBlock);
    }
    void release(int id)
    {
        std::list<int> blank, cached;
        for (auto b = sequences[id].table.rbegin(); b != sequences[id].table.rend(); ++b)
            if (--blocks[std::size_t(*b)].references == 0)
                (blocks[std::size_t(*b)].key ? cached : blank).push_back(*b);
        queue.splice(queue.begin(), blank);
        queue.splice(queue.end(), cached);
        sequences.erase(id);
    }
    std::vector<Block> blocks;
    std::list<int> queue;
    std::map<int, Sequence> sequences;
    long clock = 0;
};

} // namespace

class KvCacheModelTest : public QObject {
    Q_OBJECT
private slots:
    void everySequenceReadsItsOwnPast_data()
    {
        QTest::addColumn<int>("window");
        QTest::addColumn<int>("hashBits");
        QTest::addColumn<QString>("policy");
        QTest::addColumn<bool>("partial");
        QTest::addColumn<bool>("dedupe");
        QTest::newRow("plain") << 0 << 64 << "lru" << false << false;
        QTest::newRow("one bit of hash") << 0 << 1 << "lru" << false << false;
        QTest::newRow("eight bits, dedupe") << 0 << 8 << "lru" << false << true;
        QTest::newRow("partial reuse") << 0 << 64 << "lfu" << true << false;
        QTest::newRow("window") << 6 << 64 << "lru" << false << false;
        QTest::newRow("window, all options") << 9 << 8 << "fifo" << true << true;
        QTest::newRow("narrow window") << 2 << 64 << "lfu" << true << false;
    }
    void everySequenceReadsItsOwnPast()
    {
        QFETCH(int, window);
        QFETCH(int, hashBits);
        QFETCH(QString, policy);
        QFETCH(bool, partial);
        QFETCH(bool, dedupe);
        std::size_t hits = 0, restores = 0;
        for (std::uint32_t seed = 1; seed <= 8; ++seed) {
            World world(seed, [&](KvCacheConfig &c) {
                c.fastHashBits = hashBits;
                c.policy = policy.toStdString();
                c.partialReuse = partial;
                c.dedupe = dedupe;
                c.maxGhosts = 20;
                if (window > 0)
                    windowGroup(std::uint32_t(window))(c);
            });
            for (int i = 0; i < 600; ++i) {
                world.step();
                world.check();
                if (QTest::currentTestFailed())
                    QFAIL(qPrintable(QString("seed %1, step %2").arg(seed).arg(i)));
            }
            hits += world.hitTokens;
            restores += world.restored;
        }
        QVERIFY(hits > 2000); // the histories do what they are for
        QVERIFY(restores > 20);
    }

    void agreesWithANaiveImplementation()
    {
        std::size_t hits = 0, refusals = 0;
        for (std::uint32_t seed = 1; seed <= 20; ++seed) {
            std::mt19937 random(seed);
            const auto below = [&](std::size_t n) { return random() % n; };
            CacheBench b(12);
            Naive naive(12);
            std::map<int, std::vector<TokenId>> live;
            int last = 0;
            for (int step = 0; step < 400; ++step) {
                const std::size_t what = below(3);
                if (what == 0 || live.empty()) {
                    std::vector<TokenId> tokens(1 + below(24), TokenId(below(2)));
                    if (below(3) == 0)
                        tokens[below(tokens.size())] = 5;
                    const int hit = b.run(std::uint64_t(++last), tokens);
                    QCOMPARE(hit, naive.allocate(last, tokens));
                    hits += std::size_t(std::max(hit, 0));
                    refusals += hit < 0;
                    if (hit >= 0)
                        live[last] = tokens;
                } else {
                    auto it = live.begin();
                    std::advance(it, std::ptrdiff_t(below(live.size())));
                    auto &[id, tokens] = *it;
                    if (what == 1) {
                        const std::vector<TokenId> more(1 + below(9), TokenId(below(2)));
                        std::vector<CopyOrder> copies;
                        const bool fits = b.cache->reserve(SequenceId{std::uint64_t(id)}, tokens.size() + more.size(), copies);
                        QCOMPARE(fits, naive.allocate(id, tokens + more) >= 0);
                        QVERIFY(copies.empty());
                        if (fits) {
                            b.cache->append(SequenceId{std::uint64_t(id)}, more);
                            tokens = tokens + more;
                        }
                    } else {
                        b.end(std::uint64_t(id));
                        naive.release(id);
                        live.erase(it);
                    }
                }
                const auto order = b.order();
                QCOMPARE(std::vector<int>(order.begin(), order.end()),
                         std::vector<int>(naive.queue.begin(), naive.queue.end()));
                for (const auto &[id, tokens] : live) {
                    const auto table = b.table(std::uint64_t(id));
                    QCOMPARE(std::vector<int>(table.begin(), table.end()), naive.sequences[id].table);
                }
            }
        }
        QVERIFY(hits > 1000);
        QVERIFY(refusals > 50);
    }
};

KVILT_TEST_CLASS(KvCacheModelTest)
#include "tst_kv_cache_model.moc"
