// The state of a launch on the CPU: OS threads (workers) that each run one block at a time, blocks whose threads are
// fibers, and what those wait for.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

#define WB_HIDDEN __attribute__((visibility("hidden")))

struct wb_dim {
    uint32_t x, y, z;
};

// Device code reads these as threadIdx, blockIdx, blockDim and gridDim (include/wb_execution.h).
extern "C" {
extern WB_HIDDEN __thread wb_dim wb_threadIdx, wb_blockIdx, wb_blockDim, wb_gridDim;
extern WB_HIDDEN __thread char *wb_dynamic;  // the block's dynamic shared memory
// Defined by the candidate's build when it declares `extern __shared__` outside of functions: dynamic shared memory
// then lives in thread-local storage, so that the name has an address that the linker knows.
extern WB_HIDDEN __thread char wb_dynamic_image[] __attribute__((weak));
extern WB_HIDDEN uint32_t wb_dynamic_image_size;
}

namespace wb {

constexpr int kMaxThreads = 1024;
constexpr int kBarriers = 16;
constexpr uint32_t kMaxShared = 232448;

enum State : uint8_t { kUnstarted, kReady, kRunning, kWarp, kActive, kBarrier, kGrid, kDone };

enum Op : uint32_t {
    kSync, kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kBallot, kMatchAny, kMatchAll,
    kAddI, kMinI, kMaxI, kMinU, kMaxU, kAnd, kOr, kXor,
};

struct Fiber {
    void *sp;
    char *stack;  // its highest address; owned while the fiber lives
    wb_dim index;
    uint32_t mask;
    int32_t line;
    State state;
    uint8_t op;
    uint8_t barrier;
};

struct Rendezvous {
    uint32_t mask, arrived, op;
    int32_t line;
};

struct Warp {
    uint32_t alive;    // not returned, started or not
    uint32_t ready;
    uint32_t active;   // waiting in __activemask
    uint32_t meetings;
    Rendezvous meeting[32];
    uint64_t value[32];
    uint64_t result[32];
    uint32_t param[32];
    uintptr_t site[32];
};

struct Barrier {
    uint32_t arrived, expected, generation;
    uint32_t count, every, any;
    uint32_t result[4][3];
    int32_t line;
    uint32_t masks[32];
    int32_t lines[32];
};

struct Block {
    wb_dim index;
    uint32_t threads, next, alive, warps;
    uint32_t ready_warps;
    uint32_t grid_waiting, grid_generation;
    bool returned_early;
    void *shadow;    // the instrumented build's: what it knows of shared memory and of the threads' order
    char *saved;     // the shared-memory image of a block of a cooperative launch that is not running
    bool started;
    Barrier barriers[kBarriers];
    Warp warp[32];
    Fiber fibers[kMaxThreads];
};

struct Range {
    char *start;
    size_t size;
};

struct Worker {
    Block *block;
    Fiber *current;
    void *main;
    volatile uint32_t in_runtime;
    volatile uint64_t switches;
    const wb_launch *launch;
    wb_report *report;
    char **free_stacks;
    uint32_t free_count, free_capacity;
    Range ranges[16];  // thread-local storage that is static shared memory
    uint32_t range_count;
    char *tls;         // all of the library's thread-local storage
    size_t tls_bytes;
    size_t static_bytes;
    char *dynamic_region, *dynamic_low, *dynamic_high;
    uint64_t random;
    bool rotate;  // a cooperative block gave way to others
    unsigned long thread;
    volatile bool finished;
};

extern WB_HIDDEN __thread Worker *worker_of_thread;

WB_HIDDEN uint64_t random_next(uint64_t &state);
WB_HIDDEN const char *name_of(uint32_t op);

// memory.cpp
WB_HIDDEN char *take_stack(Worker *w);
WB_HIDDEN void give_stack(Worker *w, char *top);
WB_HIDDEN bool stack_holds(uintptr_t address, int64_t *offset);
WB_HIDDEN void find_shared_memory(Worker *w);
WB_HIDDEN void place_dynamic(Worker *w, uint32_t bytes);
WB_HIDDEN void poison_shared(Worker *w, const wb_dim &block);
WB_HIDDEN bool dynamic_overrun(Worker *w);
WB_HIDDEN size_t image_bytes(Worker *w);
WB_HIDDEN void save_image(Worker *w, char *to);
WB_HIDDEN void restore_image(Worker *w, const char *from);

// faults.cpp
WB_HIDDEN void watch_faults();
WB_HIDDEN void watch_thread(Worker *w);
[[noreturn]] WB_HIDDEN void fault(uint32_t kind, const Fiber *at, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
[[noreturn]] WB_HIDDEN void deadlock(Worker *w);

// scheduler.cpp
WB_HIDDEN void run_block(Worker *w, Block *b);
WB_HIDDEN void start_block(Worker *w, Block *b, const wb_dim &index);
WB_HIDDEN void give_way(Worker *w);
WB_HIDDEN void block_and_switch(Worker *w);
WB_HIDDEN void make_ready(Block *b, uint32_t warp, uint32_t lanes);
WB_HIDDEN void thread_left_warp(Worker *w, uint32_t warp);
WB_HIDDEN void thread_left_block(Worker *w);

}  // namespace wb
