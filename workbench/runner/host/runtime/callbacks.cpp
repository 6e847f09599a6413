// What `-fsanitize=thread` makes the compiler call at each access of candidate code; nothing of libtsan is linked.
#include <string.h>

#include "counts.h"
#include "far.h"
#include "shadow.h"

namespace wb {

constexpr uintptr_t kStackBytes = 128 * 1024;
constexpr uint32_t kSpins = 4;

// A write that races: the store comes after the callback, so whether it changes anything is known at the next one.
static struct {
    bool active;
    uint32_t bytes;
    const char *address;
    char before[kMaxShared];  // a whole block's shared memory may be cleared by one memset
    wb_finding finding;
} pending;

// By place in the code: a plain read after which the same thread did an atomic at the same address (the first guess of a
// compare-and-swap loop, a test before atomicMax). Such a read may be stale.
static uint8_t guards[1 << 21];

static uint32_t place_of(uintptr_t pc) {
    const uint64_t relative = pc - base_of_library;
    return relative < 1u << 24 ? (uint32_t)relative : 0;
}

static void point(uint32_t *to, const wb_dim &from) { to[0] = from.x, to[1] = from.y, to[2] = from.z; }

static void name_thread(Worker *w, wb_finding *f, uint64_t address, uint32_t bytes, uint32_t how) {
    point(f->block, w->block->index);
    point(f->thread, w->current->index);
    f->address = address;
    f->bytes = bytes;
    f->how = how;
}

static void settle() {
    if (!pending.active) return;
    pending.active = false;
    const bool same = pending.bytes <= sizeof pending.before && !memcmp(pending.address, pending.before, pending.bytes);
    const uint32_t kind = same ? WB_SAME_VALUE : WB_RACE;
    wb_finding *f = report_finding(kind, pending.finding.pc, pending.finding.other_pc);
    if (!f) return;
    const uint32_t step = f->step, count = f->count;
    *f = pending.finding;
    f->kind = kind, f->step = step, f->count = count;
}

struct Where {
    uint32_t space, buffer;  // 0: a buffer; 1: dynamic shared memory; 2: a shared variable; 3: another thread's stack
    int64_t offset;
};

static void found(Worker *w, uint32_t kind, const Where &at, uint64_t address, uint32_t bytes, uint32_t how, uint32_t pc) {
    wb_finding *f = report_finding(kind, pc, 0);
    if (!f) return;
    name_thread(w, f, address, bytes, how);
    f->space = at.space, f->buffer = at.buffer, f->offset = at.offset;
}

static void raced(Worker *w, const Slot &other, const Where &at, uint64_t address, uint32_t bytes, uint32_t how, uint32_t pc) {
    wb_finding f;
    memset(&f, 0, sizeof f);
    name_thread(w, &f, address, bytes, how);
    f.pc = pc, f.other_pc = other.what >> 8;
    f.other_how = other.what >> 4 & 7;
    f.space = at.space, f.buffer = at.buffer, f.offset = at.offset;
    const uint32_t *g = w->launch->grid, *d = w->launch->block;
    const uint32_t block = other.who >> 10, thread = other.who & 1023;
    f.other_block[0] = block % g[0], f.other_block[1] = block / g[0] % g[1], f.other_block[2] = (uint32_t)(block / ((uint64_t)g[0] * g[1]));
    f.other_thread[0] = thread % d[0], f.other_thread[1] = thread / d[0] % d[1], f.other_thread[2] = thread / (d[0] * d[1]);
    if (how & kWrite && !(how & kAtomic)) {
        if (pending.active) return;
        pending.active = true;
        pending.bytes = bytes;
        pending.address = (const char *)address;
        if (bytes <= sizeof pending.before) memcpy(pending.before, (const void *)address, bytes);
        pending.finding = f;
        return;
    }
    wb_finding *item = report_finding(WB_RACE, f.pc, f.other_pc);
    if (!item) return;
    f.kind = WB_RACE, f.step = item->step, f.count = 1;
    *item = f;
}

static bool met(const Shadow *sh, const Slot &other, uint32_t thread) {
    if (other.who >> 10 == sh->id) {
        if (other.time < sh->barrier) return true;
        const uint32_t warp = thread >> 5, lane = other.who & 31;
        if ((other.who & 1023) >> 5 == warp) {
            if (other.time < sh->met[warp]) return true;
            if (sh->partly[warp] && other.time < sh->knows[warp][thread & 31][lane]) return true;
        }
    }
    return false;
}

struct Access {
    Worker *w;
    const Shadow *sh;
    Where at;
    uint64_t address, limit;  // limit: the buffer's size
    uint32_t bytes, how, pc, who, floor;
    bool reported;
};

// The cell's accesses of other threads that this one is not ordered with; then this one is remembered in it.
static inline void order(Cell &cell, Access &a, uint32_t mask) {
    int into = -1, old = -1;
    for (int i = 0; i < 4; ++i) {
        Slot &s = cell.slot[i];
        if (!s.what || s.time < a.floor) {
            if (into < 0) into = i;
            continue;
        }
        const uint32_t how = s.what >> 4 & 7;
        const bool covered = !(s.what & 15 & ~mask) && (a.how & kWrite || !(how & kWrite)) && !((a.how & ~how) & (kAtomic | kVolatile));
        if (s.who == a.who) {
            if (a.how & kAtomic && !how && s.time >= a.sh->barrier) {
                const uint32_t read = s.what >> 8;
                guards[read >> 3] |= (uint8_t)(1 << (read & 7));
            }
            if (covered) old = i;
            continue;
        }
        if (!(s.what & mask & 15)) continue;
        const bool conflict = (how | a.how) & kWrite;
        // Two accesses that cannot be torn are no race; a volatile one is meant to be read while it changes.
        const bool meant = (how & a.how & kAtomic) || ((how | a.how) & kVolatile);
        if (!conflict || meant) {
            if (covered && met(a.sh, s, a.who & 1023)) old = i;
            continue;
        }
        if (met(a.sh, s, a.who & 1023)) {
            if (covered) old = i;
            continue;
        }
        if (a.reported) continue;
        if (ordered_by_events(s.who, s.time, a.sh->id, (a.who & 1023) >> 5)) {
            if (covered) old = i;
            continue;
        }
        a.reported = true;
        raced(a.w, s, a.at, a.address, a.bytes, a.how, a.pc);
    }
    if (old >= 0) into = old;
    if (into < 0) into = (int)(a.pc + a.who) & 3;
    cell.slot[into] = {state.clock, a.who, a.pc << 8 | a.how << 4 | mask};
}

// `reads`: also (an atomic update) or only a read. `cells` and `written` may be null.
static inline void touch(Access &a, Cell *cells, uint8_t *written, uint64_t offset, bool reads) {
    const uint64_t end = offset + a.bytes;
    if (written) {
        bool any = !reads;
        for (uint64_t g = offset >> 2; g <= (end - 1) >> 2; ++g) {
            const uint32_t low = g == offset >> 2 ? (uint32_t)(offset & 3) : 0, high = end - g * 4 < 4 ? (uint32_t)(end - g * 4) : 4;
            const uint8_t mask = (uint8_t)((1u << high) - (1u << low));
            any = any || (written[g] & mask);
            if (a.how & kWrite) written[g] |= mask;
        }
        // The tail of an array that is read as vectors: compilers split those, so whole 16 bytes must be unwritten.
        if (!any && a.at.space == 0 && !(a.how & (kAtomic | kVolatile)))
            for (uint64_t g = offset >> 4 << 2; g <= ((end - 1) >> 4 << 2 | 3) && g * 4 < a.limit; ++g) any = any || written[g];
        if (!any) found(a.w, WB_UNWRITTEN, a.at, a.address, a.bytes, a.how, a.pc);
    }
    if (!cells || !state.races) return;
    for (uint64_t g = offset >> 2; g <= (end - 1) >> 2; ++g) {
        const uint32_t low = g == offset >> 2 ? (uint32_t)(offset & 3) : 0, high = end - g * 4 < 4 ? (uint32_t)(end - g * 4) : 4;
        order(cells[g], a, (1u << high) - (1u << low));
    }
}

static bool is_own_word(uintptr_t a) {
    const uintptr_t words[] = {(uintptr_t)&wb_threadIdx, (uintptr_t)&wb_blockIdx, (uintptr_t)&wb_blockDim, (uintptr_t)&wb_gridDim};
    for (uintptr_t word : words)
        if (a - word < sizeof(wb_dim)) return true;
    return a - (uintptr_t)&wb_dynamic < sizeof wb_dynamic || a - (uintptr_t)&worker_of_thread < sizeof worker_of_thread;
}

static void outside(Access &a) { found(a.w, WB_OUTSIDE, a.at, a.address, a.bytes, a.how, a.pc); }

static void in_shared(Access &a, uintptr_t address, bool reads) {
    Worker *w = a.w;
    Shadow *sh = (Shadow *)w->block->shadow;
    a.floor = sh->began > state.floor ? sh->began : state.floor;  // grid.sync() orders shared memory too
    const uint64_t dynamic = address - (uintptr_t)w->dynamic_low;
    if (dynamic < w->launch->shared_bytes) {
        a.at = {1, 0, (int64_t)dynamic};
        if (dynamic + a.bytes > w->launch->shared_bytes) return outside(a);
        if (counting) counts_access(w, 1, 0, dynamic, a.bytes, a.how, a.pc);
        return touch(a, sh->dynamic, sh->dynamic_written, dynamic, reads);
    }
    if (wb_dynamic_image_size ? address - (uintptr_t)w->dynamic_low < wb_dynamic_image_size
                              : address - (uintptr_t)w->dynamic_region < (uintptr_t)(w->dynamic_high - w->dynamic_region) + 4096) {
        a.at = {1, 0, (int64_t)dynamic};
        return outside(a);
    }
    const uint64_t offset = address - (uintptr_t)w->tls;
    int64_t place;
    if (offset >= w->tls_bytes && stack_holds(address, &place)) {  // the thread's own never comes here
        a.at = {3, 0, place};
        return outside(a);
    }
    if (offset >= w->tls_bytes || !state.variable_count) return;
    a.at = {2, 0, (int64_t)offset};
    for (uint32_t i = 0; i < state.variable_count; ++i) {
        const wb_variable &v = state.variables[i];
        if (offset - v.offset >= v.size) continue;
        if (v.ignored) return;
        if (offset - v.offset + a.bytes > v.size) return outside(a);
        if (counting) counts_access(w, 2, 0, offset, a.bytes, a.how, a.pc);
        return touch(a, sh->fixed, sh->fixed_written, offset, reads);
    }
    if (!is_own_word(address)) outside(a);
}

// Every access of candidate code comes through here.
static inline void access(uintptr_t address, uint32_t bytes, uint32_t how, bool reads, uintptr_t pc) {
    Worker *w = worker_of_thread;
    if (!w || !bytes || !w->current) return;  // a static constructor
    if ((uintptr_t)w->current->stack - 1 - address < kStackBytes) return;
    if (far_on()) return far_access(w, address, bytes, how, place_of(pc));
    w->in_runtime = 1;
    state.findings->accesses++;
    const Shadow *sh = (Shadow *)w->block->shadow;
    const uint32_t thread = (uint32_t)(w->current - w->block->fibers);
    Access a = {w, sh, {}, address, 0, bytes, how, place_of(pc), sh->id << 10 | thread, state.floor, false};
    if (address - state.low < state.span) {
        const uint32_t number = state.pages[(address - state.low) / 4096];
        const Tracked &buffer = state.buffers[number];
        const uint64_t offset = address - buffer.start;
        a.at = {0, number, (int64_t)offset};
        a.limit = buffer.nbytes;
        if (offset >= buffer.nbytes || offset + bytes > buffer.nbytes) outside(a);
        else {
            counts_access(w, 0, number, offset, bytes, how, a.pc);
            if (buffer.writable) touch(a, buffer.cells, buffer.written, offset, reads);
        }
    } else {
        in_shared(a, address, reads);
    }
    w->in_runtime = 0;
}

static inline void plain(const volatile void *p, uint32_t bytes, bool write, void *pc) {
    settle();
    access((uintptr_t)p, bytes, write ? kWrite : 0, !write, (uintptr_t)pc);
}

// Through atomics and volatile accesses threads tell each other something. One that reads the same place again and
// again waits for another, and lets it run.
static void synchronise(const volatile void *p, bool release, bool acquire) {
    static uintptr_t last;
    static Fiber *waiting;
    static uint32_t times;
    Worker *w = worker_of_thread;
    if (!w || !w->current) return;
    const uintptr_t address = (uintptr_t)p;
    if ((uintptr_t)w->current->stack - 1 - address < kStackBytes) return;
    w->in_runtime = 1;
    if (acquire && last == address && waiting == w->current && ++times > kSpins) {
        times = 0;
        give_way(w);
    } else if (last != address || waiting != w->current) {
        last = address, waiting = w->current, times = 0;
    }
    const bool shared = address - state.low >= state.span;
    const uint64_t block = shared ? (uint64_t)(((Shadow *)w->block->shadow)->id + 1) << 47 : 0;
    note_event(w, address ^ block, release, acquire);
    w->in_runtime = 0;
}

static inline void meant_to_change(const volatile void *p, uint32_t bytes, bool write, void *pc) {
    settle();
    if (!write) synchronise(p, false, true);
    access((uintptr_t)p, bytes, kVolatile | (write ? kWrite : 0), !write, (uintptr_t)pc);
    if (write) synchronise(p, true, false);
}

void saw_launch_end() {
    settle();
    counts_launch_end();
    if (far_on()) return far_launch_end(state.launch);
    wb_findings *f = state.findings;
    const uint32_t count = f->count < kMaxFindings ? f->count : kMaxFindings;
    for (uint32_t i = 0; i < count; ++i) {
        wb_finding &item = f->item[i];
        if (item.kind != WB_RACE) continue;
        const bool first = !item.how && item.other_how & kAtomic, second = !item.other_how && item.how & kAtomic;
        const uint64_t read = first ? item.pc : second ? item.other_pc : 0;
        if (read && read < 1u << 24 && guards[read >> 3] >> (read & 7) & 1) item.kind = 0;
    }
}

}  // namespace wb

