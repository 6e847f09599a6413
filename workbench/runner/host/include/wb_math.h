// CUDA's math functions and intrinsics. The fast ones (`__expf`) are as precise as the slow ones here.
#pragma once

#define WB_PURE WB_INLINE

// glibc declares these names for itself, without giving them.
#define __expf wb__expf
#define __exp10f wb__exp10f
#define __logf wb__logf
#define __log2f wb__log2f
#define __log10f wb__log10f
#define __sinf wb__sinf
#define __cosf wb__cosf
#define __tanf wb__tanf
#define __tanhf wb__tanhf
#define __powf wb__powf
#define __sincosf wb__sincosf

WB_PURE float __int_as_float(int v) { return wb::from_word<float>(wb::to_word(v)); }
WB_PURE float __uint_as_float(unsigned v) { return wb::from_word<float>(wb::to_word(v)); }
WB_PURE int __float_as_int(float v) { return wb::from_word<int>(wb::to_word(v)); }
WB_PURE unsigned __float_as_uint(float v) { return wb::from_word<unsigned>(wb::to_word(v)); }
WB_PURE double __longlong_as_double(long long v) { return wb::from_word<double>(wb::to_word(v)); }
WB_PURE long long __double_as_longlong(double v) { return wb::from_word<long long>(wb::to_word(v)); }
WB_PURE int __double2hiint(double v) { return (int)(wb::to_word(v) >> 32); }
WB_PURE int __double2loint(double v) { return (int)wb::to_word(v); }
WB_PURE double __hiloint2double(int high, int low) {
    return wb::from_word<double>((uint64_t)(unsigned)high << 32 | (unsigned)low);
}

