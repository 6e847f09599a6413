// What the instrumented build remembers of memory: for each 4 bytes, which of them were written, and the last accesses.
//
// Order is kept by one clock. It ticks at each barrier, rendezvous and release; an access carries the time at which it
// was made, and is ordered before a thread that has, at a later tick, met the one that made it.
#pragma once
#include "hooks.h"

namespace wb {

enum How : uint32_t { kWrite = 1, kAtomic = 2, kVolatile = 4 };

// One access: who, when, where in the code, and which of the cell's four bytes. `what` of 0: nothing.
struct Slot {
    uint32_t time;
    uint32_t who;   // block << 10 | thread
    uint32_t what;  // place in the code << 8 | how << 4 | bytes
};

struct Cell {
    Slot slot[4];
};

struct Tracked {
    uintptr_t start;
    uint64_t nbytes;
    bool writable;
    Cell *cells;       // null: read-only, or no memory
    uint8_t *written;  // four bits for each cell; null: all of it is
};

// Shared memory of one block, and who of it has met whom.
struct Shadow {
    uint32_t id;                  // the block's number in its launch
    uint32_t began, barrier;      // clock at its start, and at the last barrier of all its threads
    uint32_t met[32];             // by warp: clock at the last rendezvous of all its lanes
    bool partly[32];              // by warp: whether `knows` counts
    uint32_t (*knows)[32][32];    // by warp, lane, other lane: what the lane has seen of the other, up to this time
    Cell *fixed, *dynamic;        // static and dynamic shared memory
    uint8_t *fixed_written, *dynamic_written;
    uint64_t fixed_bytes, dynamic_bytes;
    uint64_t mapped;
};

// A thread's release or acquisition through an atomic, a volatile access or a barrier of some warps.
struct Event {
    uint64_t location;
    uint32_t time;
    uint32_t node;  // release << 31 | acquire << 30 | block << 5 | warp
};

// What all accesses of one launch share.
struct Watch {
    wb_report *report;
    const wb_launch *launch;
    wb_findings *findings;
    uint32_t clock;
    uint32_t floor;  // accesses before this time are ordered before everything that comes
    bool races;      // whether accesses are ordered at all in this launch
    uint32_t step;
    uintptr_t low, span;  // addresses of all buffers
    uint16_t *pages;      // by page from `low`: buffer
    Tracked *buffers;
    uint32_t count;
    wb_variable variables[256];
    uint32_t variable_count;
    uint64_t fixed_bytes;  // of thread-local storage, up to the last variable's end
    Event *events;
    uint32_t event_count;
    uint64_t budget;       // steps that searches through the events may still make
    uint32_t *block_stamp;
    uint64_t blocks;
    uint32_t stamp;
};
extern WB_HIDDEN Watch state;

// shadow.cpp
WB_HIDDEN void note_event(Worker *w, uint64_t location, bool release, bool acquire);
WB_HIDDEN bool ordered_by_events(uint32_t before, uint32_t before_time, uint32_t block, uint32_t warp);
WB_HIDDEN wb_finding *report_finding(uint32_t kind, uint64_t pc, uint64_t other_pc);

}  // namespace wb
