// Where the scheduler tells the instrumented build what is ordered. In the plain build nothing of this is there.
#pragma once
#include "machine.h"

namespace wb {

#ifdef WB_INSTRUMENTED
WB_HIDDEN void saw_launch(const wb_launch *launch, wb_report *report);
WB_HIDDEN void saw_launch_end();
WB_HIDDEN void saw_block(Worker *w, Block *b);
WB_HIDDEN void saw_block_end(Block *b);
WB_HIDDEN void saw_rendezvous(Block *b, uint32_t warp, uint32_t lanes);
// `all`: every thread of the block that has not returned took part.
WB_HIDDEN void saw_barrier(Block *b, uint32_t number, const uint32_t *masks, uint32_t last_warp, bool all);
WB_HIDDEN void saw_arrival(Block *b, uint32_t number);
WB_HIDDEN void saw_grid_barrier();
// Lane `lane` shuffles and reads lane `source`, which takes no part.
WB_HIDDEN void saw_inactive(Worker *w, uint32_t warp, uint32_t lane, uint32_t source, uint32_t op, int line);
#else
static inline void saw_launch(const wb_launch *, wb_report *) {}
static inline void saw_launch_end() {}
static inline void saw_block(Worker *, Block *) {}
static inline void saw_block_end(Block *) {}
static inline void saw_rendezvous(Block *, uint32_t, uint32_t) {}
static inline void saw_barrier(Block *, uint32_t, const uint32_t *, uint32_t, bool) {}
static inline void saw_arrival(Block *, uint32_t) {}
static inline void saw_grid_barrier() {}
static inline void saw_inactive(Worker *, uint32_t, uint32_t, uint32_t, uint32_t, int) {}
#endif

}  // namespace wb
