// The functions of cuda_fp16.h and cuda_bf16.h that NVIDIA gives for the device only. Each rounds once, as the device's
// instruction does: an intermediate in float or double that is rounded again would not be the same.
#pragma once

namespace wb {

// a * b + c in double, rounded to odd, so that the rounding to a half after it is the only one that counts. The product
// of two 11-bit significands is exact in 53 bits.
WB_INLINE double fma_to_odd(double a, double b, double c) {
    const double p = wb_opaque(a * b);
    const double s = wb_opaque(p + c);
    const double t = s - p;
    const double error = wb_opaque(p - wb_opaque(s - t)) + wb_opaque(c - t);
    if (error == 0 || error != error || s - s != 0) return s;
    uint64_t bits = to_word(s);
    if ((error > 0) != (s > 0)) --bits;
    return from_word<double>(bits | 1);
}

}  // namespace wb

#define WB_HALF(H, H2, from_double, to_float, prefix)                                                                  \
    WB_PURE H __hfma(H a, H b, H c) { return from_double(wb::fma_to_odd(to_float(a), to_float(b), to_float(c))); }    \
    WB_PURE H __hfma_sat(H a, H b, H c) {                                                                              \
        const double r = wb::fma_to_odd(to_float(a), to_float(b), to_float(c));                                        \
        return from_double(r > 0 ? (r < 1 ? r : 1.0) : 0.0);                                                           \
    }                                                                                                                  \
    WB_PURE H __hfma_relu(H a, H b, H c) {                                                                             \
        const double r = wb::fma_to_odd(to_float(a), to_float(b), to_float(c));                                        \
        return from_double(r < 0 ? 0.0 : r);                                                                           \
    }                                                                                                                  \
    WB_PURE H2 __hfma2(H2 a, H2 b, H2 c) { return H2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); }                 \
    WB_PURE H2 __hfma2_sat(H2 a, H2 b, H2 c) { return H2(__hfma_sat(a.x, b.x, c.x), __hfma_sat(a.y, b.y, c.y)); }     \
    WB_PURE H2 __hfma2_relu(H2 a, H2 b, H2 c) { return H2(__hfma_relu(a.x, b.x, c.x), __hfma_relu(a.y, b.y, c.y)); }  \
    WB_PURE H2 __hcmadd(H2 a, H2 b, H2 c) {                                                                            \
        const H re = __hfma(a.x, b.x, c.x), im = __hfma(a.x, b.y, c.y);                                                \
        return H2(__hfma(__hneg(a.y), b.y, re), __hfma(a.y, b.x, im));                                                 \
    }                                                                                                                  \
    WB_HALF_1(H, H2, from_double, to_float, ceil, ceil(v))                                                             \
    WB_HALF_1(H, H2, from_double, to_float, floor, floor(v))                                                           \
    WB_HALF_1(H, H2, from_double, to_float, trunc, trunc(v))                                                           \
    WB_HALF_1(H, H2, from_double, to_float, rint, nearbyint(v))                                                        \
    WB_HALF_1(H, H2, from_double, to_float, sqrt, sqrt(v))                                                             \
    WB_HALF_1(H, H2, from_double, to_float, rsqrt, 1.0 / sqrt(v))                                                      \
    WB_HALF_1(H, H2, from_double, to_float, rcp, 1.0 / v)                                                              \
    WB_HALF_1(H, H2, from_double, to_float, exp, exp(v))                                                               \
    WB_HALF_1(H, H2, from_double, to_float, exp2, exp2(v))                                                             \
    WB_HALF_1(H, H2, from_double, to_float, exp10, ::exp10(v))                                                         \
    WB_HALF_1(H, H2, from_double, to_float, log, log(v))                                                               \
    WB_HALF_1(H, H2, from_double, to_float, log2, log2(v))                                                             \
    WB_HALF_1(H, H2, from_double, to_float, log10, log10(v))                                                           \
    WB_HALF_1(H, H2, from_double, to_float, sin, sin(v))                                                               \
    WB_HALF_1(H, H2, from_double, to_float, cos, cos(v))                                                               \
    WB_HALF_1(H, H2, from_double, to_float, tanh, tanh(v))                                                             \
    WB_HALF_1(H, H2, from_double, to_float, tanh_approx, tanh(v))
#define WB_HALF_1(H, H2, from_double, to_float, name, expression)                                                      \
    WB_PURE H h##name(H a) {                                                                                           \
        const double v = to_float(a);                                                                                  \
        return from_double(expression);                                                                                \
    }                                                                                                                  \
    WB_PURE H2 h2##name(H2 a) { return H2(h##name(a.x), h##name(a.y)); }
WB_HALF(__half, __half2, __double2half, __half2float, half)
WB_HALF(__nv_bfloat16, __nv_bfloat162, __double2bfloat16, __bfloat162float, bfloat16)
#undef WB_HALF_1
#undef WB_HALF

#define WB_HALF_TO(prefix, H, to_float, name, I)                                                                       \
    WB_PURE I __##prefix##2##name##_rn(H v) { return wb::to_integer<I>(__builtin_nearbyintf(to_float(v))); }          \
    WB_PURE I __##prefix##2##name##_rd(H v) { return wb::to_integer<I>(__builtin_floorf(to_float(v))); }              \
    WB_PURE I __##prefix##2##name##_ru(H v) { return wb::to_integer<I>(__builtin_ceilf(to_float(v))); }
#define WB_HALF_TO_ALL(prefix, H, to_float)                                                                            \
    WB_HALF_TO(prefix, H, to_float, short, short)                                                                      \
    WB_HALF_TO(prefix, H, to_float, ushort, unsigned short)                                                            \
    WB_HALF_TO(prefix, H, to_float, int, int)                                                                          \
    WB_HALF_TO(prefix, H, to_float, uint, unsigned)                                                                    \
    WB_HALF_TO(prefix, H, to_float, ll, long long)                                                                     \
    WB_HALF_TO(prefix, H, to_float, ull, unsigned long long)
WB_HALF_TO_ALL(half, __half, __half2float)
WB_HALF_TO_ALL(bfloat16, __nv_bfloat16, __bfloat162float)
#undef WB_HALF_TO_ALL
#undef WB_HALF_TO
