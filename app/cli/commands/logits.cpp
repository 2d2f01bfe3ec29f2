// SPDX-License-Identifier: Apache-2.0
#include "app/cli/input.h"
#include "app/cli/runtime.h"
#include "engine/model/model.h"
#include "engine/support/new_file.h"

#include <cstdio>
#include <memory>

namespace kvilt::cli {

namespace {

constexpr std::int64_t kDefaultChunk = 64; // a chunk's rows are held at once: 64 × 262,144 floats are 64 MiB

struct LogitsOptions {
    ModelOptions model;
    std::string tokensFile, out;
    std::int64_t chunk = kDefaultChunk, last = 0;
};

Result<void> logits(const Cli &cli, const LogitsOptions &options)
{
    KVILT_TRY(api::EngineSettings settings, options.model.resolve());
    settings.cache = false; // every logit is computed here
    if (options.chunk < 1 || options.chunk > 1 << 30 || options.last < 0)
        return fail(ErrorCode::badInput, "--chunk must be at least 1 and --last at least 0");
    KVILT_TRY(const LoadedModel model, loadModel(options.model.model));
    const std::uint32_t vocabulary = model.model->description().vocabulary;
    KVILT_TRY(const std::vector<TokenId> tokens, readTokens(options.tokensFile, vocabulary));
    KVILT_TRY(const auto engine, makeEngine(model, settings, nullptr, [&](EngineOptions &o) {
                  o.chunk = std::uint32_t(options.chunk);
              }));
    KVILT_TRY(NewFile file, NewFile::create(options.out, {.stream = true}));

    const auto count = std::int64_t(tokens.size());
    const std::int64_t rows = options.last > 0 ? std::min(options.last, count) : count;
    Result<void> written;
    Request request{.tokens = tokens, .sampling = {.maxTokens = 0}, .useCache = false,
                    .logitsFrom = std::int32_t(count - rows)};
    request.logitSink = [&](std::int32_t, std::span<const float> row) {
        if (written)
            written = file.write(row.data(), row.size_bytes()); // this machine is little-endian, as the file
    };
    KVILT_TRY_VOID(engine->submit(std::move(request)));
    api::FinishReason reason = api::FinishReason::stop;
    std::string problem;
    KVILT_TRY_VOID(drive(*engine, [&](SequenceOutput output) -> Result<void> {
        reason = output.reason;
        problem = output.problem;
        return {};
    }));
    KVILT_TRY_VOID(written);
    if (reason == api::FinishReason::cancelled || reason == api::FinishReason::error)
        return fail(ErrorCode::cancelled, problem.empty() ? "stopped; nothing was written" : problem);
    KVILT_TRY_VOID(file.commit());
    if (cli.json)
        printJson({{"rows", rows}, {"vocab_size", vocabulary}});
    else
        std::printf("%lld rows of %u logits in %s\n", (long long)rows, vocabulary, options.out.c_str());
    return {};
}

} // namespace

void addLogits(Cli &cli)
{
    auto options = std::make_shared<LogitsOptions>();
    Command command = cli.add("logits", "Raw logits after each token, as float32",
                                [&cli, options] { return logits(cli, *options); });
    options->model.addTo(command);
    command.option("--tokens-file", options->tokensFile, "JSON array of ids").required();
    command.option("--out", options->out, "File to write: little-endian float32 [rows, vocab_size]").required();
    command.option("--chunk", options->chunk, "Tokens computed in one step").showDefault();
    command.option("--last", options->last, "Only the last K rows");
}

} // namespace kvilt::cli
