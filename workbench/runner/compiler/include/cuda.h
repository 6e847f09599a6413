/* The driver API is for hosts; device code needs only the type of a TMA descriptor from it. */
#pragma once
#include <workbench_prelude.h>
typedef struct CUtensorMap_st {
  alignas(64) uint64_t opaque[16];
} CUtensorMap;
