// Threads of a block as fibers on one OS thread. A thread that never waits costs no switch at all: the stack that it
// ran on goes straight on with the next thread. Order: the rest of the warp first, so that few stacks are in use.
#include "context.h"
#include "hooks.h"
#include "machine.h"

namespace wb {

__thread Worker *worker_of_thread;

void make_ready(Block *b, uint32_t warp, uint32_t lanes) {
    if (!lanes) return;
    b->warp[warp].ready |= lanes;
    b->ready_warps |= 1u << warp;
}

static inline uint32_t first_from(uint32_t bits, uint32_t start) {
    const uint32_t above = start < 32 ? bits & (~0u << start) : 0;
    return (uint32_t)__builtin_ctz(above ? above : bits);
}

static Fiber *take(Block *b, uint32_t warp, uint32_t lane) {
    Warp &w = b->warp[warp];
    w.ready &= ~(1u << lane);
    if (!w.ready) b->ready_warps &= ~(1u << warp);
    return &b->fibers[warp * 32 + lane];
}

// Lanes of a warp in __activemask from the same place in the code go on together, once nobody else of the warp can.
static bool release_active(Block *b, uint32_t warp) {
    Warp &w = b->warp[warp];
    if (!w.active || w.ready) return false;
    if (b->next < b->threads && (b->next >> 5) == warp) return false;
    const uintptr_t site = w.site[__builtin_ctz(w.active)];
    uint32_t group = 0;
    for (uint32_t rest = w.active; rest; rest &= rest - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctz(rest);
        if (w.site[lane] == site) group |= 1u << lane;
    }
    for (uint32_t rest = group; rest; rest &= rest - 1) w.result[__builtin_ctz(rest)] = group;
    w.active &= ~group;
    make_ready(b, warp, group);
    return true;
}

static Fiber *pick(Worker *w) {
    Block *b = w->block;
    const uint32_t id = (uint32_t)(w->current - b->fibers), warp = id >> 5;
    for (;;) {
        if (b->warp[warp].ready) return take(b, warp, first_from(b->warp[warp].ready, (id & 31) + 1));
        if (b->next < b->threads && (b->next >> 5) == warp) return &b->fibers[b->next++];
        if (release_active(b, warp)) continue;
        if (b->ready_warps) {
            const uint32_t other = first_from(b->ready_warps, warp + 1);
            return take(b, other, (uint32_t)__builtin_ctz(b->warp[other].ready));
        }
        if (b->next < b->threads) return &b->fibers[b->next++];
        bool released = false;
        for (uint32_t i = 0; i < b->warps && !released; ++i) released = release_active(b, i);
        if (!released) return nullptr;
    }
}

// The next thread in turn after the current one, whatever its warp: for threads that spin.
static Fiber *pick_fairly(Worker *w) {
    Block *b = w->block;
    const uint32_t id = (uint32_t)(w->current - b->fibers), warp = id >> 5, lane = id & 31;
    const uint32_t above = lane < 31 ? b->warp[warp].ready & (~0u << (lane + 1)) : 0;
    if (above) return take(b, warp, (uint32_t)__builtin_ctz(above));
    if (b->next < b->threads) return &b->fibers[b->next++];
    if (b->ready_warps) {
        const uint32_t other = first_from(b->ready_warps, warp + 1);
        return take(b, other, (uint32_t)__builtin_ctz(b->warp[other].ready));
    }
    for (uint32_t i = 0; i < b->warps; ++i)
        if (release_active(b, i)) return take(b, i, (uint32_t)__builtin_ctz(b->warp[i].ready));
    return nullptr;
}

static void thread_main();

static inline void become(Worker *w, Fiber *next) {
    w->current = next;
    wb_threadIdx = next->index;
    next->state = kRunning;
}

static void switch_to(Worker *w, void **save, Fiber *next) {
    if (next->state == kUnstarted) {
        next->stack = take_stack(w);
        next->sp = wb_prepare(next->stack, thread_main);
    }
    become(w, next);
    w->switches = w->switches + 1;
    wb_switch(save, next->sp);
}

static void nothing_left(Worker *w, void **save) {
    Block *b = w->block;
    if (!(w->launch->cooperative && b->grid_waiting && b->grid_waiting == b->alive)) deadlock(w);
    w->switches = w->switches + 1;
    wb_switch(save, w->main);
}

void block_and_switch(Worker *w) {
    Fiber *self = w->current;
    Fiber *next = pick(w);
    if (next) switch_to(w, &self->sp, next);
    else nothing_left(w, &self->sp);
}

void give_way(Worker *w) {
    Fiber *self = w->current;
    Block *b = w->block;
    Fiber *next = pick_fairly(w);
    if (!next) {
        if (!w->launch->cooperative) return;
        // It may wait for a block that this OS thread holds as well.
        self->state = kReady;
        make_ready(b, (uint32_t)(self - b->fibers) >> 5, 1u << ((self - b->fibers) & 31));
        w->rotate = true;
        w->switches = w->switches + 1;
        wb_switch(&self->sp, w->main);
        return;
    }
    self->state = kReady;
    make_ready(b, (uint32_t)(self - b->fibers) >> 5, 1u << ((self - b->fibers) & 31));
    switch_to(w, &self->sp, next);
}

static void thread_main() {
    Worker *w = worker_of_thread;
    char *stack = w->current->stack;
    void *gone;
    for (;;) {
        w->in_runtime = 0;
        w->launch->entry(w->launch->args);
        w->in_runtime = 1;
        Fiber *self = w->current;
        Block *b = w->block;
        const uint32_t id = (uint32_t)(self - b->fibers);
        self->state = kDone;
        b->warp[id >> 5].alive &= ~(1u << (id & 31));
        b->alive--;
        if (b->warp[id >> 5].meetings) thread_left_warp(w, id >> 5);
        thread_left_block(w);
        if (!b->alive) break;
        Fiber *next = pick(w);
        if (next && next->state == kUnstarted) {
            next->stack = stack;
            become(w, next);
            continue;
        }
        give_stack(w, stack);  // still under our feet, but nobody takes it before we have left
        if (next) switch_to(w, &gone, next);
        else nothing_left(w, &gone);
        __builtin_unreachable();
    }
    give_stack(w, stack);
    wb_switch(&gone, w->main);
    __builtin_unreachable();
}

void start_block(Worker *w, Block *b, const wb_dim &index) {
    const uint32_t *d = w->launch->block;
    const uint32_t threads = d[0] * d[1] * d[2];
    if (!b->started || b->threads != threads) {
        uint32_t id = 0;
        for (uint32_t z = 0; z < d[2]; ++z)
            for (uint32_t y = 0; y < d[1]; ++y)
                for (uint32_t x = 0; x < d[0]; ++x) b->fibers[id++].index = {x, y, z};
        b->threads = threads;
        b->warps = (threads + 31) / 32;
        b->started = true;
    }
    b->index = index;
    b->next = 0;
    b->alive = threads;
    b->ready_warps = 0;
    b->grid_waiting = 0;
    b->returned_early = false;
    for (uint32_t i = 0; i < threads; ++i) b->fibers[i].state = kUnstarted;
    for (uint32_t i = 0; i < b->warps; ++i) {
        Warp &warp = b->warp[i];
        const uint32_t lanes = threads - i * 32;
        warp.alive = lanes >= 32 ? ~0u : (1u << lanes) - 1;
        warp.ready = warp.active = warp.meetings = 0;
    }
    for (Barrier &barrier : b->barriers) {
        barrier.arrived = 0;
        barrier.count = barrier.any = 0;
        barrier.every = 1;
        for (uint32_t i = 0; i < b->warps; ++i) barrier.masks[i] = 0;
    }
    saw_block(w, b);
}

// Runs the block until it ends, or (cooperative launches) until all of it waits for the grid or gave way.
void run_block(Worker *w, Block *b) {
    w->block = b;
    wb_blockIdx = b->index;
    w->rotate = false;
    Fiber *first;
    if (b->next == 0) {
        first = &b->fibers[b->next++];
    } else {
        w->current = &b->fibers[0];
        first = pick(w);
        if (!first) deadlock(w);
    }
    w->in_runtime = 1;
    switch_to(w, &w->main, first);
}

}  // namespace wb