using namespace wb;

#define WB_EXPORT extern "C" WB_HIDDEN __attribute__((used))
#define WB_PC __builtin_return_address(0)

WB_EXPORT void __tsan_init() {}
WB_EXPORT void __tsan_func_entry(void *) {}
WB_EXPORT void __tsan_func_exit() {}
WB_EXPORT void __tsan_vptr_update(void **p, void *) { plain(p, 8, true, WB_PC); }
WB_EXPORT void __tsan_vptr_read(void **p) { plain(p, 8, false, WB_PC); }
WB_EXPORT void __tsan_read_range(void *p, unsigned long n) {
    // Comes between the callback and the store of a copied struct: nothing to settle yet.
    access((uintptr_t)p, (uint32_t)n, 0, true, (uintptr_t)WB_PC);
}
WB_EXPORT void __tsan_write_range(void *p, unsigned long n) { plain(p, (uint32_t)n, true, WB_PC); }

#define WB_PLAIN(N)                                                                            \
    WB_EXPORT void __tsan_read##N(void *p) { plain(p, N, false, WB_PC); }                      \
    WB_EXPORT void __tsan_write##N(void *p) { plain(p, N, true, WB_PC); }                      \
    WB_EXPORT void __tsan_read_write##N(void *p) {                                             \
        plain(p, N, false, WB_PC);                                                             \
        plain(p, N, true, WB_PC);                                                              \
    }                                                                                          \
    WB_EXPORT void __tsan_unaligned_read##N(void *p) { plain(p, N, false, WB_PC); }            \
    WB_EXPORT void __tsan_unaligned_write##N(void *p) { plain(p, N, true, WB_PC); }            \
    WB_EXPORT void __tsan_unaligned_read_write##N(void *p) {                                   \
        plain(p, N, false, WB_PC);                                                             \
        plain(p, N, true, WB_PC);                                                              \
    }                                                                                          \
    WB_EXPORT void __tsan_volatile_read##N(void *p) { meant_to_change(p, N, false, WB_PC); }   \
    WB_EXPORT void __tsan_volatile_write##N(void *p) { meant_to_change(p, N, true, WB_PC); }   \
    WB_EXPORT void __tsan_unaligned_volatile_read##N(void *p) { meant_to_change(p, N, false, WB_PC); } \
    WB_EXPORT void __tsan_unaligned_volatile_write##N(void *p) { meant_to_change(p, N, true, WB_PC); }
