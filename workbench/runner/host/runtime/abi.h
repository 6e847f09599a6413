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
}
