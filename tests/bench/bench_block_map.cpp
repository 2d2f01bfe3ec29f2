// SPDX-License-Identifier: GPL-3.0-or-later
// The block map under load, without a screen: 100,000 blocks at 60 frames and 10,000 events a second, and how long
// 500,000 cells take to paint anew. Prints one JSON object. Times are of this machine in this run.
//
//   bench_block_map [seconds]      default 3
#include "ui/blockmap/block_map_view.h"

#include <QApplication>
#include <QElapsedTimer>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <thread>

using namespace kvilt;
using namespace kvilt::ui;

namespace {

api::PoolSnapshot pool(std::uint32_t blocks)
{
    std::mt19937 random(1);
    api::PoolSnapshot snapshot{.blockSize = 16, .policy = "lru"};
    snapshot.groups.push_back({.name = "all layers", .capacity = blocks, .bytesPerBlock = 368640});
    snapshot.groups[0].blocks.resize(blocks);
    for (std::uint32_t b = 0; b < blocks; ++b) {
        api::BlockInfo &info = snapshot.groups[0].blocks[b];
        info.references = std::uint16_t(random() % 3);
        info.node = NodeId{random() % 4 ? b + 1 : 0};
        info.tokens = 16;
    }
    return snapshot;
}

std::vector<api::CacheEvent> events(std::size_t count, std::uint32_t blocks, std::uint64_t first, std::mt19937 &random)
{
    static constexpr api::EventKind kinds[] = {api::EventKind::allocate, api::EventKind::seal, api::EventKind::release,
                                               api::EventKind::reference, api::EventKind::evict, api::EventKind::restore};
    std::vector<api::CacheEvent> made(count);
    for (std::size_t i = 0; i < count; ++i) {
        made[i].sequenceNumber = first + i;
        made[i].kind = kinds[random() % std::size(kinds)];
        made[i].block = random() % blocks;
        made[i].node = 1 + random() % (blocks * 2);
        made[i].references = std::uint16_t(random() % 3);
        made[i].sequence = 1 + random() % 8;
    }
    return made;
}

struct Percentiles {
    double p50, p99, most;
};

Percentiles percentiles(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return {values[values.size() / 2], values[values.size() * 99 / 100], values.back()};
}

void print(const char *name, const Percentiles &p, const char *end)
{
    std::printf("  \"%s\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}%s\n", name, p.p50, p.p99, p.most, end);
}

// Median milliseconds to paint everything visible.
double refill(std::uint32_t blocks, QSize size, int cell)
{
    Theme theme;
    BlockMapModel model;
    model.apply(pool(blocks), 0);
    const MapGeometry geometry(blocks, cell, size.width());
    QImage image(size, QImage::Format_RGB32);
    MapRaster raster;
    raster.setLook(theme.palette(), model.colourBy(), geometry.size(), 1.0);
    std::vector<double> times;
    for (int i = 0; i < 51; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        raster.paintAll(image, {model, 0, {}, geometry, 0});
        times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    }
    return percentiles(times).p50;
}

struct Load {
    Percentiles fold, frame, interval;
    double framesPerSecond;
    std::uint64_t events;
};

// A frame: the events of 1/60 s are folded, dirty cells painted, the changed part put on the (offscreen) window.
Load underLoad(std::uint32_t blocks, int eventsPerSecond, double seconds)
{
    Theme theme;
    BlockMapModel model;
    model.apply(pool(blocks), 0);
    BlockMapView view(model, theme);
    view.resize(432, 320);
    view.show();
    QApplication::processEvents();
    std::mt19937 random(2);
    std::uint64_t number = 1;
    std::vector<double> fold, frame, interval;
    QElapsedTimer clock;
    clock.start();
    double last = 0;
    while (double(clock.nsecsElapsed()) * 1e-9 < seconds) {
        const double begin = double(clock.nsecsElapsed()) * 1e-6;
        const auto due = std::uint64_t(begin * 1e-3 * eventsPerSecond);
        const auto batch = events(std::size_t(due + 1 > number ? due + 1 - number : 0), blocks, number, random);
        number += batch.size();
        const double folding = double(clock.nsecsElapsed()) * 1e-6;
        model.fold(batch, clock.elapsed());
        model.advance(clock.elapsed());
        const double folded = double(clock.nsecsElapsed()) * 1e-6;
        view.refreshNow();
        view.viewport()->repaint();
        QApplication::processEvents();
        const double end = double(clock.nsecsElapsed()) * 1e-6;
        fold.push_back(folded - folding);
        frame.push_back(end - folding);
        if (last > 0)
            interval.push_back(end - last);
        last = end;
        std::this_thread::sleep_until(std::chrono::steady_clock::now()
                                      + std::chrono::duration<double, std::milli>(std::max(0.0, 1000.0 / 60 - (end - begin))));
    }
    return {percentiles(fold), percentiles(frame), percentiles(interval), double(frame.size()) / seconds, number - 1};
}

} // namespace

int main(int argc, char **argv)
{
    if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM"))
        qputenv("QT_QPA_PLATFORM", "offscreen");
    QApplication application(argc, argv);
    const double seconds = argc > 1 ? std::max(0.5, std::atof(argv[1])) : 3;
    const Load load = underLoad(100'000, 10'000, seconds);
    std::printf("{\n  \"blocks\": 100000, \"events_per_second\": 10000, \"seconds\": %.1f,\n", seconds);
    std::printf("  \"frames_per_second\": %.1f, \"events\": %llu,\n", load.framesPerSecond,
                static_cast<unsigned long long>(load.events));
    print("fold_ms", load.fold, ",");
    print("frame_ms", load.frame, ",");
    print("frame_interval_ms", load.interval, ",");
    std::printf("  \"refill_100000_cells_1px_ms\": %.3f,\n", refill(100'000, {432, 320}, 1));
    std::printf("  \"refill_500000_cells_1px_ms\": %.3f,\n", refill(500'000, {1000, 500}, 1));
    std::printf("  \"refill_12px_1440x900_ms\": %.3f\n}\n", refill(100'000, {1440, 900}, 12));
    return 0;
}
