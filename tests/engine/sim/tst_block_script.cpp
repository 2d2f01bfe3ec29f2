// SPDX-License-Identifier: Apache-2.0
#include "engine/sim/replay.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <nlohmann/json.hpp>
#include <sstream>

using namespace kvilt;
using nlohmann::json;

// QCOMPARE of two JSON values sets off nlohmann's conversions to every type that Qt knows.
#define COMPARE_JSON(a, b) QCOMPARE((a).dump(), (b).dump())

namespace {

struct Outcome {
    std::vector<json> steps;
    std::string error;
};

Outcome play(const std::string &script)
{
    Outcome out;
    std::istringstream in(script);
    const auto done = sim::runBlockScript(in, [&](std::string_view line) { out.steps.push_back(json::parse(line)); });
    if (!done)
        out.error = done.error().message;
    return out;
}

std::string play(const json &stage, const std::vector<json> &operations)
{
    std::string script = stage.dump() + "\n";
    for (const json &op : operations)
        script += op.dump() + "\n";
    return script;
}

json repeat(std::initializer_list<std::pair<int, int>> runs)
{
    json out = json::array();
    for (const auto &[count, token] : runs)
        for (int i = 0; i < count; ++i)
            out.push_back(token);
    return out;
}

json alloc(int req, const json &tokens) { return {{"op", "alloc"}, {"req", req}, {"tokens", tokens}}; }
json release(int req) { return {{"op", "free"}, {"req", req}}; }
const json kStage = {{"block_size", 16}, {"blocks", 10}, {"policy", "lru"}};

} // namespace

class BlockScriptTest : public QObject {
    Q_OBJECT
private slots:
    void theWorkedExample()
    {
        const auto out = play(play(kStage, {alloc(0, repeat({{16, 0}, {16, 1}, {16, 2}, {3, 7}})),
                                            alloc(1, repeat({{16, 0}, {16, 1}, {16, 2}, {3, 5}})), release(0),
                                            release(1)}));
        QVERIFY(out.error.empty());
        COMPARE_JSON(out.steps[0],
                 json::parse(R"({"step":1,"ok":true,"hit_tokens":0,"new_blocks":[1,2,3,4],"block_table":[1,2,3,4],
                                 "free":6,"eviction_order":[5,6,7,8,9,10],"events":[{"type":"stored","blocks":3}]})"));
        COMPARE_JSON(out.steps[1],
                 json::parse(R"({"step":2,"ok":true,"hit_tokens":48,"new_blocks":[5],"block_table":[1,2,3,5],
                                 "free":5,"eviction_order":[6,7,8,9,10],"events":[]})"));
        COMPARE_JSON(out.steps[2]["eviction_order"], json({4, 6, 7, 8, 9, 10}));
        COMPARE_JSON(out.steps[2]["free"], json(6));
        COMPARE_JSON(out.steps[3]["eviction_order"], json({5, 4, 6, 7, 8, 9, 10, 3, 2, 1}));
        COMPARE_JSON(out.steps[3]["free"], json(10));
    }

    void refusalsChangeNothing()
    {
        json small = kStage;
        small["blocks"] = 3;
        const auto out = play(play(small, {alloc(0, repeat({{17, 1}})), alloc(1, repeat({{40, 2}})),
                                           alloc(0, repeat({{16, 1}, {2, 3}})), alloc(0, repeat({{4, 1}})),
                                           alloc(0, repeat({{60, 1}})), release(7), alloc(0, repeat({{33, 1}}))}));
        for (const std::size_t step : {1, 2, 3, 4, 5}) {
            COMPARE_JSON(out.steps[step]["ok"], json(false));
            COMPARE_JSON(out.steps[step]["eviction_order"], json({3}));
            COMPARE_JSON(out.steps[step]["events"], json::array());
        }
        COMPARE_JSON(out.steps[1]["block_table"], json::array());
        COMPARE_JSON(out.steps[4]["block_table"], json({1, 2}));
        COMPARE_JSON(out.steps[6]["ok"], json(true));
        COMPARE_JSON(out.steps[6]["new_blocks"], json({3}));
        COMPARE_JSON(out.steps[6]["hit_tokens"], json(0));
        COMPARE_JSON(out.steps[6]["events"], json::parse(R"([{"type":"stored","blocks":1}])"));
    }

