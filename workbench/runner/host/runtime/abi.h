// What the runner process (Python, ctypes), the runtime and the compiled candidate agree on.
#pragma once
#include <stdint.h>

extern "C" {

// One launch, as the runner process fills it in.
struct wb_launch {
    void (*entry)(void **);
    void **args;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    uint32_t cooperative;
    uint32_t workers;
    uint32_t step;
    uint64_t seed;
};

enum wb_fault_kind : uint32_t {
    WB_OK = 0,
    WB_SIGNAL = 1,       // a fault of the processor: address, pc, signal
    WB_BARRIER = 2,      // threads that wait for each other for ever, or disagree at a barrier
    WB_TRAP = 3,         // __trap() or a failed assert
    WB_LAUNCH = 4,       // the launch itself is impossible
    WB_SHARED = 5,       // a write past the end of shared memory
    WB_MISALIGNED = 6,   // a vector access at a place that its type must not have: address, pc; signal is the alignment
};

// A page that the client maps too. Written by hostile code: it explains, and proves nothing.
struct wb_report {
    uint32_t step;  // steps finished; the client's clock for "hang" starts anew with each
    uint32_t kind;
    uint32_t signal;
    int32_t line;
    uint64_t address;
    uint64_t pc;         // relative to the library's load address; 0 if outside of it
    uint32_t block[3];
    uint32_t thread[3];
    uint32_t access;     // 1 read, 2 write
    uint32_t place;      // 0 unknown, 1 a thread's stack, 2 dynamic shared memory
    int64_t offset;      // of `address` in that place
    uint64_t switches;
    uint32_t warnings;   // bits: 1 a thread returned before a barrier, 2 barriers of different lines met
    int32_t warning_line;
    char text[3072];
};

int wb_run(const wb_launch *launch, wb_report *report);

// --- the instrumented build only ---

enum wb_finding_kind : uint32_t {
    WB_OUTSIDE = 1,      // an access outside of its buffer or shared variable
    WB_UNWRITTEN = 2,    // a read of memory that nobody wrote
    WB_RACE = 3,         // unordered accesses of two threads
    WB_SAME_VALUE = 4,   // the same, but the write changed nothing
    WB_WRAPPED = 5,      // an index that 32 bits were too few for; `address` is the byte offset that was meant
    WB_INACTIVE = 6,     // a shuffle that reads the value of a lane that takes no part; `offset` is the lane
};

struct wb_finding {
    uint32_t kind;
    uint32_t bytes;
    uint32_t how, other_how;  // bits: 1 write, 2 atomic, 4 volatile
    uint64_t address;
    uint64_t pc, other_pc;    // return addresses, relative to the library's load address; 0 if unknown
    uint32_t block[3], thread[3], other_block[3], other_thread[3];
    uint32_t step;
    uint32_t space;           // 0 a buffer, 1 dynamic shared memory, 2 static shared memory
    int64_t offset;           // in the buffer, in dynamic shared memory, or in the library's thread-local storage
    uint32_t buffer;
    uint32_t count;           // how often, at these two places in the code
    uint32_t reserved[2];
};

constexpr uint32_t kMaxFindings = 64;
constexpr uint64_t kNoPlace = 1ull << 40;  // a `pc` from here on is a line of the candidate's file

// 4096 bytes behind the report, in the same shared memory.
struct wb_findings {
    uint32_t count;
    uint32_t incomplete;  // bits: 1 no memory for a buffer, 2 too many events, 4 too large a launch, 8 findings dropped, 16 cut short
    uint64_t accesses;
    uint32_t launches;
    uint32_t reserved[11];
    wb_finding item[kMaxFindings];
};

struct wb_tracked {
    uint64_t address, nbytes, low, high;  // low, high: addresses that are nearer to this buffer than to the next
    uint32_t writable, written;           // written: it holds something when the call starts
};

struct wb_variable {
    uint64_t offset, size;  // in the library's thread-local storage
    uint64_t ignored;       // the compiler's own: a guard that says whether a constructor ran
};

// A buffer of a size that is only followed (far.h): sparse address space, with gaps as wide as a lost bit.
struct wb_far_buffer {
    uint64_t start, nbytes, low, high;  // low, high: addresses that belong to this buffer more than to another
    uint64_t itemsize;
};

// Counts for the estimate, behind the findings. All of a site's figures are of the blocks that were sampled.
enum wb_site_kind : uint32_t { WB_CODE = 0, WB_BUFFER = 1, WB_SHARED_MEMORY = 2 };

constexpr uint32_t kBuckets = 16;

// One place in the code in one step of the plan. A vector access that the host's compiler took apart is counted twice:
// whole, and in parts (`split_`).
struct wb_site {
    uint32_t step, place;  // place: return address, relative to the library's load address
    uint32_t kind, how;    // how: bits: 1 write, 2 atomic, 4 dynamic shared memory
    uint32_t width, parts; // bytes a lane at most, and in how many pieces
    uint64_t requests;     // of a warp; code: how often a warp ran it
    uint64_t whole_requests, split_requests;
    uint64_t lanes;        // that took part, added up
    uint64_t bytes;        // that lanes asked for
    uint64_t sectors, split_sectors;        // buffers: of 32 bytes
    uint64_t wavefronts, split_wavefronts;  // shared memory; atomics: lanes that meet at one address or bank
    uint64_t ideal;        // shared memory: wavefronts without conflicts
    uint64_t divergent;    // code: how often lanes went on to different places
    uint32_t reuse[kBuckets];  // loads from buffers, sectors: never touched by the block before; 2^(i-2) lines ago at least
};

struct wb_step {
    uint32_t step, sampled;  // sampled: blocks
    uint64_t blocks, warps;  // warps: of the sampled blocks
    uint64_t raw, logged;    // events of sampled blocks, and how many of them were kept
    uint64_t exchanges;      // warp intrinsics, all blocks
    uint64_t barriers;       // times warps, all blocks
    uint64_t updates, hottest;  // atomic updates of buffers by threads of all blocks, and most at one address
};

// What all blocks of a step touched of one buffer, each sector once.
struct wb_touched {
    uint32_t step, buffer;
    uint64_t read, written;
};

constexpr uint32_t kMaxSites = 4096, kMaxSteps = 256, kMaxTouched = 1024;
constexpr uint32_t kCountsAt = 4096 + 12288;

struct wb_counts {
    uint32_t sites, steps, touched;
    uint32_t incomplete;  // bits: 1 too many places in the code, 2 too many steps, 4 too many buffers
    wb_step step[kMaxSteps];
    wb_touched touch[kMaxTouched];
    wb_site site[kMaxSites];
};

// Before the steps of a call; `variables` are the static __shared__ ones.
void wb_instrument(const wb_tracked *buffers, uint32_t count, const wb_variable *variables, uint32_t variable_count,
                   wb_report *report);
// A fill or a library step wrote these bytes.
void wb_written(uint64_t address, uint64_t nbytes);
// far.cpp
void wb_far(const wb_far_buffer *buffers, uint32_t count, uint64_t per_block, uint64_t in_all);
void wb_far_blocks(const uint64_t *blocks, uint32_t count);
int wb_far_map(int file, uint64_t offset, uint64_t address, uint64_t span, uint64_t period, int writable);
}
