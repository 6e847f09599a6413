// Which blocks of a launch are looked at closely, what each of their lanes did between two places where the warp waits
// (replay.cpp makes requests of it), and which sectors all blocks touched.
#include "counts.h"

#include <string.h>
#include <sys/mman.h>

#include "far.h"
#include "replay.h"

namespace wb {

bool counting;

constexpr uint32_t kDynamic = 4;               // in `how` of a site: dynamic shared memory
constexpr uint32_t kLaneEntries = 1 << 15;    // of one lane between two meetings; what is more is dropped, and scaled
constexpr uint64_t kLaunchEntries = 3 << 20;  // of one launch
constexpr uint64_t kCallEntries = 10 << 20;   // of one call
constexpr uint32_t kThreads = 4096;           // that a launch is sampled for, and between so many blocks
constexpr uint32_t kLeastBlocks = 4, kMostBlocks = 32;
constexpr uint32_t kBack = 16;                // entries to look back through for the other parts of a vector

Log c;

static void *room(uint64_t bytes) {
    void *memory = mmap(nullptr, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

static void flush() {
    uint32_t any = 0;
    for (uint32_t l = 0; l < 32; ++l) any |= c.used[l];
    if (any && c.out) replay();
    memset(c.used, 0, sizeof c.used);
}

// Strata of equal width, in each of them one block that chance picked (a fixed stride could hit the same edge each time).
static bool sampled(uint64_t id) {
    if (c.samples >= c.blocks) return true;
    const uint64_t stratum = id * c.samples / c.blocks;
    const uint64_t low = (stratum * c.blocks + c.samples - 1) / c.samples, high = ((stratum + 1) * c.blocks + c.samples - 1) / c.samples;
    return id == low + mixed(stratum + 1) % (high - low);
}

// Where the running thread's next entry goes; null where it is not logged.
static inline Entry *next_entry(Worker *w, uint32_t *lane) {
    Block *b = w->block;
    const uint32_t id = ((Shadow *)b->shadow)->id;
    if (c.cooperative && !sampled(id)) return nullptr;
    const uint32_t thread = (uint32_t)(w->current - b->fibers), warp = thread >> 5;
    if (warp != c.warp || id != c.id || b != c.block) {
        flush();
        if (id != c.id || b != c.block) {
            c.serial++;
            memset(c.clock, 0, sizeof c.clock);
        }
        c.block = b, c.id = id, c.warp = warp;
    }
    c.step->raw++;
    *lane = thread & 31;
    if (c.used[thread & 31] == kLaneEntries || c.launch_entries >= kLaunchEntries || c.call_entries >= kCallEntries) return nullptr;
    c.step->logged++;
    return &c.lane[thread & 31][c.used[thread & 31]];
}

static inline void keep(uint32_t lane) {
    c.used[lane]++;
    c.launch_entries++;
    c.call_entries++;
}

static void saw_code(Worker *w, uint32_t place) {
    uint32_t lane;
    Entry *e = next_entry(w, &lane);
    if (!e) return;
    *e = {place, kCode, 0, 0, 1, 0};
    keep(lane);
}

static void log_access(Worker *w, uint8_t kind, uint64_t at, uint32_t bytes, uint32_t how, uint32_t place) {
    uint32_t lane;
    Entry *e = next_entry(w, &lane);
    if (!e) return;
    if (!(how & kAtomic) && bytes <= 8) {
        // The next part of a vector that the compiler took apart, perhaps: told by its place in memory, within one
        // block of code. Whether the device's code has such a vector there is looked up in the cubin.
        const uint32_t used = c.used[lane];
        for (uint32_t i = used; i && used - i < kBack; --i) {
            Entry &old = c.lane[lane][i - 1];
            if (old.kind == kCode) break;
            if (old.kind == kind && old.how == how && old.at + old.bytes == at && old.bytes + bytes <= 16) {
                old.bytes = (uint8_t)(old.bytes + bytes);
                if (old.part > bytes) old.part = (uint8_t)bytes;
                return;
            }
        }
    }
    *e = {place, kind, (uint8_t)how, (uint8_t)bytes, (uint8_t)bytes, at};
    keep(lane);
}

// --- what the callbacks and the scheduler tell ---------------------------------------------------------------------------

static void updated(uint64_t address) {
    for (uint32_t i = mixed(address) & (kHot - 1);; i = (i + 1) & (kHot - 1)) {
        if (!c.hot_count[i]) {
            if (c.hot_used > kHot / 2) return;
            c.hot_used++;
            c.hot_address[i] = address;
        }
        if (c.hot_address[i] != address) continue;
        if (++c.hot_count[i] > c.step->hottest) c.step->hottest = c.hot_count[i];
        return;
    }
}

void counts_access(Worker *w, uint32_t space, uint32_t buffer, uint64_t offset, uint32_t bytes, uint32_t how, uint32_t place) {
    if (!c.step) return;
    if (how & kAtomic && !(how & kWrite)) return;  // the first look of a compare-and-swap loop
    if (space == 0 && buffer < c.buffer_count && c.buffers[buffer].flags) {
        Seen &seen = c.buffers[buffer];
        const uint8_t bits = how & kAtomic ? 3 : how & kWrite ? 2 : 1;
        const uint64_t first = offset / kSector, last = (offset + bytes - 1) / kSector;
        if (first < seen.low) seen.low = first;
        if (last >= seen.high) seen.high = last + 1;
        for (uint64_t s = first; s <= last && s < seen.sectors; ++s) {
            const uint8_t fresh = bits & ~seen.flags[s];
            if (!fresh) continue;
            seen.flags[s] |= fresh;
            seen.read += fresh & 1;
            seen.written += fresh >> 1;
        }
        if (how & kAtomic) {
            c.step->updates++;
            updated((uint64_t)buffer << 40 | offset);
        }
    }
    if (!counting) return;
    const uint64_t base = space == 0 ? (uint64_t)buffer << 40 : (uint64_t)space << 32;
    // A copy of a large struct: the device moves it in pieces of at most 16 bytes.
    for (uint32_t done = 0, pieces = 0; done < bytes && pieces < 16; ++pieces) {
        const uint32_t piece = bytes - done < 16 ? bytes - done : 16;
        log_access(w, space == 0 ? kBuffer : kShared, base + offset + done, piece, (how & ~kVolatile) | (space == 1 ? kDynamic : 0), place);
        done += piece;
    }
}

void counts_exchange(Block *b, uint32_t warp, bool all) {
    if (!c.step) return;
    c.step->exchanges++;
    if (all && counting && b == c.block && warp == c.warp) flush();
}

void counts_barrier(Block *b) {
    if (c.step) c.step->barriers += b->warps;
}

void counts_block(Worker *, Block *b) {
    if (!c.step) return;
    const uint64_t id = ((Shadow *)b->shadow)->id;
    const bool close = sampled(id);
    c.step->blocks++;
    if (close) {
        c.step->sampled++;
        c.step->warps += b->warps;
    }
    counting = c.cooperative || close;
}

void counts_launch(const wb_launch *launch) {
    c.step = nullptr;
    counting = false;
    wb_counts *out = c.out;
    if (!out || far_on()) return;
    if (out->steps >= kMaxSteps || launch->workers != 1) {
        out->incomplete |= 2;
        return;
    }
    c.step = &out->step[out->steps++ & (kMaxSteps - 1)];
    memset(c.step, 0, sizeof *c.step);
    c.step->step = c.step_number = launch->step;
    c.blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    const uint32_t threads = launch->block[0] * launch->block[1] * launch->block[2];
    c.samples = kThreads / (threads ? threads : 1);
    if (c.samples < kLeastBlocks) c.samples = kLeastBlocks;
    if (c.samples > kMostBlocks) c.samples = kMostBlocks;
    c.cooperative = launch->cooperative;
    c.launch_entries = 0;
    c.block = nullptr;
    memset(c.used, 0, sizeof c.used);
    if (c.hot_used) {
        memset(c.hot_count, 0, sizeof c.hot_count);
        c.hot_used = 0;
    }
}

void counts_launch_end() {
    if (!c.step) return;
    flush();
    wb_counts *out = c.out;
    for (uint32_t i = 0; i < c.buffer_count; ++i) {
        Seen &seen = c.buffers[i];
        if (!seen.read && !seen.written) continue;
        if (out->touched < kMaxTouched) {
            wb_touched &t = out->touch[out->touched++ & (kMaxTouched - 1)];
            t.step = c.step_number, t.buffer = i, t.read = seen.read, t.written = seen.written;
        } else {
            out->incomplete |= 4;
        }
        if (seen.high > seen.sectors) seen.high = seen.sectors;
        if (seen.low < seen.high) memset(seen.flags + seen.low, 0, seen.high - seen.low);
        seen.read = seen.written = 0;
        seen.low = ~0ull, seen.high = 0;
    }
    c.step = nullptr;
    counting = false;
}

void counts_call(const wb_tracked *buffers, uint32_t count, wb_report *report) {
    for (uint32_t i = 0; i < c.buffer_count; ++i) {
        if (c.buffers[i].last) munmap(c.buffers[i].last, c.buffers[i].sectors * sizeof(Touch) + 1);
        if (c.buffers[i].flags) munmap(c.buffers[i].flags, c.buffers[i].sectors + 1);
    }
    if (c.buffers) munmap(c.buffers, c.buffer_count * sizeof(Seen) + 1);
    c.buffers = nullptr;
    c.buffer_count = 0;
    c.out = nullptr;
    c.step = nullptr;
    c.call_entries = 0;
    memset(c.index, 0, sizeof c.index);
    if (!c.lane[0]) {
        char *memory = (char *)room(32ull * kLaneEntries * sizeof(Entry));
        if (!memory) return;
        for (uint32_t l = 0; l < 32; ++l) c.lane[l] = (Entry *)memory + (uint64_t)l * kLaneEntries;
    }
    c.buffers = (Seen *)room(count * sizeof(Seen));
    if (!c.buffers) return;
    c.buffer_count = count;
    for (uint32_t i = 0; i < count; ++i) {
        Seen &seen = c.buffers[i];
        seen.sectors = buffers[i].nbytes / kSector + 1;
        seen.low = ~0ull;
        seen.flags = (uint8_t *)room(seen.sectors);
        seen.last = (Touch *)room(seen.sectors * sizeof(Touch));
    }
    c.out = (wb_counts *)((char *)report + kCountsAt);
}

}  // namespace wb

using namespace wb;

// Called at the start of each block of candidate code (-fsanitize-coverage=trace-pc).
extern "C" WB_HIDDEN __attribute__((used)) void __sanitizer_cov_trace_pc() {
    if (__builtin_expect(!counting, 1)) return;
    Worker *w = worker_of_thread;
    if (!w || !w->current || !w->block) return;
    const uint64_t relative = (uintptr_t)__builtin_return_address(0) - base_of_library;
    if (relative >= 1u << 24) return;
    w->in_runtime = 1;
    saw_code(w, (uint32_t)relative);
    w->in_runtime = 0;
}
