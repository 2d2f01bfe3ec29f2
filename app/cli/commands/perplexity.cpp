// SPDX-License-Identifier: Apache-2.0
#include "app/cli/input.h"
#include "app/cli/runtime.h"
#include "app/settings/settings.h"
#include "engine/model/model.h"
#include "engine/sched/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

namespace kvilt::cli {

namespace {

struct PerplexityOptions {
    ModelOptions model;
    std::string textFile, against;
    std::int64_t window = 512;
};

// ln of the sum of exp of a row, in double: a window's mean must not depend on how large the vocabulary is.
double logSumExp(std::span<const float> row)
{
    const double best = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (float x : row)
        sum += std::exp(double(x) - best);
    return best + std::log(sum);
}

// Σ p (ln p − ln q) over a row, p the reference.
double divergence(std::span<const float> reference, std::span<const float> tested)
{
    const double lp = logSumExp(reference), lq = logSumExp(tested);
    double sum = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
        const double logP = double(reference[i]) - lp;
        if (const double p = std::exp(logP); p > 0)
            sum += p * (logP - (double(tested[i]) - lq));
    }
    return sum;
}

// As llama-perplexity: windows of `size` tokens without overlap, each beginning with BOS where the vocabulary has
// one; only the second half is scored, so that every scored token has at least half a window before it.
struct Windows {
    std::vector<TokenId> tokens;
    std::size_t size = 0, count = 0, firstScored = 0;
    TokenId bos = -1;

    std::vector<TokenId> window(std::size_t i) const
    {
        std::vector<TokenId> out(tokens.begin() + std::ptrdiff_t(i * size),
                                 tokens.begin() + std::ptrdiff_t((i + 1) * size));
        if (bos >= 0)
            out.front() = bos;
        return out;
    }
};

Result<Windows> windowsOf(const PerplexityOptions &options, const LoadedModel &model)
{
    const auto context = std::int64_t(model.model->description().contextLength);
    if (options.window < 2 || options.window > context)
        return fail(ErrorCode::badInput, "--ctx must be between 2 and the model's context of " +
                                             std::to_string(context) + ", not " + std::to_string(options.window));
    KVILT_TRY(const std::string text, readFile(options.textFile));
    KVILT_TRY(text::Encoding encoding, model.tokenizer->encode(text));
    Windows windows{.tokens = std::move(encoding.ids), .size = std::size_t(options.window)};
    windows.count = windows.tokens.size() / windows.size;
    windows.firstScored = windows.size / 2;
    windows.bos = model.tokenizer->addsBos() ? model.tokenizer->bos() : -1;
    if (windows.count == 0)
        return fail(ErrorCode::badInput, options.textFile + " has " + std::to_string(windows.tokens.size()) +
                                             " tokens, one window needs " + std::to_string(windows.size) +
                                             "; give a longer text or a smaller --ctx");
    return windows;
}

using RowSink = std::function<void(std::size_t position, std::span<const float> row)>;

Result<void> computeWindow(Engine &engine, std::vector<TokenId> tokens, std::size_t from, const RowSink &sink)
{
    Request request{.tokens = std::move(tokens), .sampling = {.maxTokens = 0}, .useCache = false,
                    .logitsFrom = std::int32_t(from)};
    request.logitSink = [&](std::int32_t position, std::span<const float> row) { sink(std::size_t(position), row); };
    KVILT_TRY_VOID(engine.submit(std::move(request)));
    Result<void> outcome;
    KVILT_TRY_VOID(drive(engine, [&](SequenceOutput output) -> Result<void> {
        if (output.finished && output.reason == api::FinishReason::cancelled)
            outcome = fail(ErrorCode::cancelled, "stopped");
        else if (output.finished && output.reason == api::FinishReason::error)
            outcome = fail(ErrorCode::device, output.problem);
        return {};
    }));
    return outcome;
}

struct Score {
    double nll = 0;
    std::size_t tokens = 0, sameTop = 0;
    std::vector<double> divergences;

