// CUDA's execution model: where a thread is, what it waits for, and what its warp and block exchange.
#pragma once

extern "C" {
extern const __thread __attribute__((visibility("hidden"))) uint3 wb_threadIdx, wb_blockIdx;
extern const __thread __attribute__((visibility("hidden"))) uint3 wb_blockDim, wb_gridDim;
extern __thread __attribute__((visibility("hidden"))) char *wb_dynamic;
#define WB_RUNTIME __attribute__((visibility("hidden")))
WB_RUNTIME uint64_t wb_warp(uint32_t op, uint32_t mask, uint64_t value, uint32_t param, int line);
WB_RUNTIME uint32_t wb_activemask(int line);
WB_RUNTIME int wb_barrier(uint32_t number, uint32_t expected, int which, int predicate, int line, bool wait);
WB_RUNTIME void wb_grid_sync(int line);
WB_RUNTIME void wb_yield();
WB_RUNTIME int wb_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] WB_RUNTIME void wb_trap(const char *why, int line);
}

extern const __thread uint3 threadIdx __asm__("wb_threadIdx") __attribute__((visibility("hidden")));
extern const __thread uint3 blockIdx __asm__("wb_blockIdx") __attribute__((visibility("hidden")));
extern const __thread dim3 blockDim __asm__("wb_blockDim") __attribute__((visibility("hidden")));
extern const __thread dim3 gridDim __asm__("wb_gridDim") __attribute__((visibility("hidden")));
constexpr int warpSize = 32;

// Straight to the descriptor: a process that a fault ends writes no buffers out.
#define printf wb_printf
#define WB_LINE int wb_line = __builtin_LINE()
#define WB_INLINE static inline __attribute__((always_inline))

namespace wb {

// `extern __shared__ T name[];` becomes `T (&name)[] = wb::dynamic_shared;` (rewrite.py).
struct DynamicShared {
    template <class T>
    operator T &() const {
        return *reinterpret_cast<T *>(wb_dynamic);
    }
};
inline constexpr DynamicShared dynamic_shared;

template <class T>
constexpr unsigned long alignment() {
    return alignof(T);
}
template <unsigned long N>
constexpr unsigned long alignment() {
    return N;
}

enum Op : uint32_t {
    kSync, kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kBallot, kMatchAny, kMatchAll,
    kAddI, kMinI, kMaxI, kMinU, kMaxU, kAnd, kOr, kXor,
};

template <class T>
WB_INLINE uint64_t to_word(const T &value) {
    static_assert(sizeof(T) <= 8, "warp intrinsics exchange values of at most 8 bytes");
    uint64_t word = 0;
    __builtin_memcpy(&word, &value, sizeof(T));
    return word;
}
template <class T>
WB_INLINE T from_word(uint64_t word) {
    T value;
    __builtin_memcpy(&value, &word, sizeof(T));
    return value;
}
template <class T>
WB_INLINE T shuffle(Op op, unsigned mask, T value, unsigned lane, int width, int line) {
    return from_word<T>(wb_warp(op, mask, to_word(value), (lane & 0xffff) | (unsigned)width << 16, line));
}

// Runs the kernel with the arguments that `args` points to.
template <class... P, unsigned long... I>
WB_INLINE void call_with(void (*kernel)(P...), void **args, std::integer_sequence<unsigned long, I...>) {
    kernel(*reinterpret_cast<std::remove_cv_t<std::remove_reference_t<P>> *>(args[I])...);
}
template <class... P>
WB_INLINE void call(void (*kernel)(P...), void **args) {
    call_with(kernel, args, std::make_integer_sequence<unsigned long, sizeof...(P)>());
}
template <class T>
struct Sizes;
template <class... P>
struct Sizes<void (*)(P...)> {
    static constexpr uint32_t count = sizeof...(P);
    static constexpr uint32_t bytes[sizeof...(P) + 1] = {sizeof...(P), sizeof(P)...};
};

}  // namespace wb

// Values of at most 8 bytes: arithmetic types, half, half2, bfloat16, and small structs of the candidate's own.
#define WB_SHUFFLES(T)                                                                                                 \
    WB_INLINE T __shfl_sync(unsigned mask, T v, int lane, int width = 32, WB_LINE) {                                  \
        return wb::shuffle<T>(wb::kShuffle, mask, v, (unsigned)lane & 31, width, wb_line);                             \
    }                                                                                                                  \
    WB_INLINE T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, WB_LINE) {                          \
        return wb::shuffle<T>(wb::kShuffleUp, mask, v, delta < 64 ? delta : 64, width, wb_line);                       \
    }                                                                                                                  \
    WB_INLINE T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, WB_LINE) {                        \
        return wb::shuffle<T>(wb::kShuffleDown, mask, v, delta < 64 ? delta : 64, width, wb_line);                     \
    }                                                                                                                  \
    WB_INLINE T __shfl_xor_sync(unsigned mask, T v, int lane_mask, int width = 32, WB_LINE) {                          \
        return wb::shuffle<T>(wb::kShuffleXor, mask, v, (unsigned)lane_mask & 31, width, wb_line);                     \
    }