WB_PLAIN(1)
WB_PLAIN(2)
WB_PLAIN(4)
WB_PLAIN(8)
WB_PLAIN(16)

// The access is noted before it is made; what it releases is known to others only after.
#define WB_BEFORE(acquire)                                  \
    settle();                                               \
    if (acquire) synchronise(p, false, true);
#define WB_UPDATE(N, name, builtin)                                                                          \
    WB_EXPORT W##N __tsan_atomic##N##_##name(volatile W##N *p, W##N v, int) {                                \
        settle();                                                                                            \
        synchronise(p, true, true);                                                                          \
        access((uintptr_t)p, N / 8, kAtomic | kWrite, true, (uintptr_t)WB_PC);                               \
        return builtin(p, v, __ATOMIC_SEQ_CST);                                                              \
    }
#define WB_ATOMIC(N)                                                                                         \
    WB_EXPORT W##N __tsan_atomic##N##_load(const volatile W##N *p, int) {                                    \
        WB_BEFORE(true)                                                                                      \
        access((uintptr_t)p, N / 8, kAtomic, true, (uintptr_t)WB_PC);                                        \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                        \
    WB_EXPORT void __tsan_atomic##N##_store(volatile W##N *p, W##N v, int) {                                 \
        settle();                                                                                            \
        access((uintptr_t)p, N / 8, kAtomic | kWrite, false, (uintptr_t)WB_PC);                              \
        synchronise(p, true, false);                                                                         \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                            \
    }                                                                                                        \
    WB_UPDATE(N, exchange, __atomic_exchange_n)                                                              \
    WB_UPDATE(N, fetch_add, __atomic_fetch_add)                                                              \
    WB_UPDATE(N, fetch_sub, __atomic_fetch_sub)                                                              \
    WB_UPDATE(N, fetch_and, __atomic_fetch_and)                                                              \
    WB_UPDATE(N, fetch_or, __atomic_fetch_or)                                                                \
    WB_UPDATE(N, fetch_xor, __atomic_fetch_xor)                                                              \
    WB_UPDATE(N, fetch_nand, __atomic_fetch_nand)                                                            \
    WB_EXPORT bool __tsan_atomic##N##_compare_exchange_strong(volatile W##N *p, W##N *c, W##N v, int, int) { \
        settle();                                                                                            \
        synchronise(p, true, true);                                                                          \
        access((uintptr_t)p, N / 8, kAtomic | kWrite, true, (uintptr_t)WB_PC);                               \
        return __atomic_compare_exchange_n(p, c, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
    }                                                                                                        \
    WB_EXPORT bool __tsan_atomic##N##_compare_exchange_weak(volatile W##N *p, W##N *c, W##N v, int, int) {   \
        settle();                                                                                            \
        synchronise(p, true, true);                                                                          \
        access((uintptr_t)p, N / 8, kAtomic | kWrite, true, (uintptr_t)WB_PC);                               \
        return __atomic_compare_exchange_n(p, c, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
    }                                                                                                        \
    WB_EXPORT W##N __tsan_atomic##N##_compare_exchange_val(volatile W##N *p, W##N c, W##N v, int, int) {     \
        settle();                                                                                            \
        synchronise(p, true, true);                                                                          \
        access((uintptr_t)p, N / 8, kAtomic | kWrite, true, (uintptr_t)WB_PC);                               \
        __atomic_compare_exchange_n(p, &c, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                    \
        return c;                                                                                            \
    }
typedef uint8_t W8;
typedef uint16_t W16;
typedef uint32_t W32;
typedef uint64_t W64;
WB_ATOMIC(8)
WB_ATOMIC(16)
WB_ATOMIC(32)
WB_ATOMIC(64)
WB_EXPORT void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
WB_EXPORT void __tsan_atomic_signal_fence(int) {}

// `memcpy` and its kind in candidate code are renamed to these in the assembly (assembly.py).
WB_EXPORT void *wb_seen_memcpy(void *to, const void *from, unsigned long n) {
    access((uintptr_t)from, (uint32_t)n, 0, true, (uintptr_t)WB_PC);
    plain(to, (uint32_t)n, true, WB_PC);
    return memcpy(to, from, n);
}
WB_EXPORT void *wb_seen_memmove(void *to, const void *from, unsigned long n) {
    access((uintptr_t)from, (uint32_t)n, 0, true, (uintptr_t)WB_PC);
    plain(to, (uint32_t)n, true, WB_PC);
    return memmove(to, from, n);
}
WB_EXPORT void *wb_seen_memset(void *to, int value, unsigned long n) {
    plain(to, (uint32_t)n, true, WB_PC);
    return memset(to, value, n);
}
