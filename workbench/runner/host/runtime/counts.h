// What the instrumented build counts for the estimate: how the lanes of a warp touch memory together, where they part,
// how often each block of code runs. Some blocks of each launch are looked at closely; cheap facts are taken of all.
#pragma once
#include "shadow.h"

namespace wb {

// Whether accesses and code of the running block are to be logged: the callbacks ask this first.
extern WB_HIDDEN bool counting;

WB_HIDDEN void counts_call(const wb_tracked *buffers, uint32_t count, wb_report *report);
WB_HIDDEN void counts_launch(const wb_launch *launch);
WB_HIDDEN void counts_launch_end();
WB_HIDDEN void counts_block(Worker *w, Block *b);
// All lanes of a warp that have not returned (`all`), or some of them, meet in a warp intrinsic.
WB_HIDDEN void counts_exchange(Block *b, uint32_t warp, bool all);
WB_HIDDEN void counts_barrier(Block *b);
// `space`: 0 a buffer (offset in it), 1 dynamic, 2 static shared memory. `place`: in the code, as in findings.
WB_HIDDEN void counts_access(Worker *w, uint32_t space, uint32_t buffer, uint64_t offset, uint32_t bytes, uint32_t how, uint32_t place);

}  // namespace wb
