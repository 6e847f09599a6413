// All of the runtime as one translation unit: it is linked into every candidate's library, ready compiled.
#include "memory.cpp"
#include "warp.cpp"
#include "scheduler.cpp"
#include "faults.cpp"
#include "launch.cpp"
#ifdef WB_INSTRUMENTED
#include "shadow.cpp"
#include "counts.cpp"
#include "replay.cpp"
#include "callbacks.cpp"
#include "far.cpp"
#endif
