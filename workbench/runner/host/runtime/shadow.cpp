// The instrumented build's memory: made for each call and block, and the order of threads in it.
#include <string.h>
#include <sys/mman.h>

#include "counts.h"
#include "shadow.h"

namespace wb {

Watch state;

constexpr uint32_t kMaxEvents = 4 << 20;
constexpr uint32_t kWanted = 1 << 14;

static void *zeros(uint64_t bytes) {
    void *memory = mmap(nullptr, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

static uint64_t cells_of(uint64_t nbytes) { return (nbytes + 3) / 4; }

// One finding for each pair of places in the code; null when the same was found before, or there is no room.
wb_finding *report_finding(uint32_t kind, uint64_t pc, uint64_t other_pc) {
    wb_findings *f = state.findings;
    if (!f) return nullptr;
    const uint32_t count = f->count < kMaxFindings ? f->count : kMaxFindings;
    for (uint32_t i = 0; i < count; ++i) {
        wb_finding &old = f->item[i];
        const bool same = (old.pc == pc && old.other_pc == other_pc) || (old.pc == other_pc && old.other_pc == pc);
        if (old.kind == kind && same) {
            old.count++;
            return nullptr;
        }
    }
    if (count == kMaxFindings) {
        f->incomplete |= 8;
        return nullptr;
    }
    wb_finding *item = &f->item[count];
    memset(item, 0, sizeof *item);
    item->kind = kind;
    item->pc = pc;
    item->other_pc = other_pc;
    item->step = state.report->step;
    item->count = 1;
    f->count = count + 1;
    return item;
}

// --- events -----------------------------------------------------------------------------------------------------------

void note_event(Worker *w, uint64_t location, bool release, bool acquire) {
    Watch &s = state;
    if (!s.events || !s.races) return;
    if (s.event_count == kMaxEvents) {
        s.findings->incomplete |= 2;
        s.races = false;
        return;
    }
    const Block *b = w->block;
    const uint32_t block = ((Shadow *)b->shadow)->id;
    const uint32_t warp = (uint32_t)(w->current - b->fibers) >> 5;
    if (release) s.clock++;
    s.events[s.event_count++] = {location, s.clock, (uint32_t)release << 31 | (uint32_t)acquire << 30 | block << 5 | warp};
}

static struct {
    uint64_t location[kWanted];
    uint32_t stamp[kWanted];
    uint32_t used;
} wanted;

static bool want(uint64_t location, bool add) {
    uint32_t i = (uint32_t)((location * 0x9e3779b97f4a7c15ull) >> 50);
    while (wanted.stamp[i] == state.stamp) {
        if (wanted.location[i] == location) return true;
        i = (i + 1) & (kWanted - 1);
    }
    if (add) {
        wanted.stamp[i] = state.stamp;
        wanted.location[i] = location;
        wanted.used++;
    }
    return false;
}

// Whether what block (or, inside a block, warp) `before` did until `before_time` may be known to this one, by a chain
// of releases and acquisitions. Every atomic counts as both, and all of a block's (warp's) threads as one: this errs on
// the side of order.
bool ordered_by_events(uint32_t before, uint32_t before_time, uint32_t block, uint32_t warp) {
    Watch &s = state;
    const bool inside = (before >> 10) == block;
    const uint32_t target = inside ? (before & 1023) >> 5 : before >> 10;
    if (!s.event_count || s.events[s.event_count - 1].time < before_time) return false;
    s.stamp++;
    wanted.used = 0;
    uint32_t warps = 1u << warp;
    if (!inside) s.block_stamp[block] = s.stamp;
    for (uint32_t i = s.event_count; i-- && s.events[i].time >= before_time;) {
        if (!s.budget || wanted.used > kWanted / 2) {
            s.findings->incomplete |= 2;
            return true;
        }
        s.budget--;
        const Event &e = s.events[i];
        const uint32_t from_block = (e.node & 0x3fffffff) >> 5, from_warp = e.node & 31;
        if (inside && from_block != block) continue;
        bool relevant = inside ? warps >> from_warp & 1 : s.block_stamp[from_block] == s.stamp;
        const bool released = e.node >> 31 && e.time > before_time && want(e.location, false);
        if (released) {
            if ((inside ? from_warp : from_block) == target) return true;
            if (inside) warps |= 1u << from_warp;
            else s.block_stamp[from_block] = s.stamp;
            relevant = true;
        }
        if (relevant && e.node >> 30 & 1) want(e.location, true);
    }
    return false;
}

// The line takes the place of an address in the code: that of a shuffle is the prelude's.
void saw_inactive(Worker *w, uint32_t warp, uint32_t lane, uint32_t source, uint32_t op, int line) {
    wb_finding *f = report_finding(WB_INACTIVE, kNoPlace | (uint32_t)line, op);
    if (!f) return;
    const Fiber &fiber = w->block->fibers[warp * 32 + lane];
    f->block[0] = w->block->index.x, f->block[1] = w->block->index.y, f->block[2] = w->block->index.z;
    f->thread[0] = fiber.index.x, f->thread[1] = fiber.index.y, f->thread[2] = fiber.index.z;
    f->bytes = 4, f->space = 3;
    f->offset = source, f->buffer = lane;
}

// --- what the scheduler tells ------------------------------------------------------------------------------------------

void saw_launch(const wb_launch *launch, wb_report *report) {
    Watch &s = state;
    s.report = report;
    s.launch = launch;
    s.findings = (wb_findings *)((char *)report + 4096);
    s.floor = ++s.clock;
    s.event_count = 0;
    s.budget = 200u << 20;
    s.findings->launches++;
    if (!s.events) s.events = (Event *)zeros(kMaxEvents * sizeof(Event));
    if (s.block_stamp) munmap(s.block_stamp, s.blocks * 4 + 1);
    s.blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    s.block_stamp = nullptr;
    s.races = s.blocks < 1u << 22 && s.events;
    if (s.races) s.block_stamp = (uint32_t *)zeros(s.blocks * 4 + 1);
    s.races = s.races && s.block_stamp;
    if (!s.races) s.findings->incomplete |= 4;
    counts_launch(launch);
}

static void make_shadow(Worker *w, Block *b) {
    Shadow *sh = (Shadow *)zeros(sizeof(Shadow));
    const uint64_t fixed = cells_of(state.fixed_bytes), dynamic = cells_of(w->launch->shared_bytes);
    const uint64_t bytes = sizeof(uint32_t) * 32 * 32 * 32 + (fixed + dynamic) * (sizeof(Cell) + 1);
    char *memory = (char *)zeros(bytes);
    if (!sh || !memory) fault(WB_LAUNCH, nullptr, 0, "not enough memory to watch shared memory");
    sh->mapped = bytes;
    sh->knows = (uint32_t(*)[32][32])memory;
    sh->fixed = (Cell *)(memory + sizeof(uint32_t) * 32 * 32 * 32);
    sh->dynamic = sh->fixed + fixed;
    sh->fixed_written = (uint8_t *)(sh->dynamic + dynamic);
    sh->dynamic_written = sh->fixed_written + fixed;
    sh->fixed_bytes = state.fixed_bytes;
    sh->dynamic_bytes = w->launch->shared_bytes;
    b->shadow = sh;
}

void saw_block_end(Block *b) {
    Shadow *sh = (Shadow *)b->shadow;
    if (!sh) return;
    munmap(sh->knows, sh->mapped);
    munmap(sh, sizeof *sh);
    b->shadow = nullptr;
}

void saw_block(Worker *w, Block *b) {
    Shadow *sh = (Shadow *)b->shadow;
    if (sh && (sh->fixed_bytes != state.fixed_bytes || sh->dynamic_bytes != w->launch->shared_bytes)) {
        saw_block_end(b);
        sh = nullptr;
    }
    if (!sh) make_shadow(w, b);
    sh = (Shadow *)b->shadow;
    sh->id = (uint32_t)(b->index.x + (uint64_t)w->launch->grid[0] * (b->index.y + (uint64_t)w->launch->grid[1] * b->index.z));
    sh->began = sh->barrier = ++state.clock;
    memset(sh->met, 0, sizeof sh->met);
    memset(sh->partly, 0, sizeof sh->partly);
    // Cells need no clearing: what is older than the block does not count.
    memset(sh->fixed_written, 0, cells_of(sh->fixed_bytes));
    memset(sh->dynamic_written, 0, cells_of(sh->dynamic_bytes));
    counts_block(w, b);
}

void saw_rendezvous(Block *b, uint32_t warp, uint32_t lanes) {
    Shadow *sh = (Shadow *)b->shadow;
    const uint32_t now = ++state.clock;
    counts_exchange(b, warp, !(b->warp[warp].alive & ~lanes));
    if (!(b->warp[warp].alive & ~lanes)) {
        sh->met[warp] = now;
        return;
    }
    uint32_t(*knows)[32] = sh->knows[warp];
    if (!sh->partly[warp]) {
        memset(knows, 0, sizeof(uint32_t) * 32 * 32);
        sh->partly[warp] = true;
    }
    uint32_t joined[32];
    for (uint32_t k = 0; k < 32; ++k) {
        joined[k] = 0;
        if (lanes >> k & 1) {
            joined[k] = now;
            continue;
        }
        for (uint32_t rest = lanes; rest; rest &= rest - 1) {
            const uint32_t known = knows[__builtin_ctz(rest)][k];
            if (known > joined[k]) joined[k] = known;
        }
    }
    for (uint32_t rest = lanes; rest; rest &= rest - 1) memcpy(knows[__builtin_ctz(rest)], joined, sizeof joined);
}

static uint64_t barrier_location(const Block *b, uint32_t number) {
    return 1ull << 63 | (uint64_t)(uintptr_t)b << 4 | number;
}

void saw_barrier(Block *b, uint32_t number, const uint32_t *masks, uint32_t last_warp, bool all) {
    Shadow *sh = (Shadow *)b->shadow;
    counts_barrier(b);
    if (all) {
        sh->barrier = ++state.clock;
        return;
    }
    Worker *w = worker_of_thread;
    Fiber *self = w->current;
    note_event(w, barrier_location(b, number), true, true);
    for (uint32_t i = 0; i < b->warps; ++i) {
        if (!masks[i] || i == last_warp) continue;
        w->current = &b->fibers[i * 32];
        note_event(w, barrier_location(b, number), false, true);
    }
    w->current = self;
}

void saw_arrival(Block *b, uint32_t number) {
    note_event(worker_of_thread, barrier_location(b, number), true, false);
}

void saw_grid_barrier() {
    state.floor = ++state.clock;
    state.event_count = 0;
}

}  // namespace wb

using namespace wb;

extern "C" __attribute__((visibility("default"))) void wb_instrument(
    const wb_tracked *buffers, uint32_t count, const wb_variable *variables, uint32_t variable_count, wb_report *report) {
    Watch &s = state;
    s.report = report;
    s.findings = (wb_findings *)((char *)report + 4096);
    for (uint32_t i = 0; i < s.count; ++i) {
        const uint64_t cells = cells_of(s.buffers[i].nbytes);
        if (s.buffers[i].cells) munmap(s.buffers[i].cells, cells * sizeof(Cell) + 1);
        if (s.buffers[i].written) munmap(s.buffers[i].written, cells + 1);
    }
    if (s.buffers) munmap(s.buffers, s.count * sizeof(Tracked) + 1);
    if (s.pages) munmap(s.pages, s.span / 4096 * 2 + 1);
    s.pages = nullptr, s.buffers = nullptr, s.count = 0, s.low = s.span = 0;
    s.variable_count = variable_count < 256 ? variable_count : 256;
    s.fixed_bytes = 0;
    for (uint32_t i = 0; i < s.variable_count; ++i) {
        s.variables[i] = variables[i];
        const uint64_t end = variables[i].offset + variables[i].size;
        if (end > s.fixed_bytes) s.fixed_bytes = end;
    }
    counts_call(buffers, count, report);
    if (!count) return;
    s.low = buffers[0].low & ~(uintptr_t)4095;
    s.span = ((buffers[count - 1].high + 4095) & ~(uintptr_t)4095) - s.low;
    s.buffers = (Tracked *)zeros(count * sizeof(Tracked) + 1);
    s.pages = (uint16_t *)zeros(s.span / 4096 * 2 + 1);
    if (!s.buffers || !s.pages || count > 65535) {
        s.span = 0;
        s.findings->incomplete |= 1;
        return;
    }
    s.count = count;
    for (uint32_t i = 0; i < count; ++i) {
        const wb_tracked &from = buffers[i];
        Tracked &to = s.buffers[i];
        to = {from.address, from.nbytes, from.writable != 0, nullptr, nullptr};
        const uint64_t first = (from.low - s.low) / 4096, last = (from.high - s.low) / 4096;
        for (uint64_t page = first; page < last && page < s.span / 4096; ++page) s.pages[page] = (uint16_t)i;
        if (!from.writable) continue;
        const uint64_t cells = cells_of(from.nbytes);
        to.cells = (Cell *)zeros(cells * sizeof(Cell) + 1);
        if (!from.written) to.written = (uint8_t *)zeros(cells + 1);
        if (!to.cells || (!from.written && !to.written)) s.findings->incomplete |= 1;
    }
}

extern "C" __attribute__((visibility("default"))) void wb_written(uint64_t address, uint64_t nbytes) {
    Watch &s = state;
    if (!nbytes || address - s.low >= s.span) return;
    Tracked &buffer = s.buffers[s.pages[(address - s.low) / 4096]];
    if (!buffer.written || address < buffer.start || address + nbytes > buffer.start + buffer.nbytes) return;
    for (uint64_t i = address - buffer.start; i < address - buffer.start + nbytes;) {
        if (!(i & 3) && i + 4 <= address - buffer.start + nbytes) {
            buffer.written[i >> 2] = 15;
            i += 4;
        } else {
            buffer.written[i >> 2] |= (uint8_t)(1 << (i & 3));
            ++i;
        }
    }
}
