// Following a few blocks of a launch at a size whose buffers no machine here could hold: which index leaves its buffer,
// or lands 2^32 elsewhere, because 32 bits were too few for it.
//
// The buffers are address space over a few megabytes that repeat, so what they hold is not real. An access is judged by
// its address alone; a block that goes astray, waits for others or takes too long is given up in silence.
#pragma once
#include "machine.h"

namespace wb {

#ifdef WB_INSTRUMENTED
WB_HIDDEN bool far_on();
// Sample `place` of the launch; false where there is no further one.
WB_HIDDEN bool far_block(uint64_t place, uint64_t *block);
// Gives the running block up: its threads' stacks go back, and the worker goes on with the next block.
[[noreturn]] WB_HIDDEN void far_abandon(Worker *w);
// Whether the running block has been at it for too long.
WB_HIDDEN bool far_tick();
WB_HIDDEN void far_access(Worker *w, uintptr_t address, uint32_t bytes, uint32_t how, uint32_t pc);
WB_HIDDEN void far_launch_end(const wb_launch *launch);
#else
static inline bool far_on() { return false; }
static inline bool far_block(uint64_t, uint64_t *) { return false; }
[[noreturn]] static inline void far_abandon(Worker *) { __builtin_unreachable(); }
#endif

}  // namespace wb
