// SPDX-License-Identifier: Apache-2.0
#include "engine/sim/replay.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <algorithm>
#include <cmath>
#include <list>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>
#include <tuple>

using namespace kvilt;

namespace {

using Requests = std::vector<std::vector<int>>;

std::string text(const Requests &requests)
{
    std::string out;
    for (const auto &ids : requests)
        out += nlohmann::json{{"timestamp", 1}, {"input_length", 5}, {"output_length", 1}, {"hash_ids", ids}}.dump() + "\n";
    return out;
}

Result<sim::TraceResult> replay(const std::string &trace, std::uint64_t blocks, std::string_view policy)
{
    std::istringstream in(trace);
    return sim::runTrace(in, blocks, policy);
}

std::size_t prefixRun(const std::set<int> &resident, const std::vector<int> &ids)
{
    std::size_t run = 0;
    while (run < ids.size() && resident.contains(ids[run]))
        ++run;
    return run;
}

std::size_t total(const Requests &requests)
{
    std::size_t sum = 0;
    for (const auto &r : requests)
        sum += r.size();
    return sum;
}

// The rules of the optimum once more, with linear searches: where the next use of every resident block is looked up anew.
double naiveBelady(const Requests &requests, std::size_t blocks)
{
    std::set<int> resident;
    std::size_t hits = 0;
    for (std::size_t r = 0; r < requests.size(); ++r) {
        const std::vector<int> &ids = requests[r];
        hits += prefixRun(resident, ids);
        for (std::size_t i = 0; i < std::min(blocks, ids.size()); ++i) {
            const auto nextUse = [&](int id) {
                std::size_t distance = 0;
                for (std::size_t later = r; later < requests.size(); ++later)
                    for (std::size_t k = later == r ? i : 0; k < requests[later].size(); ++k, ++distance)
                        if (requests[later][k] == id && (later > r || resident.contains(id)))
                            return distance;
                return std::size_t(1) << 60;
            };
            if (resident.contains(ids[i]))
                continue;
            if (resident.size() == blocks)
                resident.erase(*std::max_element(resident.begin(), resident.end(),
                                                 [&](int a, int b) { return nextUse(a) < nextUse(b); }));
            resident.insert(ids[i]);
        }
    }
    return double(hits) / double(total(requests));
}

struct LruOutcome {
    double hitRatio = 0;
    std::size_t evictions = 0, regretted = 0;
};
LruOutcome naiveLru(const Requests &requests, std::size_t blocks)
{
    std::list<int> order; // front: next to go
    std::set<int> evicted;
    LruOutcome out;
    std::size_t hits = 0;
    for (const auto &ids : requests) {
        hits += prefixRun({order.begin(), order.end()}, ids);
        for (const int id : ids)
            out.regretted += evicted.erase(id);
        const std::size_t kept = std::min(blocks, ids.size());
        for (std::size_t i = kept; i-- > 0;) {
            order.remove(ids[i]);
            order.push_back(ids[i]);
        }
        for (; order.size() > blocks; ++out.evictions) {
            evicted.insert(order.front());
            order.pop_front();
        }
    }
    out.hitRatio = double(hits) / double(total(requests));
    return out;
}

// The best that any choice of victims can do, found by trying all of them at every single block that comes in.
struct AllChoices {
    const Requests &requests;
    std::size_t blocks;
    std::map<std::tuple<std::size_t, std::size_t, std::set<int>>, std::size_t> known = {};