// Each rounding on its own: an opaque register keeps the compiler from fusing it with a neighbour.
template <class T>
WB_INLINE T wb_opaque(T v) {
#if defined(__x86_64__)
    __asm__("" : "+x"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}
namespace wb {
template <class T, class F>
WB_INLINE T rounded(int mode, F compute) {
    const int before = fegetround();
    fesetround(mode);
    const T result = wb_opaque((T)compute());
    fesetround(before);
    return result;
}
}  // namespace wb
#define WB_ROUNDED(name, T, suffix, mode)                                                                              \
    WB_PURE T __##name##add_##suffix(T a, T b) { return wb::rounded<T>(mode, [=] { return wb_opaque(a) + wb_opaque(b); }); } \
    WB_PURE T __##name##sub_##suffix(T a, T b) { return wb::rounded<T>(mode, [=] { return wb_opaque(a) - wb_opaque(b); }); } \
    WB_PURE T __##name##mul_##suffix(T a, T b) { return wb::rounded<T>(mode, [=] { return wb_opaque(a) * wb_opaque(b); }); } \
    WB_PURE T __##name##div_##suffix(T a, T b) { return wb::rounded<T>(mode, [=] { return wb_opaque(a) / wb_opaque(b); }); }
WB_ROUNDED(f, float, rz, FE_TOWARDZERO)
WB_ROUNDED(f, float, ru, FE_UPWARD)
WB_ROUNDED(f, float, rd, FE_DOWNWARD)
WB_ROUNDED(d, double, rz, FE_TOWARDZERO)
WB_ROUNDED(d, double, ru, FE_UPWARD)
WB_ROUNDED(d, double, rd, FE_DOWNWARD)
#undef WB_ROUNDED
#define WB_NEAREST(name, T)                                                                                            \
    WB_PURE T __##name##add_rn(T a, T b) { return wb_opaque(wb_opaque(a) + wb_opaque(b)); }                           \
    WB_PURE T __##name##sub_rn(T a, T b) { return wb_opaque(wb_opaque(a) - wb_opaque(b)); }                           \
    WB_PURE T __##name##mul_rn(T a, T b) { return wb_opaque(wb_opaque(a) * wb_opaque(b)); }                           \
    WB_PURE T __##name##div_rn(T a, T b) { return wb_opaque(wb_opaque(a) / wb_opaque(b)); }
WB_NEAREST(f, float)
WB_NEAREST(d, double)
#undef WB_NEAREST
WB_PURE float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
WB_PURE float __fmaf_rz(float a, float b, float c) { return wb::rounded<float>(FE_TOWARDZERO, [=] { return ::fmaf(wb_opaque(a), b, c); }); }
WB_PURE float __fmaf_ru(float a, float b, float c) { return wb::rounded<float>(FE_UPWARD, [=] { return ::fmaf(wb_opaque(a), b, c); }); }
WB_PURE float __fmaf_rd(float a, float b, float c) { return wb::rounded<float>(FE_DOWNWARD, [=] { return ::fmaf(wb_opaque(a), b, c); }); }
WB_PURE double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
WB_PURE float __frcp_rn(float a) { return 1.0f / a; }
WB_PURE float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
WB_PURE float __frsqrt_rn(float a) { return (float)(1.0 / __builtin_sqrt((double)a)); }
WB_PURE double __drcp_rn(double a) { return 1.0 / a; }
WB_PURE double __dsqrt_rn(double a) { return __builtin_sqrt(a); }

WB_PURE float rsqrtf(float a) { return (float)(1.0 / __builtin_sqrt((double)a)); }
WB_PURE double rsqrt(double a) { return 1.0 / __builtin_sqrt(a); }
WB_PURE float rcbrtf(float a) { return 1.0f / ::cbrtf(a); }
WB_PURE double rcbrt(double a) { return 1.0 / ::cbrt(a); }
WB_PURE float rhypotf(float a, float b) { return 1.0f / ::hypotf(a, b); }
WB_PURE float norm3df(float a, float b, float c) { return (float)__builtin_sqrt((double)a * a + (double)b * b + (double)c * c); }
WB_PURE float norm4df(float a, float b, float c, float d) {
    return (float)__builtin_sqrt((double)a * a + (double)b * b + (double)c * c + (double)d * d);
}
WB_PURE double norm(int n, const double *v) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += v[i] * v[i];
    return __builtin_sqrt(sum);
}
WB_PURE float normf(int n, const float *v) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += (double)v[i] * v[i];
    return (float)__builtin_sqrt(sum);
}
WB_PURE double rnorm(int n, const double *v) { return 1.0 / norm(n, v); }
WB_PURE float rnormf(int n, const float *v) { return 1.0f / normf(n, v); }
WB_PURE float rnorm3df(float a, float b, float c) { return 1.0f / norm3df(a, b, c); }
WB_PURE float normcdff(float a) { return 0.5f * ::erfcf(-a * 0.70710678118654752440f); }
WB_PURE double normcdf(double a) { return 0.5 * ::erfc(-a * 0.70710678118654752440); }
namespace wb {
// exp(a * a) * erfc(a); from 8 on by its continued fraction, as exp(a * a) soon overflows.
inline double scaled_erfc(double a) {
    if (a < 8) return ::exp(a * a) * ::erfc(a);
    double below = a;
    for (int k = 60; k > 0; --k) below = a + 0.5 * k / below;
    return 0.56418958354775628695 / below;
}

// x with erfc(x) = z, 0 < z <= 1: a rough start and Newton's steps on the logarithm, which is smooth down to the smallest z.
inline double inverse_erfc(double z) {
    const double log_z = ::log(z);
    double x = z > 0.5 ? (1 - z) * 0.88622692545275801365 : __builtin_sqrt(-log_z);
    for (int i = 0; i < 60; ++i) {
        const double scaled = scaled_erfc(x);  // d log(erfc(x)) / dx = -2 / (sqrt(pi) * scaled)
        const double step = (::log(scaled) - x * x - log_z) * scaled * 0.88622692545275801365;
        x += step;
        if (__builtin_fabs(step) <= 1e-15 * __builtin_fabs(x)) break;
    }
    return x;
}

// x with erf(x) = y, |y| <= 0.5, where 1 - y has lost what y has left.
inline double small_inverse_erf(double y) {
    double x = y * 0.88622692545275801365;
    for (int i = 0; i < 60; ++i) {
        const double step = (y - ::erf(x)) * 0.88622692545275801365 * ::exp(x * x);
        x += step;
        if (__builtin_fabs(step) <= 1e-16 * __builtin_fabs(x)) break;
    }
    return x;
}
}  // namespace wb
WB_PURE double erfcx(double a) { return wb::scaled_erfc(a); }
WB_PURE float erfcxf(float a) { return (float)wb::scaled_erfc(a); }
WB_PURE double erfcinv(double z) {
    if (!(z >= 0 && z <= 2)) return __builtin_nan("");
    if (z == 0 || z == 2) return z == 0 ? __builtin_inf() : -__builtin_inf();
    if (z > 0.5 && z < 1.5) return wb::small_inverse_erf(1 - z);
    return z > 1 ? -wb::inverse_erfc(2 - z) : wb::inverse_erfc(z);
}
WB_PURE double erfinv(double y) {
    if (__builtin_fabs(y) <= 0.5) return wb::small_inverse_erf(y);
    return erfcinv(1 - y);  // exact, as 0.5 < |y| <= 1 is near enough to 1
}
WB_PURE float erfinvf(float y) { return (float)erfinv((double)y); }
WB_PURE float erfcinvf(float z) { return (float)erfcinv((double)z); }
WB_PURE double normcdfinv(double p) { return -1.41421356237309504880 * erfcinv(2 * p); }
WB_PURE float normcdfinvf(float p) { return (float)normcdfinv((double)p); }
WB_PURE float sinpif(float a) { return (float)::sin((double)a * 3.14159265358979323846); }
WB_PURE float cospif(float a) { return (float)::cos((double)a * 3.14159265358979323846); }
WB_PURE double sinpi(double a) { return ::sin(a * 3.14159265358979323846); }
WB_PURE double cospi(double a) { return ::cos(a * 3.14159265358979323846); }
WB_PURE void sincospif(float a, float *s, float *c) { *s = sinpif(a), *c = cospif(a); }

