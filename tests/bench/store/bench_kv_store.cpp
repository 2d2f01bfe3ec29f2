// SPDX-License-Identifier: Apache-2.0
// Storing and restoring one long session's KV, without a model:
//   bench_kv_store FOLDER [--blocks 256] [--bytes 368640] [--rounds 7]
// The default is 4,096 tokens of SmolLM2 135M (16 tokens a block, 23,040 bytes a token). Restores are warm (the file
// is in the page cache) and through a store opened anew; the limit beside them is a plain memcpy of as many bytes.
#include "engine/store/kv_store.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <time.h>

using namespace kvilt;
using namespace kvilt::store;

namespace {

struct Options {
    std::filesystem::path folder;
    std::uint32_t blocks = 256;
    std::size_t bytes = 368'640;
    int rounds = 7;
};

double secondsOf(const auto &work)
{
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The calling thread's own time: what a busy machine disturbs less.
double processorSecondsOf(const auto &work)
{
    const auto now = [] {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
    };
    const double start = now();
    work();
    return now() - start;
}

double median(std::vector<double> values)
{
    std::ranges::sort(values);
    return values[values.size() / 2];
}

kv::BlockName nameOf(std::uint32_t index)
{
    kv::BlockName name;
    std::memcpy(name.bytes.data(), &index, sizeof index);
    name.bytes[31] = 1;
    return name;
}

NewPayload payloadOf(std::uint32_t index, std::size_t bytes)
{
    NewPayload payload;
    payload.key = {nameOf(index + 1), GroupIndex{0}, "cpu:1"};
    payload.parent = nameOf(index);
    payload.firstToken = std::int32_t(index * 16);
    payload.tokens.assign(16, TokenId(index));
    payload.bytes.resize(bytes);
    std::mt19937_64 random(index);
    for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
        const std::uint64_t word = random();
        std::memcpy(payload.bytes.data() + i, &word, 8);
    }
    return payload;
}

Options parse(int argc, char **argv)
{
    Options options;
    options.folder = argc > 1 ? argv[1] : ".";
    for (int i = 2; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        const long value = std::atol(argv[i + 1]);
        if (name == "--blocks")
            options.blocks = std::uint32_t(value);
        else if (name == "--bytes")
            options.bytes = std::size_t(value);
        else if (name == "--rounds")
            options.rounds = std::max(1, int(value));
    }
    return options;
}

std::unique_ptr<KvStore> openStore(const Options &options)
{
    auto store = KvStore::open({.file = options.folder / "bench-kvcache.db", .pendingBytes = 1ull << 32});
    if (!store) {
        std::fprintf(stderr, "%s\n", store.error().message.c_str());
        std::exit(2);
    }
    return std::move(*store);
}

void restoreAll(KvStore &store, const Options &options, std::vector<std::byte> &out)
{
    std::vector<std::int64_t> rows(options.blocks);
    store.forEach([&](const StoredEntry &entry) {
        std::uint32_t index;
        std::memcpy(&index, entry.key.name.bytes.data(), sizeof index);
        rows[index - 1] = entry.row;
    });
    for (std::uint32_t i = 0; i < options.blocks; ++i) {
        const std::vector<TokenId> tokens(16, TokenId(i));
        const auto target = std::span(out).subspan(i * options.bytes, options.bytes);
        if (store.read(rows[i], {nameOf(i + 1), GroupIndex{0}, "cpu:1"}, tokens, target) != ReadOutcome::ok) {
            std::fprintf(stderr, "block %u was not restored\n", i);
            std::exit(1);
        }
    }
}

} // namespace

int main(int argc, char **argv)
{
    const Options options = parse(argc, argv);
    std::filesystem::remove(options.folder / "bench-kvcache.db");
    const double gigabytes = double(options.blocks) * double(options.bytes) * 1e-9;
    std::vector<std::byte> out(options.blocks * options.bytes), copy(out.size());
    {
        auto store = openStore(options);
        std::vector<NewPayload> payloads;
        for (std::uint32_t i = 0; i < options.blocks; ++i)
            payloads.push_back(payloadOf(i, options.bytes));
        double posting = 0;
        const double storing = secondsOf([&] {
            posting = secondsOf([&] {
                for (NewPayload &payload : payloads)
                    store->put(std::move(payload));
            });
            (void)store->flush();
        });
        const double closing = secondsOf([&] { store.reset(); });
        std::printf("store    %6.2f GB/s  (%.0f ms; put() took %.2f us a block; closing %.0f ms)\n", gigabytes / storing,
                    storing * 1e3, posting * 1e6 / options.blocks, closing * 1e3);
    }
    std::vector<double> opening, restoring, processor, copying;
    for (int round = 0; round < options.rounds; ++round) {
        std::unique_ptr<KvStore> store;
        opening.push_back(secondsOf([&] { store = openStore(options); }));
        restoring.push_back(secondsOf([&] {
            processor.push_back(processorSecondsOf([&] { restoreAll(*store, options, out); }));
        }));
        copying.push_back(processorSecondsOf([&] { std::memcpy(copy.data(), out.data(), out.size()); }));
    }
    std::printf("open     %6.2f ms\n", median(opening) * 1e3);
    std::printf("restore  %6.2f GB/s  (%.1f ms for %.1f MB)\n", gigabytes / median(restoring), median(restoring) * 1e3,
                gigabytes * 1e3);
    std::printf("         %6.2f GB/s  by processor time\n", gigabytes / median(processor));
    std::printf("memcpy   %6.2f GB/s  by processor time\n", gigabytes / median(copying));
    std::filesystem::remove(options.folder / "bench-kvcache.db");
}