    std::size_t best(std::size_t request, std::size_t at, const std::set<int> &resident)
    {
        if (request == requests.size())
            return 0;
        const std::vector<int> &ids = requests[request];
        if (at == std::min(blocks, ids.size()))
            return best(request + 1, 0, resident);
        const auto key = std::tuple(request, at, resident);
        if (const auto found = known.find(key); found != known.end())
            return found->second;
        const std::size_t now = at == 0 ? prefixRun(resident, ids) : 0;
        std::size_t later = 0;
        if (resident.contains(ids[at]) || resident.size() < blocks) {
            std::set<int> next = resident;
            next.insert(ids[at]);
            later = best(request, at + 1, next);
        } else {
            for (const int victim : resident) {
                std::set<int> next = resident;
                next.erase(victim);
                next.insert(ids[at]);
                later = std::max(later, best(request, at + 1, next));
            }
        }
        return known[key] = now + later;
    }
};

// Prompts of a tree: equal ids, equal path.
Requests randomTrace(std::uint32_t seed, std::size_t requests, int branches, std::size_t depth)
{
    std::mt19937 random(seed);
    std::map<std::pair<int, int>, int> ids;
    Requests out;
    for (std::size_t r = 0; r < requests; ++r) {
        std::vector<int> request;
        int parent = -1;
        for (std::size_t d = 1 + random() % depth; d > 0; --d) {
            const std::pair step(parent, int(random() % std::uint32_t(branches)));
            parent = ids.emplace(step, int(ids.size())).first->second;
            request.push_back(parent);
        }
        out.push_back(request);
    }
    return out;
}

} // namespace

class TraceReplayTest : public QObject {
    Q_OBJECT
private slots:
    void countsHitsOfASmallTrace()
    {
        // 1 2 3 · 1 2 4: 2 hits · 5: evicts the oldest tail, 3 · 1 2 3: 2 hits and a regret
        const auto r = replay(text({{1, 2, 3}, {1, 2, 4}, {5}, {1, 2, 3}}), 4, "lru");
        QVERIFY(r.has_value());
        QCOMPARE(r->requests, std::uint64_t(4));
        QCOMPARE(r->blocksReferenced, std::uint64_t(10));
        QCOMPARE(r->hitRatio, 0.4);
        QCOMPARE(r->infiniteHitRatio, 0.5);
        QCOMPARE(r->evictions, std::uint64_t(2));
        QCOMPARE(r->regrettedEvictions, std::uint64_t(1));
        QCOMPARE(r->optimalHitRatio, 0.5);
        const auto keys = nlohmann::json::parse(sim::toJson(*r));
        for (const char *key : {"requests", "blocks_referenced", "hit_ratio", "infinite_hit_ratio", "optimal_hit_ratio",
                                "evictions", "regretted_evictions", "ns_per_block"})
            QVERIFY(keys.contains(key));
    }

    void aRequestLargerThanThePoolKeepsItsFirstBlocks()
    {
        const auto r = replay(text({{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}}), 3, "lru");
        QCOMPARE(r->hitRatio, 0.3);
        QCOMPARE(r->evictions, std::uint64_t(0));
    }

    void lruAgreesWithANaiveList()
    {
        for (std::uint32_t seed = 1; seed <= 40; ++seed) {
            const Requests requests = randomTrace(seed, 60, 3, 6);
            const std::size_t blocks = 2 + seed % 20;
            const auto naive = naiveLru(requests, blocks);
            const auto r = replay(text(requests), blocks, "lru");
            QCOMPARE(r->hitRatio, naive.hitRatio);
            QCOMPARE(r->evictions, std::uint64_t(naive.evictions));
            QCOMPARE(r->regrettedEvictions, std::uint64_t(naive.regretted));
        }
    }

    void beladyAgreesWithANaiveSearch()
    {
        for (std::uint32_t seed = 1; seed <= 40; ++seed) {
            const Requests requests = randomTrace(seed, 50, 3, 6);
            const std::size_t blocks = 2 + seed % 20;
            const auto r = replay(text(requests), blocks, "belady");
            QCOMPARE(r->hitRatio, naiveBelady(requests, blocks));
            QCOMPARE(r->optimalHitRatio, r->hitRatio);
        }
    }

    void noChoiceOfVictimsBeatsBelady()
    {
        for (std::uint32_t seed = 1; seed <= 30; ++seed) {
            Requests requests; // single references: Belady's own case
            std::mt19937 random(seed);
            for (int i = 0; i < 14; ++i)
                requests.push_back({int(random() % 6)});
            for (const std::size_t blocks : {2, 3, 4}) {
                const std::size_t best = AllChoices{requests, blocks}.best(0, 0, {});
                QCOMPARE(replay(text(requests), blocks, "lru")->optimalHitRatio, double(best) / double(total(requests)));
            }
        }
    }