    double perplexity() const { return std::exp(nll / double(tokens)); }
    double mean() const
    {
        double sum = 0;
        for (double d : divergences)
            sum += d;
        return sum / double(divergences.size());
    }
    double quantile(double q)
    {
        const auto at = std::size_t(q * double(divergences.size() - 1) + 0.5);
        std::nth_element(divergences.begin(), divergences.begin() + std::ptrdiff_t(at), divergences.end());
        return divergences[at];
    }
};

Result<void> scoreWindow(Engine &tested, Engine *reference, const Windows &windows, std::size_t index, Score &score)
{
    const std::vector<TokenId> tokens = windows.window(index);
    const std::size_t from = windows.firstScored, end = windows.size - 1; // the last row has no next token
    std::vector<float> rows;
    std::size_t width = 0;
    if (reference != nullptr)
        KVILT_TRY_VOID(computeWindow(*reference, tokens, from, [&](std::size_t position, std::span<const float> row) {
            width = row.size();
            if (position < end)
                rows.insert(rows.end(), row.begin(), row.end());
        }));
    return computeWindow(tested, tokens, from, [&](std::size_t position, std::span<const float> row) {
        if (position >= end)
            return;
        score.nll += logSumExp(row) - double(row[std::size_t(tokens[position + 1])]);
        ++score.tokens;
        if (reference == nullptr)
            return;
        const auto expected = std::span<const float>(rows).subspan((position - from) * width, width);
        score.divergences.push_back(divergence(expected, row));
        score.sameTop += sched::argMax(expected) == sched::argMax(row) ? 1 : 0;
    });
}

Result<void> perplexity(const Cli &cli, const PerplexityOptions &options)
{
    KVILT_TRY(api::EngineSettings settings, options.model.resolve());
    settings.cache = false;
    KVILT_TRY(const LoadedModel model, loadModel(options.model.model));
    KVILT_TRY(const Windows windows, windowsOf(options, model));
    settings.contextLength = int(options.window);
    KVILT_TRY(const auto tested, makeEngine(model, settings, nullptr, [](EngineOptions &o) { o.chunk = 64; }));
    std::unique_ptr<Engine> reference;
    if (!options.against.empty()) {
        KVILT_TRY_VOID(settings::parseKvType(options.against, settings));
        KVILT_TRY(reference, makeEngine(model, settings, nullptr, [](EngineOptions &o) { o.chunk = 64; }));
    }
    Score score;
    for (std::size_t i = 0; i < windows.count; ++i) {
        KVILT_TRY_VOID(scoreWindow(*tested, reference.get(), windows, i, score));
        std::fprintf(stderr, "\rwindow %zu of %zu: perplexity %.4f ", i + 1, windows.count, score.perplexity());
    }
    std::fprintf(stderr, "\n");
    nlohmann::json out = {{"perplexity", score.perplexity()}, {"tokens", score.tokens}};
    if (reference) {
        out["kld_mean"] = score.mean();
        out["kld_p999"] = score.quantile(0.999);
        out["same_top1"] = double(score.sameTop) / double(score.tokens);
    }
    if (cli.json)
        printJson(out);
    else
        for (const auto &[key, value] : out.items())
            std::printf("%-12s %s\n", key.c_str(), value.dump().c_str());
    return {};
}

} // namespace

void addPerplexity(Cli &cli)
{
    auto options = std::make_shared<PerplexityOptions>();
    Command command = cli.add("perplexity", "How well the model predicts a text; what a KV type costs",
                                [&cli, options] { return perplexity(cli, *options); });
    options->model.addTo(command);
    command.option("--text-file", options->textFile, "The text").required();
    command.option("--ctx", options->window, "Tokens a window").showDefault();
    command.option("--against", options->against, "Reference KV type: adds the KL divergence to it");
}

} // namespace kvilt::cli
