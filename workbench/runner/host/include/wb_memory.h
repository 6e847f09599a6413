// Loads and stores with cache hints (the hint is dropped), and atomics on real memory: other blocks run beside.
#pragma once

#define WB_LOAD(name)                         \
    template <class T>                        \
    WB_INLINE T name(const T *p) {            \
        return *p;                            \
    }
// These go past the L1 cache: code polls other blocks' flags with them.
#define WB_FRESH_LOAD(name)                                                          \
    template <class T>                                                               \
    WB_INLINE T name(const T *p) {                                                   \
        if constexpr (std::is_scalar<T>::value) return *(const volatile T *)p;       \
        else return *p;                                                              \
    }
WB_LOAD(__ldg)
WB_LOAD(__ldca)
WB_FRESH_LOAD(__ldcg)
WB_LOAD(__ldcs)
WB_LOAD(__ldlu)
WB_FRESH_LOAD(__ldcv)
#undef WB_FRESH_LOAD
#undef WB_LOAD
#define WB_STORE(name)                                              \
    template <class T>                                              \
    WB_INLINE void name(T *p, const wb_same_t<T> &v) { *p = v; }
template <class T>
struct wb_same {
    using type = T;
};
template <class T>
using wb_same_t = typename wb_same<T>::type;
WB_STORE(__stwb)
WB_STORE(__stcg)
WB_STORE(__stcs)
WB_STORE(__stwt)
#undef WB_STORE

namespace wb {

template <unsigned long N>
struct Word;
template <>
struct Word<2> { using type = uint16_t; };
template <>
struct Word<4> { using type = uint32_t; };
template <>
struct Word<8> { using type = uint64_t; };

// Whatever the hardware has no instruction for: read, compute, compare, swap, until nobody came between.
template <class T, class F>
WB_INLINE T atomic_update(T *address, F next) {
    using W = typename Word<sizeof(T)>::type;
    W *word = reinterpret_cast<W *>(address);
    W old = __atomic_load_n(word, __ATOMIC_RELAXED);
    for (;;) {
        T before;
        __builtin_memcpy(&before, &old, sizeof(T));
        const T after = next(before);
        W desired;
        __builtin_memcpy(&desired, &after, sizeof(T));
        if (__atomic_compare_exchange_n(word, &old, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return before;
    }
}

}  // namespace wb

#define WB_ATOMIC_INTEGER(S, T)                                                                                        \
    WB_INLINE T atomicAdd##S(T *p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }                        \
    WB_INLINE T atomicSub##S(T *p, T v) { return __atomic_fetch_sub(p, v, __ATOMIC_RELAXED); }                        \
    WB_INLINE T atomicAnd##S(T *p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }                        \
    WB_INLINE T atomicOr##S(T *p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }                          \
    WB_INLINE T atomicXor##S(T *p, T v) { return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED); }                        \
    WB_INLINE T atomicMin##S(T *p, T v) {                                                                             \
        return wb::atomic_update(p, [v](T old) { return v < old ? v : old; });                                         \
    }                                                                                                                  \
    WB_INLINE T atomicMax##S(T *p, T v) {                                                                             \
        return wb::atomic_update(p, [v](T old) { return v > old ? v : old; });                                         \
    }                                                                                                                  \
    WB_ATOMIC_EXCHANGE(S, T)                                                                                           \
    WB_ATOMIC_CAS(S, T)
#define WB_ATOMIC_EXCHANGE(S, T)                                                                                       \
    WB_INLINE T atomicExch##S(T *p, T v) {                                                                            \
        return wb::atomic_update(p, [v](T) { return v; });                                                             \
    }
#define WB_ATOMIC_CAS(S, T)                                                                                            \
    WB_INLINE T atomicCAS##S(T *p, T compare, T v) {                                                                   \
        __atomic_compare_exchange_n(p, &compare, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                        \
        return compare;                                                                                                \
    }
#define WB_ATOMIC_FLOAT(S, T)                                                                                          \
    WB_INLINE T atomicAdd##S(T *p, T v) {                                                                             \
        return wb::atomic_update(p, [v](T old) { return old + v; });                                                   \
    }
#define WB_ATOMICS(S)                                                                                                  \
    WB_ATOMIC_INTEGER(S, int)                                                                                          \
    WB_ATOMIC_INTEGER(S, unsigned)                                                                                     \
    WB_ATOMIC_INTEGER(S, unsigned long)                                                                                \
    WB_ATOMIC_INTEGER(S, long long)                                                                                    \
    WB_ATOMIC_INTEGER(S, unsigned long long)                                                                           \
    WB_ATOMIC_CAS(S, unsigned short)                                                                                   \
    WB_ATOMIC_FLOAT(S, float)                                                                                          \
    WB_ATOMIC_FLOAT(S, double)                                                                                         \
    WB_ATOMIC_FLOAT(S, __half)                                                                                         \
    WB_ATOMIC_FLOAT(S, __half2)                                                                                        \
    WB_ATOMIC_FLOAT(S, __nv_bfloat16)                                                                                  \
    WB_ATOMIC_FLOAT(S, __nv_bfloat162)                                                                                 \
    WB_ATOMIC_EXCHANGE(S, float)                                                                                       \
    WB_ATOMIC_EXCHANGE(S, double)                                                                                      \
    WB_INLINE float2 atomicAdd##S(float2 *p, float2 v) {                                                               \
        return make_float2(atomicAdd##S(&p->x, v.x), atomicAdd##S(&p->y, v.y));                                        \
    }                                                                                                                  \
    WB_INLINE float4 atomicAdd##S(float4 *p, float4 v) {                                                               \
        return make_float4(atomicAdd##S(&p->x, v.x), atomicAdd##S(&p->y, v.y), atomicAdd##S(&p->z, v.z),              \
                           atomicAdd##S(&p->w, v.w));                                                                  \
    }                                                                                                                  \
    WB_INLINE unsigned atomicInc##S(unsigned *p, unsigned limit) {                                                     \
        return wb::atomic_update(p, [limit](unsigned old) { return old >= limit ? 0u : old + 1; });                    \
    }                                                                                                                  \
    WB_INLINE unsigned atomicDec##S(unsigned *p, unsigned limit) {                                                     \
        return wb::atomic_update(p, [limit](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });      \
    }
WB_ATOMICS()
WB_ATOMICS(_block)
WB_ATOMICS(_system)
#undef WB_ATOMICS
#undef WB_ATOMIC_FLOAT
#undef WB_ATOMIC_CAS
#undef WB_ATOMIC_EXCHANGE
#undef WB_ATOMIC_INTEGER