    void overwritingCachedBlocksIsToldBeforeWhatWasStored()
    {
        json small = kStage;
        small["blocks"] = 3;
        const auto out = play(play(small, {alloc(0, repeat({{33, 1}})), release(0), alloc(1, repeat({{32, 2}}))}));
        COMPARE_JSON(out.steps[2]["new_blocks"], json({3, 2}));
        COMPARE_JSON(out.steps[2]["events"],
                 json::parse(R"([{"type":"removed","block":2},{"type":"stored","blocks":2}])"));
    }

    void lookupChangesNothing()
    {
        const json tokens = repeat({{33, 1}});
        const auto out = play(play(kStage, {alloc(0, tokens), release(0), {{"op", "lookup"}, {"tokens", tokens}},
                                            {{"op", "lookup"}, {"tokens", tokens}, {"salt", "x"}},
                                            {{"op", "lookup"}, {"tokens", repeat({{32, 1}})}}}));
        COMPARE_JSON(out.steps[2]["hit_blocks"], json({1, 2}));
        COMPARE_JSON(out.steps[3]["hit_blocks"], json::array());
        COMPARE_JSON(out.steps[4]["hit_blocks"], json({1}));
        COMPARE_JSON(out.steps[4]["eviction_order"], out.steps[1]["eviction_order"]);
        COMPARE_JSON(out.steps[2]["events"], json::array());
    }

    void resetWaitsForTheLastHolder()
    {
        const json reset = {{"op", "reset"}};
        const auto out =
            play(play(kStage, {alloc(0, repeat({{32, 1}})), reset, release(0), reset, alloc(1, repeat({{33, 1}}))}));
        COMPARE_JSON(out.steps[1]["ok"], json(false));
        COMPARE_JSON(out.steps[1]["events"], json::array());
        COMPARE_JSON(out.steps[3]["ok"], json(true));
        COMPARE_JSON(out.steps[3]["events"], json::parse(R"([{"type":"cleared"}])"));
        COMPARE_JSON(out.steps[4]["hit_tokens"], json(0));
        COMPARE_JSON(out.steps[4]["events"], json::parse(R"([{"type":"stored","blocks":2}])"));
    }

    void withoutLookupBlocksAreNewButSealed()
    {
        json second = alloc(1, repeat({{17, 1}}));
        second["lookup"] = false;
        const auto out = play(play(kStage, {alloc(0, repeat({{17, 1}})), second, release(0),
                                            {{"op", "lookup"}, {"tokens", repeat({{17, 1}})}}}));
        COMPARE_JSON(out.steps[1]["hit_tokens"], json(0));
        COMPARE_JSON(out.steps[1]["new_blocks"], json({3, 4}));
        COMPARE_JSON(out.steps[1]["events"], json::parse(R"([{"type":"stored","blocks":1}])"));
        COMPARE_JSON(out.steps[3]["hit_blocks"], json({1})); // the earliest survivor
    }

    void dedupeReplacesTheLaterBlock()
    {
        json stage = kStage;
        stage["dedupe"] = true;
        const auto out = play(play(stage, {alloc(0, repeat({{16, 1}})), alloc(1, repeat({{16, 1}}))}));
        COMPARE_JSON(out.steps[1]["block_table"], json({1}));
        COMPARE_JSON(out.steps[1]["events"], json::array());
        COMPARE_JSON(out.steps[1]["eviction_order"], json({2, 3, 4, 5, 6, 7, 8, 9, 10}));
    }

    void partialReuseCountsTheCopiedPart()
    {
        json stage = kStage;
        stage["partial_reuse"] = true;
        const auto out = play(play(stage, {alloc(0, repeat({{16, 1}, {16, 2}})), release(0),
                                           alloc(1, repeat({{16, 1}, {10, 2}, {6, 3}}))}));
        COMPARE_JSON(out.steps[2]["hit_tokens"], json(26));
        COMPARE_JSON(out.steps[2]["new_blocks"], json({3}));
        COMPARE_JSON(out.steps[2]["block_table"], json({1, 3}));
    }

