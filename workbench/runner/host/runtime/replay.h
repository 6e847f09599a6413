// What is logged of a warp between two places where all of its lanes wait, and what replays it (replay.cpp).
#pragma once
#include "counts.h"
#include "request.h"

namespace wb {

constexpr uint32_t kHot = 1 << 16;

enum Kind : uint8_t { kCode, kBuffer, kShared };

struct Entry {
    uint32_t place;
    uint8_t kind, how, bytes, part;  // a vector that the compiler took apart: `bytes` in parts of `part`
    uint64_t at;                     // buffer << 40 | offset
};

// When a sector was last touched: in which sampled block, and at which time of the warp that did.
struct Touch {
    uint32_t block, time;
};

struct Seen {
    Touch *last;
    uint8_t *flags;  // of each sector in this launch: 1 read, 2 written
    uint64_t sectors, low, high;  // low, high: flags that may be set
    uint64_t read, written;
};

// Of a call, of its running launch, and of the warp that is looked at; one, since one OS thread runs such a launch.
struct Log {
    wb_counts *out;
    Seen *buffers;
    uint32_t buffer_count;
    wb_step *step;
    uint32_t step_number;
    uint64_t blocks, samples;
    bool cooperative;
    uint64_t call_entries, launch_entries;
    Block *block;  // whose warp is being logged
    uint32_t id, warp;
    uint32_t serial;  // of sampled blocks, in all of the call
    uint32_t clock[32];
    Entry *lane[32];
    uint32_t used[32];
    uint32_t index[4 * kMaxSites];  // of sites, by hash
    uint64_t hot_address[kHot];
    uint32_t hot_count[kHot];
    uint32_t hot_used;
};

extern WB_HIDDEN Log c;

static inline uint32_t mixed(uint64_t v) { return (uint32_t)((v * 0x9e3779b97f4a7c15ull) >> 32); }

// Counts what the lanes of `c` have logged, as hardware would run the warp.
WB_HIDDEN void replay();

}  // namespace wb
