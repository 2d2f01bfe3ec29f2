// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/engine.h"
#include "engine/kv/kv_cache.h"
#include "engine/store/kv_store.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "tests/support/tiny_model.h"

#include <QTemporaryDir>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace kvilt::test {

// A tiny model on the disk and engines on it.
class EngineFixture {
public:
    explicit EngineFixture(TinyModelOptions options = {})
    {
        path = folder.filePath("tiny.gguf").toStdString();
        if (!writeTinyModel(path, options))
            qFatal("cannot write the tiny model");
        auto opened = loadModel(path);
        if (!opened)
            qFatal("%s", opened.error().message.c_str());
        loaded = std::move(*opened);
    }

    EngineOptions options() const
    {
        EngineOptions o{.model = loaded};
        o.settings.threads = 2;
        o.settings.kvBlocks = 256;
        return o;
    }
    static std::unique_ptr<Engine> make(EngineOptions o)
    {
        auto engine = Engine::create(std::move(o));
        if (!engine)
            qFatal("%s", engine.error().message.c_str());
        return std::move(*engine);
    }
    std::unique_ptr<store::KvStore> openStore(const QString &name = "kvcache.db") const
    {
        auto kv = store::KvStore::open({.file = folder.filePath(name).toStdString()});
        if (!kv)
            qFatal("%s", kv.error().message.c_str());
        return std::move(*kv);
    }
    std::vector<TokenId> randomTokens(std::size_t count, std::uint64_t seed) const
    {
        Random random(seed);
        std::vector<TokenId> tokens;
        for (std::size_t i = 0; i < count; ++i)
            tokens.push_back(TokenId(3 + random.below(256)));
        return tokens;
    }

    QTemporaryDir folder;
    std::string path;
    LoadedModel loaded;
};

struct Finished {
    std::vector<TokenId> tokens;
    std::string text, problem;
    api::FinishReason reason = api::FinishReason::stop;
    SequenceStats stats;
    LookupRecord lookup;
};

// Steps until nothing is left; results by sequence.
inline std::map<std::uint64_t, Finished> runAll(Engine &engine)
{
    std::map<std::uint64_t, Finished> out;
    auto take = [&] {
        for (SequenceOutput &o : engine.takeOutputs()) {
            Finished &f = out[o.sequence.value];
            f.tokens.insert(f.tokens.end(), o.tokens.begin(), o.tokens.end());
            f.text += o.text;
            f.stats = o.stats;
            f.reason = o.reason;
            f.problem = o.problem;
            f.lookup = o.lookup;
        }
    };
    while (!engine.idle()) {
        const auto step = engine.step();
        if (!step)
            qFatal("%s", step.error().message.c_str());
        take();
    }
    take();
    return out;
}

inline Finished runOne(Engine &engine, Request request)
{
    const auto id = engine.submit(std::move(request));
    if (!id)
        qFatal("%s", id.error().message.c_str());
    return runAll(engine).at(id->value);
}

// Logits after each prompt token from `from` on.
inline std::vector<float> logitsOf(Engine &engine, Request request, std::int32_t from = 0)
{
    std::vector<float> rows;
    request.sampling.maxTokens = 0;
    request.logitsFrom = from;
    request.logitSink = [&](std::int32_t, std::span<const float> row) {
        rows.insert(rows.end(), row.begin(), row.end());
    };
    runOne(engine, std::move(request));
    return rows;
}

inline bool sameBits(const std::vector<float> &a, const std::vector<float> &b)
{
    return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

} // namespace kvilt::test