WB_PURE float __expf(float a) { return ::expf(a); }
WB_PURE float __exp10f(float a) { return ::exp10f(a); }
WB_PURE float __logf(float a) { return ::logf(a); }
WB_PURE float __log2f(float a) { return ::log2f(a); }
WB_PURE float __log10f(float a) { return ::log10f(a); }
WB_PURE float __sinf(float a) { return ::sinf(a); }
WB_PURE float __cosf(float a) { return ::cosf(a); }
WB_PURE float __tanf(float a) { return ::tanf(a); }
WB_PURE float __tanhf(float a) { return ::tanhf(a); }
WB_PURE float __powf(float a, float b) { return ::powf(a, b); }
WB_PURE void __sincosf(float a, float *s, float *c) { *s = ::sinf(a), *c = ::cosf(a); }
WB_PURE float __fdividef(float a, float b) { return a / b; }
WB_PURE double fdivide(double a, double b) { return a / b; }
WB_PURE float fdividef(float a, float b) { return a / b; }
WB_PURE float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
WB_PURE float saturate(float a) { return __saturatef(a); }

// Conversions. Out of range they saturate and NaN gives 0, as on the device (on x86 a plain cast gives INT_MIN).
namespace wb {
template <class I, class F>
WB_INLINE I to_integer(F v) {
    if (v != v) return 0;
    constexpr I low = (I)(std::is_signed<I>::value ? (I)1 << (sizeof(I) * 8 - 1) : 0), high = (I)~low;
    if (v <= (F)low) return low;
    if (v >= (F)high) return high;
    return (I)v;
}
}  // namespace wb
#define WB_TO_INTEGER(from, to, F, I, round_nearest, floor_, ceil_)                                                    \
    WB_PURE I __##from##2##to##_rz(F v) { return wb::to_integer<I>(v); }                                              \
    WB_PURE I __##from##2##to##_rn(F v) { return wb::to_integer<I>(round_nearest(v)); }                               \
    WB_PURE I __##from##2##to##_rd(F v) { return wb::to_integer<I>(floor_(v)); }                                      \
    WB_PURE I __##from##2##to##_ru(F v) { return wb::to_integer<I>(ceil_(v)); }
WB_TO_INTEGER(float, int, float, int, __builtin_nearbyintf, __builtin_floorf, __builtin_ceilf)
WB_TO_INTEGER(float, uint, float, unsigned, __builtin_nearbyintf, __builtin_floorf, __builtin_ceilf)
WB_TO_INTEGER(float, ll, float, long long, __builtin_nearbyintf, __builtin_floorf, __builtin_ceilf)
WB_TO_INTEGER(float, ull, float, unsigned long long, __builtin_nearbyintf, __builtin_floorf, __builtin_ceilf)
WB_TO_INTEGER(double, int, double, int, __builtin_nearbyint, __builtin_floor, __builtin_ceil)
WB_TO_INTEGER(double, uint, double, unsigned, __builtin_nearbyint, __builtin_floor, __builtin_ceil)
WB_TO_INTEGER(double, ll, double, long long, __builtin_nearbyint, __builtin_floor, __builtin_ceil)
WB_TO_INTEGER(double, ull, double, unsigned long long, __builtin_nearbyint, __builtin_floor, __builtin_ceil)
#undef WB_TO_INTEGER
#define WB_FROM(from, to, F, T)                                                                                        \
    WB_PURE T __##from##2##to##_rn(F v) { return (T)v; }                                                              \
    WB_PURE T __##from##2##to##_rz(F v) { return wb::rounded<T>(FE_TOWARDZERO, [=]() mutable { __asm__("" : "+r"(v)); return (T)v; }); } \
    WB_PURE T __##from##2##to##_rd(F v) { return wb::rounded<T>(FE_DOWNWARD, [=]() mutable { __asm__("" : "+r"(v)); return (T)v; }); }  \
    WB_PURE T __##from##2##to##_ru(F v) { return wb::rounded<T>(FE_UPWARD, [=]() mutable { __asm__("" : "+r"(v)); return (T)v; }); }
