// Threads of a warp run one after another, up to the next place where all of them wait. Each lane's accesses and blocks
// of code are logged until then, and replayed as hardware runs a warp: among lanes that stand at different places those
// go first that others need not wait for, so that lanes that parted meet again where their paths join. What goes on
// together is one request of the warp.
#include "counts.h"

#include <string.h>
#include <sys/mman.h>

#include "far.h"
#include "request.h"

namespace wb {

bool counting;

constexpr uint32_t kLineBytes = 128;
constexpr uint32_t kDynamic = 4;               // in `how` of a site: dynamic shared memory
constexpr uint32_t kLaneEntries = 1 << 15;    // of one lane between two meetings; what is more is dropped, and scaled
constexpr uint64_t kLaunchEntries = 3 << 20;  // of one launch
constexpr uint64_t kCallEntries = 10 << 20;   // of one call
constexpr uint32_t kThreads = 4096;           // that a launch is sampled for, and between so many blocks
constexpr uint32_t kLeastBlocks = 4, kMostBlocks = 32;
constexpr uint32_t kBack = 16;                // entries to look back through for the other parts of a vector
constexpr uint32_t kAhead = 64;               // entries to look ahead for where lanes meet again
constexpr uint32_t kNear = 8;                 // lines: what was touched so lately pushes nothing out of a cache
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

static struct {
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
} c;

static void *room(uint64_t bytes) {
    void *memory = mmap(nullptr, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

static uint32_t mixed(uint64_t v) { return (uint32_t)((v * 0x9e3779b97f4a7c15ull) >> 32); }

static wb_site *site_of(uint32_t place, uint32_t kind, uint32_t how) {
    static wb_site nowhere;
    wb_counts *out = c.out;
    const uint32_t mask = 4 * kMaxSites - 1;
    const uint64_t key = (uint64_t)c.step_number << 32 | (uint64_t)(kind << 3 | how) << 24 | place;
    for (uint32_t i = mixed(key) & mask;; i = (i + 1) & mask) {
        if (!c.index[i]) {
            const uint32_t count = out->sites < kMaxSites ? out->sites : kMaxSites;
            if (count == kMaxSites) {
                out->incomplete |= 1;
                return &nowhere;
            }
            c.index[i] = count + 1;
            out->sites = count + 1;
            wb_site *site = &out->site[count];
            memset(site, 0, sizeof *site);
            site->step = c.step_number, site->place = place, site->kind = kind, site->how = how;
            return site;
        }
        wb_site *site = &out->site[(c.index[i] - 1) & (kMaxSites - 1)];
        if (site->place == place && site->step == c.step_number && site->kind == kind && site->how == how) return site;
    }
}

// --- one request of a warp ---------------------------------------------------------------------------------------------

// How far back each sector was last touched, in lines that this warp touched since. Warps of a block are taken to go on
// abreast, so a sector that another one touched at the same time of its own is near.
static void look_back(wb_site *site, const uint64_t *sectors, uint32_t count) {
    uint32_t &now = c.clock[c.warp];
    uint32_t pushed = 0;
    uint64_t line = ~0ull;
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t buffer = sectors[i] >> 35, sector = sectors[i] & ((1ull << 35) - 1);
        if (buffer >= c.buffer_count || sector >= c.buffers[buffer].sectors || !c.buffers[buffer].last) continue;
        Touch &last = c.buffers[buffer].last[sector];
        uint32_t bucket = 0, distance = ~0u;
        if (last.block == c.serial) {
            distance = now > last.time ? now - last.time : last.time - now;
            bucket = distance ? 33 - (uint32_t)__builtin_clz(distance) : 1;
            if (bucket > kBuckets - 1) bucket = kBuckets - 1;
        }
        site->reuse[bucket]++;
        last = {c.serial, now};
        const uint64_t of = sectors[i] / (kLineBytes / kSector);
        if (distance >= kNear && of != line) ++pushed, line = of;
    }
    now += pushed;
}

static void request(const Entry &e, const Request &r) {
    wb_site *site = site_of(e.place, e.kind, e.how);
    const uint32_t lanes = (uint32_t)__builtin_popcount(r.lanes);
    uint32_t bytes = e.bytes;
    const uint32_t parts = e.bytes / e.part;
    bool vector = !(bytes & (bytes - 1)) && bytes <= 16;
    for (uint32_t rest = r.lanes; rest && vector; rest &= rest - 1) vector = !(r.at[__builtin_ctz(rest)] & (bytes - 1));
    site->requests++;
    site->lanes += lanes;
    site->bytes += (uint64_t)lanes * bytes;
    if (site->width < bytes) site->width = bytes;
    if (site->parts < parts) site->parts = parts;
    if (e.how & kAtomic) {
        uint64_t found[64];
        site->wavefronts += contention(r, e.kind == kShared);
        if (e.kind == kBuffer) site->sectors += sectors_of(r, 0, bytes, found);
        return;
    }
    uint64_t found[64], part_found[64], ideal = 0, unused = 0;
    if (e.kind == kShared) {
        uint32_t split = 0;
        for (uint32_t k = 0; k < parts; ++k) split += wavefronts(r, k * e.part, e.part, parts == 1 || !vector ? &ideal : &unused);
        site->split_wavefronts += split;
        site->split_requests += parts;
        if (vector && parts > 1) {
            site->wavefronts += wavefronts(r, 0, bytes, &ideal);
            site->whole_requests++;
        } else {
            site->wavefronts += split;
            site->whole_requests += parts;
        }
        site->ideal += ideal;
        return;
    }
    uint32_t split = 0;
    const uint32_t whole = sectors_of(r, 0, bytes, found);
    if (parts == 1) split = whole;
    else
        for (uint32_t k = 0; k < parts; ++k) split += sectors_of(r, k * e.part, e.part, part_found);
    site->split_sectors += split;
    site->split_requests += parts;
    site->sectors += vector ? whole : split;
    site->whole_requests += vector ? 1 : parts;
    if (!(e.how & kWrite)) look_back(site, found, whole);
}

// --- the replay --------------------------------------------------------------------------------------------------------

static uint32_t position[32];
static uint32_t together[32];  // by lane: those with which it ran the last block of code
static wb_site *before[32];    // by lane: that block
static uint32_t parted[32];  // by lane: the block of code after which it went another way than others, last

// How far it is for the lane to the place: first, how often it comes by where it parted from others on its way (which is
// another round of a loop), then through how many blocks of code. ~0 if it does not come there soon.
static uint32_t way_to(uint32_t lane, uint32_t place, uint32_t parting) {
    const Entry *e = c.lane[lane] + position[lane];
    const uint32_t left = c.used[lane] - position[lane], most = left < kAhead ? left : kAhead;
    uint32_t blocks = 0, rounds = 0;
    for (uint32_t i = 1; i < most; ++i) {
        blocks += e[i].kind == kCode;
        if (e[i].place == place) return rounds * kAhead + blocks;
        rounds += e[i].place == parting;
    }
    return ~0u;
}

static uint32_t at_place(uint32_t live, uint32_t place) {
    uint32_t lanes = 0;
    for (uint32_t rest = live; rest; rest &= rest - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(rest);
        lanes |= (uint32_t)(c.lane[l][position[l]].place == place) << l;
    }
    return lanes;
}

// The lanes that go on next: those at the lowest place in the code, unless others come there sooner than these come to
// where the others are. Compilers do not lay blocks out so that the lowest place alone would do.
static uint32_t choose(uint32_t live) {
    uint32_t lowest = ~0u;
    for (uint32_t rest = live; rest; rest &= rest - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(rest), place = c.lane[l][position[l]].place;
        if (place < lowest) lowest = place;
    }
    uint32_t chosen = at_place(live, lowest);
    for (uint32_t rest = live & ~chosen; rest;) {
        const uint32_t l = (uint32_t)__builtin_ctz(rest), first = (uint32_t)__builtin_ctz(chosen);
        const uint32_t place = c.lane[l][position[l]].place, group = at_place(live, place);
        rest &= ~group;
        const bool now = before[l] && together[l] >> first & 1;  // they come from the same block
        const uint32_t mine = now ? before[l]->place : parted[l], theirs = now ? mine : parted[first];
        if (way_to(l, c.lane[first][position[first]].place, mine) < way_to(first, place, theirs)) chosen = group;
    }
    return chosen;
}

static void replay() {
    memset(position, 0, sizeof position);
    memset(parted, 0, sizeof parted);
    memset(before, 0, sizeof before);
    uint32_t live = 0;
    for (uint32_t l = 0; l < 32; ++l) live |= (uint32_t)(c.used[l] != 0) << l;
    for (uint32_t l = 0; l < 32; ++l) together[l] = live;
    while (live) {
        uint32_t lanes = choose(live);
        const uint32_t first = (uint32_t)__builtin_ctz(lanes);
        const Entry &e = c.lane[first][position[first]];
        if (e.kind == kCode) {
            wb_site *site = site_of(e.place, kCode, 0);
            site->requests++;
            site->lanes += (uint32_t)__builtin_popcount(lanes);
            const uint32_t left = together[first] & live & ~lanes;
            if (left && before[first]) {
                before[first]->divergent++;
                for (uint32_t rest = left; rest; rest &= rest - 1) together[__builtin_ctz(rest)] = left;
                for (uint32_t rest = left | lanes; rest; rest &= rest - 1) parted[__builtin_ctz(rest)] = before[first]->place;
            }
            for (uint32_t rest = lanes; rest; rest &= rest - 1) {
                together[__builtin_ctz(rest)] = lanes;
                before[__builtin_ctz(rest)] = site;
            }
        } else {
            Request r;
            r.lanes = 0;
            for (uint32_t rest = lanes; rest; rest &= rest - 1) {
                const uint32_t l = (uint32_t)__builtin_ctz(rest);
                const Entry &other = c.lane[l][position[l]];
                if (other.bytes != e.bytes || other.kind != e.kind) continue;
                r.lanes |= 1u << l;
                r.at[l] = other.at;
            }
            lanes = r.lanes;
            request(e, r);
        }
        for (uint32_t rest = lanes; rest; rest &= rest - 1) {
            const uint32_t l = (uint32_t)__builtin_ctz(rest);
            if (++position[l] == c.used[l]) live &= ~(1u << l);
        }
    }
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
