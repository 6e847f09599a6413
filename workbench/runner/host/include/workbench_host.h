// What a candidate sees on the host target, precompiled: the C++ library's basics, NVIDIA's vector and half types, and
// CUDA's execution model. `__CUDACC__` and `__CUDA_ARCH__` are defined last: NVIDIA's headers then give their portable
// half of each function, and wb_half.h the rest.
#ifndef WORKBENCH_HOST_H
#define WORKBENCH_HOST_H

#include <cfenv>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

// In the instrumented build a `memcpy` is a call. NVIDIA's headers only turn the bits of locals into other types by it.
inline __attribute__((always_inline)) void *wb_copy_bits(void *to, const void *from, std::size_t bytes) {
    return __builtin_memcpy(to, from, bytes);
}
namespace std {
using ::wb_copy_bits;
}
#define memcpy wb_copy_bits
#include <vector_types.h>
#include <vector_functions.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#undef memcpy

#include "wb_execution.h"
#include "wb_memory.h"
#include "wb_math.h"
#include "wb_half.h"

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __managed__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#undef __forceinline__
#undef __noinline__
#undef __align__
#undef __cluster_dims__
#undef __maxnreg__
#undef __inline_hint__
#undef __nv_pure__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __maxnreg__(...)
#define __grid_constant__
// Without `inline`: people write that beside it, and twice is an error.
#define __forceinline__ __attribute__((always_inline))
// noinline, and the attribute's own spelling `__attribute__((__noinline__))` still means itself.
#define __noinline__ __attribute__((noinline))
#define __inline_hint__
#define __align__(...) __attribute__((aligned(wb::alignment<__VA_ARGS__>())))
#define alignas(...) __attribute__((aligned(wb::alignment<__VA_ARGS__>())))
#define __nv_pure__ __attribute__((pure))
#undef assert
#define assert(condition) wb_assert(static_cast<bool>(condition), "assertion failed: " #condition, __LINE__)

// NULL is 0 to NVRTC, an int. Headers that are read later define NULL anew, as this.
#define __null 0

#ifndef __CUDACC__
#define __CUDACC__ 1
#endif
#define __CUDA_ARCH__ 900
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define WORKBENCH_HOST 1
#endif