    void cachingOffHitsNothing()
    {
        json stage = kStage;
        stage["caching"] = false;
        const auto out =
            play(play(stage, {alloc(0, repeat({{40, 1}})), release(0), alloc(1, repeat({{40, 1}}))}));
        COMPARE_JSON(out.steps[0]["events"], json::array());
        COMPARE_JSON(out.steps[1]["eviction_order"], json({3, 2, 1, 4, 5, 6, 7, 8, 9, 10}));
        COMPARE_JSON(out.steps[2]["hit_tokens"], json(0));
    }

    void anyBlockSizeWorks()
    {
        const auto out = play(play({{"block_size", 3}, {"blocks", 4}},
                                   {alloc(0, repeat({{7, 1}})), alloc(1, repeat({{7, 1}}))}));
        COMPARE_JSON(out.steps[1]["hit_tokens"], json(6));
        const auto one = play(play({{"block_size", 1}, {"blocks", 4}},
                                   {alloc(0, repeat({{2, 1}})), alloc(1, repeat({{4, 1}}))}));
        COMPARE_JSON(one.steps[1]["hit_tokens"], json(2));
    }

    void aMalformedScriptNamesItsLine_data()
    {
        QTest::addColumn<QString>("script");
        QTest::addColumn<QString>("says");
        const char *stage = "{\"block_size\":16,\"blocks\":4}\n";
        const auto row = [&](const char *name, QString script, QString says) { QTest::newRow(name) << script << says; };
        row("empty", "", "empty");
        row("no JSON", "{", "Line 1");
        row("no object", "[1]", "Line 1");
        row("no blocks", "{\"block_size\":16}", "\"blocks\"");
        row("blocks 0", "{\"blocks\":0}", "\"blocks\"");
        row("too many blocks", "{\"blocks\":18446744073709551615}", "\"blocks\"");
        row("block size", "{\"blocks\":4,\"block_size\":-3}", "\"block_size\"");
        row("block size is a float", "{\"blocks\":4,\"block_size\":16.0}", "\"block_size\"");
        row("policy", "{\"blocks\":4,\"policy\":\"best\"}", "lru, fifo, lfu");
        row("caching", "{\"blocks\":4,\"caching\":1}", "\"caching\"");
        row("op", QString(stage) + "\n{\"op\":\"fly\"}", "Line 3");
        row("no op", QString(stage) + "{}", "\"op\"");
        row("no tokens", QString(stage) + "{\"op\":\"alloc\",\"req\":1}", "\"tokens\"");
        row("no req", QString(stage) + "{\"op\":\"alloc\",\"tokens\":[]}", "\"req\"");
        row("token too large", QString(stage) + "{\"op\":\"lookup\",\"tokens\":[2147483648]}", "token id");
        row("token is text", QString(stage) + "{\"op\":\"lookup\",\"tokens\":[\"a\"]}", "token id");
        row("negative token", QString(stage) + "{\"op\":\"lookup\",\"tokens\":[-1]}", "token id");
        row("salt", QString(stage) + "{\"op\":\"lookup\",\"tokens\":[],\"salt\":3}", "\"salt\"");
        row("deep", QString(stage) + QString(100000, '['), "Line 2");
    }
    void aMalformedScriptNamesItsLine()
    {
        QFETCH(QString, script);
        QFETCH(QString, says);
        const auto out = play(script.toStdString());
        QVERIFY2(QString::fromStdString(out.error).contains(says), out.error.c_str());
        QVERIFY(!QString::fromStdString(out.error).contains('\n'));
    }

    void bytesThatAreNoUtf8AreNoCrash()
    {
        const auto out = play(kStage.dump() + "\n{\"op\":\"free\",\"req\":\"\xff\xfe\"}\n");
        QVERIFY(!out.error.empty() || out.steps.size() == 1);
    }
};

KVILT_TEST_CLASS(BlockScriptTest)
#include "tst_block_script.moc"
