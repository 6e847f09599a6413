// Threads of a warp run one after another, up to the next place where all of them wait. Each lane's accesses and blocks
// of code are logged until then, and replayed as hardware runs a warp: among lanes that stand at different places those
// go first that others need not wait for, so that lanes that parted meet again where their paths join. What goes on
// together is one request of the warp.
#include "replay.h"

#include <string.h>

namespace wb {

constexpr uint32_t kLineBytes = 128;
constexpr uint32_t kAhead = 64;  // entries to look ahead for where lanes meet again
constexpr uint32_t kNear = 8;    // lines: what was touched so lately pushes nothing out of a cache

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

void replay() {
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

}  // namespace wb