WB_SHUFFLES(int)
WB_SHUFFLES(unsigned)
WB_SHUFFLES(long)
WB_SHUFFLES(unsigned long)
WB_SHUFFLES(long long)
WB_SHUFFLES(unsigned long long)
WB_SHUFFLES(float)
WB_SHUFFLES(double)
WB_SHUFFLES(__half)
WB_SHUFFLES(__half2)
WB_SHUFFLES(__nv_bfloat16)
WB_SHUFFLES(__nv_bfloat162)
#undef WB_SHUFFLES

WB_INLINE void __syncwarp(unsigned mask = 0xffffffffu, WB_LINE) { wb_warp(wb::kSync, mask, 0, 0, wb_line); }
WB_INLINE unsigned __activemask(WB_LINE) { return wb_activemask(wb_line); }
WB_INLINE unsigned __ballot_sync(unsigned mask, int predicate, WB_LINE) {
    return (unsigned)wb_warp(wb::kBallot, mask, predicate != 0, 0, wb_line);
}
WB_INLINE int __any_sync(unsigned mask, int predicate, WB_LINE) {
    return (unsigned)wb_warp(wb::kBallot, mask, predicate != 0, 0, wb_line) != 0;
}
WB_INLINE int __all_sync(unsigned mask, int predicate, WB_LINE) {
    const uint64_t votes = wb_warp(wb::kBallot, mask, predicate != 0, 0, wb_line);
    return (unsigned)votes == (unsigned)(votes >> 32);
}
WB_INLINE int __uni_sync(unsigned mask, int predicate, WB_LINE) {
    const uint64_t votes = wb_warp(wb::kBallot, mask, predicate != 0, 0, wb_line);
    return (unsigned)votes == (unsigned)(votes >> 32) || (unsigned)votes == 0;
}
template <class T>
WB_INLINE unsigned __match_any_sync(unsigned mask, T value, WB_LINE) {
    return (unsigned)wb_warp(wb::kMatchAny, mask, wb::to_word(value), 0, wb_line);
}
template <class T>
WB_INLINE unsigned __match_all_sync(unsigned mask, T value, int *predicate, WB_LINE) {
    const unsigned same = (unsigned)wb_warp(wb::kMatchAll, mask, wb::to_word(value), 0, wb_line);
    *predicate = same != 0;
    return same;
}
#define WB_REDUCE(name, T, op)                                                                                         \
    WB_INLINE T name(unsigned mask, T value, WB_LINE) { return (T)wb_warp(op, mask, wb::to_word(value), 0, wb_line); }
WB_REDUCE(__reduce_add_sync, unsigned, wb::kAddI)
WB_REDUCE(__reduce_add_sync, int, wb::kAddI)
WB_REDUCE(__reduce_min_sync, unsigned, wb::kMinU)
WB_REDUCE(__reduce_min_sync, int, wb::kMinI)
WB_REDUCE(__reduce_max_sync, unsigned, wb::kMaxU)
WB_REDUCE(__reduce_max_sync, int, wb::kMaxI)
WB_REDUCE(__reduce_and_sync, unsigned, wb::kAnd)
WB_REDUCE(__reduce_or_sync, unsigned, wb::kOr)
WB_REDUCE(__reduce_xor_sync, unsigned, wb::kXor)
#undef WB_REDUCE

WB_INLINE void __syncthreads(WB_LINE) { wb_barrier(0, 0, 0, 0, wb_line, true); }
WB_INLINE int __syncthreads_count(int predicate, WB_LINE) { return wb_barrier(0, 0, 1, predicate, wb_line, true); }
WB_INLINE int __syncthreads_and(int predicate, WB_LINE) { return wb_barrier(0, 0, 2, predicate, wb_line, true); }
WB_INLINE int __syncthreads_or(int predicate, WB_LINE) { return wb_barrier(0, 0, 3, predicate, wb_line, true); }
WB_INLINE void __barrier_sync(unsigned number, WB_LINE) { wb_barrier(number, 0, 0, 0, wb_line, true); }
WB_INLINE void __barrier_sync_count(unsigned number, unsigned count, WB_LINE) {
    wb_barrier(number, count, 0, 0, wb_line, true);
}

WB_INLINE void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
WB_INLINE void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
WB_INLINE void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
WB_INLINE void __nanosleep(unsigned) { wb_yield(); }
[[noreturn]] WB_INLINE void __trap(WB_LINE) { wb_trap("__trap()", wb_line); }
WB_INLINE void __brkpt() {}
WB_INLINE void __prof_trigger(int) {}
WB_INLINE void wb_assert(bool holds, const char *text, int line) {
    if (!holds) wb_trap(text, line);
}

WB_INLINE unsigned __isGlobal(const void *) { return 1; }
#define __builtin_assume(condition)                     \
    do {                                                \
        if (!(condition)) __builtin_unreachable();      \
    } while (0)
