// What threads do together: warp intrinsics, barriers, the grid barrier. The last one to arrive does the work for all.
#include "context.h"
#include "hooks.h"
#include "machine.h"

extern "C" WB_HIDDEN __thread wb_dim wb_threadIdx, wb_blockIdx, wb_blockDim, wb_gridDim;

namespace wb {

const char *name_of(uint32_t op) {
    static const char *const names[] = {
        "__syncwarp", "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync", "a warp vote",
        "__match_any_sync", "__match_all_sync", "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync",
        "__reduce_min_sync", "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync", "__reduce_xor_sync",
    };
    return names[op];
}

uint64_t random_next(uint64_t &state) {  // splitmix64
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint32_t source_lane(uint32_t op, uint32_t lane, uint32_t param) {
    const uint32_t b = param & 0xffff, width = param >> 16;
    const uint32_t base = lane & ~(width - 1), last = base | (width - 1);
    switch (op) {
        case kShuffle: return base | (b & (width - 1));
        case kShuffleUp: return lane < base + b ? lane : lane - b;
        case kShuffleDown: return lane + b > last ? lane : lane + b;
        default: return (lane ^ b) > last ? lane : lane ^ b;
    }
}

static void complete(Worker *w, Warp &warp, const Rendezvous &meeting) {
    const uint32_t op = meeting.op, arrived = meeting.arrived;
    saw_rendezvous(w->block, (uint32_t)(&warp - w->block->warp), arrived);
    if (op == kSync) return;
    if (op <= kShuffleXor) {
        for (uint32_t rest = arrived; rest; rest &= rest - 1) {
            const uint32_t lane = (uint32_t)__builtin_ctz(rest);
            const uint32_t source = source_lane(op, lane, warp.param[lane]) & 31;
            // A lane that does not take part: undefined by the guide, so anything but what one hopes for.
            warp.result[lane] = (arrived >> source) & 1 ? warp.value[source] : random_next(w->random);
            if (!(arrived >> source & 1)) saw_inactive(w, (uint32_t)(&warp - w->block->warp), lane, source, op, meeting.line);
        }
        return;
    }
    if (op == kBallot) {
        uint32_t votes = 0;
        for (uint32_t rest = arrived; rest; rest &= rest - 1) {
            const uint32_t lane = (uint32_t)__builtin_ctz(rest);
            votes |= (uint32_t)(warp.value[lane] != 0) << lane;
        }
        for (uint32_t rest = arrived; rest; rest &= rest - 1)
            warp.result[__builtin_ctz(rest)] = votes | (uint64_t)arrived << 32;
        return;
    }
    if (op == kMatchAny || op == kMatchAll) {
        for (uint32_t rest = arrived; rest; rest &= rest - 1) {
            const uint32_t lane = (uint32_t)__builtin_ctz(rest);
            uint32_t same = 0;
            for (uint32_t others = arrived; others; others &= others - 1) {
                const uint32_t other = (uint32_t)__builtin_ctz(others);
                same |= (uint32_t)(warp.value[other] == warp.value[lane]) << other;
            }
            warp.result[lane] = op == kMatchAny ? same : same == arrived ? arrived : 0;
        }
        return;
    }
    uint32_t total = (uint32_t)warp.value[__builtin_ctz(arrived)];
    for (uint32_t rest = arrived & (arrived - 1); rest; rest &= rest - 1) {
        const uint32_t v = (uint32_t)warp.value[__builtin_ctz(rest)];
        switch (op) {
            case kAddI: total += v; break;
            case kMinI: total = (int32_t)v < (int32_t)total ? v : total; break;
            case kMaxI: total = (int32_t)v > (int32_t)total ? v : total; break;
            case kMinU: total = v < total ? v : total; break;
            case kMaxU: total = v > total ? v : total; break;
            case kAnd: total &= v; break;
            case kOr: total |= v; break;
            default: total ^= v; break;
        }
    }
    for (uint32_t rest = arrived; rest; rest &= rest - 1) warp.result[__builtin_ctz(rest)] = total;
}

static bool try_complete(Worker *w, uint32_t index, uint32_t k) {
    Block *b = w->block;
    Warp &warp = b->warp[index];
    const Rendezvous meeting = warp.meeting[k];
    if (meeting.mask & warp.alive & ~meeting.arrived) return false;
    warp.meeting[k] = warp.meeting[--warp.meetings];
    complete(w, warp, meeting);
    make_ready(b, index, meeting.arrived);
    return true;
}

void thread_left_warp(Worker *w, uint32_t index) {
    Warp &warp = w->block->warp[index];
    for (uint32_t k = 0; k < warp.meetings;)
        if (!try_complete(w, index, k)) ++k;
}

static void release_barrier(Worker *w, Barrier &barrier) {
    Block *b = w->block;
    uint32_t *result = barrier.result[barrier.generation & 3];
    result[0] = barrier.count;
    result[1] = barrier.every;
    result[2] = barrier.any;
    barrier.generation++;
    barrier.arrived = barrier.count = barrier.any = 0;
    barrier.every = 1;
    for (uint32_t i = 0; i < b->warps; ++i) {
        make_ready(b, i, barrier.masks[i]);
        barrier.masks[i] = 0;
    }
}

void thread_left_block(Worker *w) {
    Block *b = w->block;
    b->returned_early = true;
    for (Barrier &barrier : b->barriers) {
        if (!barrier.arrived || barrier.expected || barrier.arrived != b->alive) continue;
        w->report->warnings |= 1;
        w->report->warning_line = barrier.line;
        saw_barrier(b, (uint32_t)(&barrier - b->barriers), barrier.masks, b->warps, true);
        release_barrier(w, barrier);
    }
}

}  // namespace wb

using namespace wb;

extern "C" WB_HIDDEN uint64_t wb_warp(uint32_t op, uint32_t mask, uint64_t value, uint32_t param, int line) {
    Worker *w = worker_of_thread;
    w->in_runtime = 1;
    Block *b = w->block;
    Fiber *self = w->current;
    const uint32_t id = (uint32_t)(self - b->fibers), index = id >> 5, lane = id & 31;
    Warp &warp = b->warp[index];
    const uint32_t width = op >= kShuffle && op <= kShuffleXor ? param >> 16 : 32;
    if (!width || width > 32 || width & (width - 1))
        fault(WB_BARRIER, self, line, "%s with width %u, which is no power of two from 1 to 32", name_of(op), width);
    if (!((mask >> lane) & 1))
        fault(WB_BARRIER, self, line, "%s with mask 0x%08x by lane %u, which the mask does not name", name_of(op), mask, lane);
    uint32_t k = 0;
    while (k < warp.meetings && warp.meeting[k].mask != mask) ++k;
    if (k == warp.meetings) {
        warp.meeting[k] = {mask, 0, op, line};
        warp.meetings++;
    } else if (warp.meeting[k].op != op) {
        fault(WB_BARRIER, self, line,
              "lanes of one warp disagree: lane %u is at %s, while others with the same mask 0x%08x are at %s in line %d",
              lane, name_of(op), mask, name_of(warp.meeting[k].op), warp.meeting[k].line);
    }
    warp.meeting[k].arrived |= 1u << lane;
    warp.value[lane] = value;
    warp.param[lane] = param;
    const Rendezvous &meeting = warp.meeting[k];
    if (!(meeting.mask & warp.alive & ~meeting.arrived)) {
        const Rendezvous done = meeting;
        warp.meeting[k] = warp.meeting[--warp.meetings];
        complete(w, warp, done);
        make_ready(b, index, done.arrived & ~(1u << lane));
    } else {
        self->state = kWarp;
        self->op = (uint8_t)op;
        self->mask = mask;
        self->line = line;
        block_and_switch(w);
    }
    const uint64_t result = warp.result[lane];
    w->in_runtime = 0;
    return result;
}

extern "C" WB_HIDDEN uint32_t wb_activemask(int line) {
    Worker *w = worker_of_thread;
    w->in_runtime = 1;
    Fiber *self = w->current;
    const uint32_t id = (uint32_t)(self - w->block->fibers);
    Warp &warp = w->block->warp[id >> 5];
    self->state = kActive;
    self->line = line;
    warp.active |= 1u << (id & 31);
    // Inlining spreads one source line over several places, which is what divergence is about.
    warp.site[id & 31] = (uintptr_t)__builtin_return_address(0);
    block_and_switch(w);
    const uint32_t result = (uint32_t)warp.result[id & 31];
    w->in_runtime = 0;
    return result;
}

// which: 0 nothing, 1 how many, 2 all, 3 any. expected: 0, or the number of threads of a named barrier.
extern "C" WB_HIDDEN int wb_barrier(uint32_t number, uint32_t expected, int which, int predicate, int line, bool wait) {
    Worker *w = worker_of_thread;
    w->in_runtime = 1;
    Block *b = w->block;
    Fiber *self = w->current;
    const uint32_t id = (uint32_t)(self - b->fibers), index = id >> 5;
    if (number >= (uint32_t)kBarriers) fault(WB_BARRIER, self, line, "barrier %u: there are barriers 0 to 15", number);
    Barrier &barrier = b->barriers[number];
    if (!barrier.arrived) {
        barrier.expected = expected;
    } else if (barrier.line != line) {
        w->report->warnings |= 2;
        w->report->warning_line = line;
    }
    barrier.line = line;
    if (!barrier.masks[index]) {
        barrier.lines[index] = line;
    } else if (barrier.lines[index] != line) {
        fault(WB_BARRIER, self, line, "threads of one warp are at different barriers, in lines %d and %d",
              barrier.lines[index], line);
    }
    barrier.arrived++;
    barrier.count += predicate != 0;
    barrier.every &= predicate != 0;
    barrier.any |= predicate != 0;
    const uint32_t generation = barrier.generation;
    if (barrier.expected && barrier.arrived != b->alive) saw_arrival(b, number);
    const bool complete = barrier.arrived == (barrier.expected ? barrier.expected : b->alive);
    if (complete) {
        if (!barrier.expected && b->returned_early) {
            w->report->warnings |= 1;
            w->report->warning_line = line;
        }
        saw_barrier(b, number, barrier.masks, index, barrier.arrived == b->alive);
        release_barrier(w, barrier);
    } else if (wait) {
        barrier.masks[index] |= 1u << (id & 31);
        self->state = kBarrier;
        self->barrier = (uint8_t)number;
        self->line = line;
        block_and_switch(w);
    }
    const int result = which ? (int)barrier.result[generation & 3][which - 1] : 0;
    w->in_runtime = 0;
    return result;
}

extern "C" WB_HIDDEN void wb_grid_sync(int line) {
    Worker *w = worker_of_thread;
    w->in_runtime = 1;
    Block *b = w->block;
    Fiber *self = w->current;
    if (!w->launch->cooperative)
        fault(WB_BARRIER, self, line, "grid.sync() in a launch without cooperative=True");
    self->state = kGrid;
    self->line = line;
    b->grid_waiting++;
    block_and_switch(w);
    w->in_runtime = 0;
}

extern "C" WB_HIDDEN void wb_yield() {
    Worker *w = worker_of_thread;
    w->in_runtime = 1;
    give_way(w);
    w->in_runtime = 0;
}
