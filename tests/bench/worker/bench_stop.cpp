// SPDX-License-Identifier: Apache-2.0
// How long Stop takes while a long prompt is computed on a big model: from the command to the finished turn, through
// the worker, with its text and state committed to sessions.db. Also how long loading takes, and what of it.
//
//   bench_stop [MODEL.gguf] [--prompt-words N] [--times N] [--threads N]
//
// Without a model one of 1.1 GB (Llama shape: width 2048, 22 layers, Q8_0, random weights) is written and removed.
#include "app/worker/engine_worker.h"
#include "engine/store/profile_paths.h"
#include "tests/support/port_driver.h"
#include "tests/support/tiny_model.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

using namespace kvilt;
namespace command = api::command;
namespace update = api::update;
using Clock = std::chrono::steady_clock;

namespace {

struct Options {
    std::string model;
    int words = 1500, times = 20, threads = 2;
};

double msSince(Clock::time_point begin)
{
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

bool writeBigModel(const std::string &path)
{
    test::TinyModelOptions big;
    big.layers = 22;
    big.width = 2048;
    big.feedForward = 5632;
    big.heads = 32;
    big.kvHeads = 4;
    big.headDim = 64;
    big.contextLength = 16384;
    return test::writeTinyModel(path, big);
}

Options parse(int count, char **values)
{
    Options options;
    for (int i = 1; i < count; ++i) {
        const auto number = [&] { return i + 1 < count ? std::atoi(values[++i]) : 0; };
        if (!std::strcmp(values[i], "--prompt-words"))
            options.words = number();
        else if (!std::strcmp(values[i], "--times"))
            options.times = number();
        else if (!std::strcmp(values[i], "--threads"))
            options.threads = number();
        else
            options.model = values[i];
    }
    return options;
}

// One long message, stopped `afterMs` after its first progress. The answer's milliseconds; negative: it ended before.
double stopOnce(test::PortDriver &window, const Options &options, int round, double afterMs)
{
    api::SessionSettings settings;
    settings.sampling.maxTokens = 16;
    settings.sampling.ignoreEos = true;
    window.post(command::CreateSession{settings});
    const SessionId session = window.await<update::SessionOpened>()->conversation.id;
    std::string text = "Round " + std::to_string(round) + ":";
    for (int i = 0; i < options.words; ++i)
        text += " w" + std::to_string((i * 7919 + round * 104729) % 100000);
    window.post(command::Send{session, text});
    const auto running = window.await<update::TurnProgress>([&](const auto &p) {
        return p.session == session && p.phase == update::TurnPhase::prefill && p.computedTokens > 0;
    });
    if (!running)
        return -1;
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(afterMs));
    const auto begin = Clock::now();
    window.post(command::Stop{session});
    const auto finished = window.await<update::TurnFinished>([&](const auto &f) { return f.session == session; });
    return finished && finished->message.state == api::MessageState::stopped ? msSince(begin) : -1;
}

} // namespace

int main(int count, char **values)
{
    Options options = parse(count, values);
    const auto folder = std::filesystem::temp_directory_path() / ("kvilt-bench-stop-" + std::to_string(Clock::now().time_since_epoch().count()));
    std::filesystem::create_directories(folder);
    if (options.model.empty()) {
        options.model = (folder / "big.gguf").string();
        if (!writeBigModel(options.model)) {
            std::fprintf(stderr, "cannot write %s\n", options.model.c_str());
            return 1;
        }
    }
    std::vector<double> times;
    {
        worker::WorkerOptions workerOptions;
        workerOptions.paths = *store::profilePaths((folder / "profile").string());
        worker::EngineWorker worker(std::move(workerOptions));
        test::PortDriver window(worker);
        api::EngineSettings engine;
        engine.threads = options.threads;
        const auto begin = Clock::now();
        window.post(command::LoadModel{options.model, engine});
        const auto state = window.await<update::ModelState>(
            [](const auto &s) { return s.phase == update::ModelPhase::ready || s.phase == update::ModelPhase::failed; });
        if (!state || state->phase == update::ModelPhase::failed) {
            std::fprintf(stderr, "%s\n", state ? state->problem.c_str() : "no answer");
            return 1;
        }
        std::printf("%s, %d threads, %s: ready after %.0f ms\n", options.model.c_str(), options.threads,
                    state->isa.c_str(), msSince(begin));
        for (int i = 0; i < options.times; ++i)
            if (const double ms = stopOnce(window, options, i, 40.0 + 613.0 * i / options.times); ms >= 0)
                times.push_back(ms);
    }
    std::filesystem::remove_all(folder);
    if (times.empty())
        return 1;
    std::sort(times.begin(), times.end());
    std::printf("stop answered: median %.1f ms, p90 %.1f ms, longest %.1f ms, of %zu\n", times[times.size() / 2],
                times[times.size() * 9 / 10], times.back(), times.size());
    return 0;
}