    // Where runs from the start count, all choices together may find one hit more, and seldom do.
    void onTreesBeladyIsWithinOneHitOfEveryChoice()
    {
        int better = 0;
        for (std::uint32_t seed = 1; seed <= 60; ++seed) {
            const Requests requests = randomTrace(seed, 9, 2, 3);
            for (const std::size_t blocks : {3, 5}) {
                const auto best = std::int64_t(AllChoices{requests, blocks}.best(0, 0, {}));
                const auto hits = std::llround(replay(text(requests), blocks, "lru")->optimalHitRatio * double(total(requests)));
                QVERIFY(hits <= best && best <= hits + 1);
                better += best > hits ? 1 : 0;
            }
        }
        QVERIFY(better <= 12);
    }

    // A prompt that nobody asks for again passes through one block; a policy that keeps it whole loses the others.
    void theOptimumMayEvictWhatTheSameRequestBroughtIn()
    {
        const auto r = replay(text({{1, 2}, {7, 8, 9}, {1, 2}}), 3, "lru");
        QCOMPARE(r->hitRatio, 0.0);
        QCOMPARE(r->optimalHitRatio, 2.0 / 7);
        QCOMPARE(replay(text({{1, 2}, {7, 8, 9}, {1, 2}}), 3, "belady")->evictions, std::uint64_t(2));
    }

    void noPolicyBeatsTheOptimumNorTheOptimumAnInfinitePool()
    {
        for (std::uint32_t seed = 1; seed <= 10; ++seed) {
            const std::string trace = text(randomTrace(seed, 400, 4, 8));
            for (const char *policy : {"lru", "fifo", "lfu", "belady"}) {
                const auto r = replay(trace, 60, policy);
                QVERIFY(r->hitRatio <= r->optimalHitRatio);
                QVERIFY(r->optimalHitRatio <= r->infiniteHitRatio);
                QVERIFY(r->regrettedEvictions <= r->evictions);
                const auto roomy = replay(trace, 1ull << 63, policy);
                QCOMPARE(roomy->hitRatio, roomy->infiniteHitRatio);
                QCOMPARE(roomy->evictions, std::uint64_t(0));
            }
        }
    }

    void theSameIdTwiceInARequestIsHarmless()
    {
        const auto r = replay(text({{1, 1, 2, 1}, {1, 1, 2}}), 2, "lru");
        QVERIFY(r.has_value());
        QCOMPARE(r->blocksReferenced, std::uint64_t(7));
    }

    void emptyTracesGiveZeros()
    {
        for (const char *trace : {"", "\n\n", "{\"hash_ids\":[]}\n"}) {
            const auto r = replay(trace, 3, "lru");
            QVERIFY(r.has_value());
            QCOMPARE(r->hitRatio, 0.0);
            QCOMPARE(r->nsPerBlock, 0.0);
        }
    }

    void aMalformedTraceNamesItsLine()
    {
        const std::string good = text({{1, 2}});
        const auto problem = [](const std::string &trace) {
            const auto r = replay(trace, 3, "lru");
            return r ? std::string() : r.error().message;
        };
        for (const char *line : {"{", "[]", "{}", "{\"hash_ids\":3}", "{\"hash_ids\":[-1]}", "{\"hash_ids\":[1.5]}",
                                 "{\"hash_ids\":[\"a\"]}", "{\"hash_ids\":[1,null]}"}) {
            const std::string message = problem(good + good + line);
            QVERIFY2(message.find("Line 3") != std::string::npos, line);
        }
        QVERIFY(problem("{\"hash_ids\":[18446744073709551615]}").empty());
        QVERIFY(replay(good, 0, "lru").error().message.find("at least 1") != std::string::npos);
        QVERIFY(replay(good, 3, "best").error().message.find("lru, fifo, lfu or belady") != std::string::npos);
    }
};

KVILT_TEST_CLASS(TraceReplayTest)
#include "tst_trace_replay.moc"