WB_FROM(int, float, int, float)
WB_FROM(uint, float, unsigned, float)
WB_FROM(ll, float, long long, float)
WB_FROM(ull, float, unsigned long long, float)
WB_FROM(ll, double, long long, double)
WB_FROM(ull, double, unsigned long long, double)
#undef WB_FROM
WB_PURE double __int2double_rn(int v) { return v; }
WB_PURE double __uint2double_rn(unsigned v) { return v; }
WB_PURE float __double2float_rn(double v) { return (float)v; }
WB_PURE float __double2float_rz(double v) { return wb::rounded<float>(FE_TOWARDZERO, [=] { return (float)wb_opaque(v); }); }
WB_PURE float __double2float_ru(double v) { return wb::rounded<float>(FE_UPWARD, [=] { return (float)wb_opaque(v); }); }
WB_PURE float __double2float_rd(double v) { return wb::rounded<float>(FE_DOWNWARD, [=] { return (float)wb_opaque(v); }); }

WB_PURE int __popc(unsigned v) { return __builtin_popcount(v); }
WB_PURE int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
WB_PURE int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
WB_PURE int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
WB_PURE int __ffs(int v) { return __builtin_ffs(v); }
WB_PURE int __ffsll(long long v) { return __builtin_ffsll(v); }
WB_PURE unsigned __brev(unsigned v) {
    v = (v >> 1 & 0x55555555u) | (v & 0x55555555u) << 1;
    v = (v >> 2 & 0x33333333u) | (v & 0x33333333u) << 2;
    v = (v >> 4 & 0x0f0f0f0fu) | (v & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(v);
}
WB_PURE unsigned long long __brevll(unsigned long long v) {
    return (unsigned long long)__brev((unsigned)v) << 32 | __brev((unsigned)(v >> 32));
}
WB_PURE unsigned __fns(unsigned mask, unsigned base, int offset) {
    if (offset == 0) return (mask >> base) & 1 ? base : 0xffffffffu;
    const int step = offset > 0 ? 1 : -1;
    int left = offset > 0 ? offset : -offset;
    for (int bit = (int)base; bit >= 0 && bit < 32; bit += step)
        if ((mask >> bit) & 1 && --left == 0) return (unsigned)bit;
    return 0xffffffffu;
}
WB_PURE unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
    const uint64_t bytes = (uint64_t)y << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned selector = s >> (4 * i) & 15;
        unsigned byte = (unsigned)(bytes >> (8 * (selector & 7))) & 0xff;
        if (selector & 8) byte = byte & 0x80 ? 0xff : 0;
        result |= byte << (8 * i);
    }
    return result;
}
WB_PURE unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n) { return (unsigned)((((uint64_t)hi << 32 | lo) << (n & 31)) >> 32); }
WB_PURE unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n) { return (unsigned)(((uint64_t)hi << 32 | lo) >> (n & 31)); }
WB_PURE unsigned __funnelshift_lc(unsigned lo, unsigned hi, unsigned n) { return n >= 32 ? lo : __funnelshift_l(lo, hi, n); }
WB_PURE unsigned __funnelshift_rc(unsigned lo, unsigned hi, unsigned n) { return n >= 32 ? hi : __funnelshift_r(lo, hi, n); }
WB_PURE int __mul24(int a, int b) { return (int)((unsigned)(a << 8 >> 8) * (unsigned)(b << 8 >> 8)); }
WB_PURE unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffff) * (b & 0xffffff); }
WB_PURE int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
WB_PURE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
WB_PURE long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
WB_PURE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
WB_PURE unsigned __sad(int a, int b, unsigned c) { return (a > b ? (unsigned)a - (unsigned)b : (unsigned)b - (unsigned)a) + c; }
WB_PURE unsigned __usad(unsigned a, unsigned b, unsigned c) { return (a > b ? a - b : b - a) + c; }
WB_PURE int __hadd(int a, int b) { return (int)(((long long)a + b) >> 1); }
WB_PURE int __rhadd(int a, int b) { return (int)(((long long)a + b + 1) >> 1); }
WB_PURE unsigned __uhadd(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a + b) >> 1); }
WB_PURE unsigned __urhadd(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a + b + 1) >> 1); }

WB_PURE int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) c += (int)(signed char)(a >> (8 * i)) * (int)(signed char)(b >> (8 * i));
    return c;
}
WB_PURE unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 4; ++i) c += (a >> (8 * i) & 0xff) * (b >> (8 * i) & 0xff);
    return c;
}
WB_PURE int __dp4a(char4 a, char4 b, int c) { return c + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
WB_PURE unsigned __dp4a(uchar4 a, uchar4 b, unsigned c) { return c + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
WB_PURE int __dp2a_lo(int a, int b, int c) { return c + (short)a * (signed char)b + (short)(a >> 16) * (signed char)(b >> 8); }
WB_PURE int __dp2a_hi(int a, int b, int c) { return c + (short)a * (signed char)(b >> 16) + (short)(a >> 16) * (signed char)(b >> 24); }

// Two 16-bit or four 8-bit lanes in a word.
#define WB_SIMD(name, L, U, expression)                                                                                \
    WB_PURE unsigned name(unsigned x, unsigned y) {                                                                    \
        constexpr int bits = sizeof(L) * 8;                                                                            \
        unsigned result = 0;                                                                                           \
        for (int i = 0; i < 32; i += bits) {                                                                           \
            const L a = (L)(x >> i), b = (L)(y >> i);                                                                  \
            result |= (unsigned)(U)(expression) << i;                                                                  \
        }                                                                                                              \
        return result;                                                                                                 \
    }
WB_SIMD(__vadd2, uint16_t, uint16_t, a + b)
WB_SIMD(__vadd4, uint8_t, uint8_t, a + b)
WB_SIMD(__vsub2, uint16_t, uint16_t, a - b)
WB_SIMD(__vsub4, uint8_t, uint8_t, a - b)
WB_SIMD(__vmaxs2, int16_t, uint16_t, a > b ? a : b)
WB_SIMD(__vmaxs4, int8_t, uint8_t, a > b ? a : b)
WB_SIMD(__vmaxu2, uint16_t, uint16_t, a > b ? a : b)
WB_SIMD(__vmaxu4, uint8_t, uint8_t, a > b ? a : b)
WB_SIMD(__vmins2, int16_t, uint16_t, a < b ? a : b)
WB_SIMD(__vmins4, int8_t, uint8_t, a < b ? a : b)
WB_SIMD(__vminu2, uint16_t, uint16_t, a < b ? a : b)
WB_SIMD(__vminu4, uint8_t, uint8_t, a < b ? a : b)
WB_SIMD(__vcmpeq2, uint16_t, uint16_t, a == b ? 0xffff : 0)
WB_SIMD(__vcmpeq4, uint8_t, uint8_t, a == b ? 0xff : 0)
WB_SIMD(__vabsdiffu4, uint8_t, uint8_t, a > b ? a - b : b - a)
#undef WB_SIMD

// The library's are calls; these are one instruction each, with the same answers for NaN.
#define fmaxf wb_fmaxf
#define fminf wb_fminf
WB_PURE float wb_fmaxf(float a, float b) { return b > a || a != a ? b : a; }
WB_PURE float wb_fminf(float a, float b) { return b < a || a != a ? b : a; }
namespace std {
using ::wb_fmaxf;
using ::wb_fminf;
}  // namespace std

// min and max as the device has them, for every pair of arithmetic types.
#define WB_MINMAX(T)                                                                                                   \
    WB_PURE T min(T a, T b) { return b < a ? b : a; }                                                                 \
    WB_PURE T max(T a, T b) { return a < b ? b : a; }
WB_MINMAX(int)
WB_MINMAX(unsigned)
WB_MINMAX(long)
WB_MINMAX(unsigned long)
WB_MINMAX(long long)
WB_MINMAX(unsigned long long)
#undef WB_MINMAX
WB_PURE float min(float a, float b) { return wb_fminf(a, b); }
WB_PURE float max(float a, float b) { return wb_fmaxf(a, b); }
WB_PURE double min(double a, double b) { return __builtin_fmin(a, b); }
WB_PURE double max(double a, double b) { return __builtin_fmax(a, b); }
WB_PURE unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
WB_PURE unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
WB_PURE unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
WB_PURE unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
WB_PURE double min(float a, double b) { return __builtin_fmin(a, b); }
WB_PURE double min(double a, float b) { return __builtin_fmin(a, b); }
WB_PURE double max(float a, double b) { return __builtin_fmax(a, b); }
WB_PURE double max(double a, float b) { return __builtin_fmax(a, b); }
template <class A, class B, class = std::enable_if_t<std::is_integral<A>::value && std::is_integral<B>::value && !std::is_same<A, B>::value>>
WB_PURE std::common_type_t<A, B> min(A a, B b) { return min((std::common_type_t<A, B>)a, (std::common_type_t<A, B>)b); }
template <class A, class B, class = std::enable_if_t<std::is_integral<A>::value && std::is_integral<B>::value && !std::is_same<A, B>::value>>
WB_PURE std::common_type_t<A, B> max(A a, B b) { return max((std::common_type_t<A, B>)a, (std::common_type_t<A, B>)b); }
WB_PURE unsigned umin(unsigned a, unsigned b) { return min(a, b); }
WB_PURE unsigned umax(unsigned a, unsigned b) { return max(a, b); }

// <cmath> leaves some overloads in std only; CUDA has them in the global namespace.
using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;
#define WB_FLOAT_OVERLOAD(name) \
    using std::name;
WB_FLOAT_OVERLOAD(acos)
WB_FLOAT_OVERLOAD(acosh)
WB_FLOAT_OVERLOAD(asin)
WB_FLOAT_OVERLOAD(asinh)
WB_FLOAT_OVERLOAD(atan)
WB_FLOAT_OVERLOAD(atan2)
WB_FLOAT_OVERLOAD(atanh)
WB_FLOAT_OVERLOAD(cbrt)
WB_FLOAT_OVERLOAD(ceil)
WB_FLOAT_OVERLOAD(copysign)
WB_FLOAT_OVERLOAD(cos)
WB_FLOAT_OVERLOAD(cosh)
WB_FLOAT_OVERLOAD(erf)
WB_FLOAT_OVERLOAD(erfc)
WB_FLOAT_OVERLOAD(exp)
WB_FLOAT_OVERLOAD(exp2)
WB_FLOAT_OVERLOAD(expm1)
WB_FLOAT_OVERLOAD(fabs)
WB_FLOAT_OVERLOAD(fdim)
WB_FLOAT_OVERLOAD(floor)
WB_FLOAT_OVERLOAD(fma)
WB_FLOAT_OVERLOAD(fmax)
WB_FLOAT_OVERLOAD(fmin)
WB_FLOAT_OVERLOAD(fmod)
WB_FLOAT_OVERLOAD(frexp)
WB_FLOAT_OVERLOAD(hypot)
WB_FLOAT_OVERLOAD(ldexp)
WB_FLOAT_OVERLOAD(lgamma)
WB_FLOAT_OVERLOAD(log)
WB_FLOAT_OVERLOAD(log10)
WB_FLOAT_OVERLOAD(log1p)
WB_FLOAT_OVERLOAD(log2)
WB_FLOAT_OVERLOAD(lrint)
WB_FLOAT_OVERLOAD(lround)
WB_FLOAT_OVERLOAD(modf)
WB_FLOAT_OVERLOAD(nearbyint)
WB_FLOAT_OVERLOAD(pow)
WB_FLOAT_OVERLOAD(remainder)
WB_FLOAT_OVERLOAD(rint)
WB_FLOAT_OVERLOAD(round)
WB_FLOAT_OVERLOAD(sin)
WB_FLOAT_OVERLOAD(sinh)
WB_FLOAT_OVERLOAD(sqrt)
WB_FLOAT_OVERLOAD(tan)
WB_FLOAT_OVERLOAD(tanh)
WB_FLOAT_OVERLOAD(tgamma)
WB_FLOAT_OVERLOAD(trunc)
#undef WB_FLOAT_OVERLOAD
WB_PURE float rsqrt(float a) { return rsqrtf(a); }
WB_PURE void sincos(float a, float *s, float *c) { *s = ::sinf(a), *c = ::cosf(a); }

WB_PURE size_t __cvta_generic_to_shared(const void *p) { return (size_t)p; }
WB_PURE size_t __cvta_generic_to_global(const void *p) { return (size_t)p; }
