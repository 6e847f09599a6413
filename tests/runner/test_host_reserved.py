"""Text that means something to the host's compiler or runtime alone is left to a GPU; what CUDA authors write is not."""

from __future__ import annotations

import pytest
from host_kernels import harness

from workbench.core.build import BuildFailure, HostBuild

KERNEL = """
extern "C" __global__ {attribute} void kernel(float *y) {{ {body} y[threadIdx.x] = 1.0f; }}
"""
REFUSED = {
    "no_sanitize": ("", '__attribute__((no_sanitize("thread")))', ""),
    "no_sanitize_thread": ("", "__attribute__((noinline, no_sanitize_thread))", ""),
    "in brackets": ("", "[[gnu::no_sanitize_thread]]", ""),
    "in digraphs": ("", "[<:gnu::no_sanitize_thread]:>", ""),
    "with using": ("", "[[using gnu: no_sanitize_thread]]", ""),
    "through a macro": ("#define A(a) __attribute__((a))", "A(no_sanitize_thread)", ""),
    "pasted": ("#define A(a, b) __attri##bute__((a##b))", "A(no_sanitize_, thread)", ""),
    "pasted keyword": ("#define A(a, b) a##b((no_sanitize_thread))", "A(__attri, bute__)", ""),
    "spliced": ("", "__attribute__((no_sani\\\ntize_thread))", ""),
    "weak": ("__device__ __attribute__((weak)) int other() { return 0; }", "", ""),
    "constructor": ("__attribute__((constructor)) static void early() {}", "", ""),
    "section": ('__device__ __attribute__((section(".init_array"))) void *p = 0;', "", ""),
    "pragma": ('#pragma GCC optimize("O3")', "", ""),
    "_Pragma": ('_Pragma("GCC optimize(3)")', "", ""),
    "stringised pragma": ("#define P(x) _Pragma(#x)\nP(GCC optimize(3))", "", ""),
    "redefine_extname": ("#pragma redefine_extname foo bar", "", ""),
    "callback": ('extern "C" __device__ void __tsan_read4(void *) {}', "", ""),
    "builtin": ("", "", "__builtin_memset(y, 0, 128);"),
    "builtin by pasting": ("#define A(a, b) a##b", "", "A(__builtin_, memcpy)(y, y + 1, 4);"),
    "runtime": ('extern "C" __device__ int wb_active(int) { return 0; }', "", "wb_activemask(1);"),
    "namespace std": ("namespace other {} namespace std { using namespace other; }", "", ""),
    "namespace wb": ("namespace wb::inner { __device__ int a; }", "", ""),
    "mprotect": ('extern "C" __device__ int mprotect(void *, unsigned long, int) { return 0; }', "", ""),
}
ACCEPTED = """
#define PRAGMA(x) _Pragma(#x)
#define ALIGNED(n) __attribute__((aligned(n)))
#define JOIN(a, b) a##b
#pragma nv_diag_suppress 177
namespace mine { struct alignas(16) Four { float a[4]; }; namespace inner { struct a; } }
using namespace mine;
struct ALIGNED(16) Other { float a[4]; };
__device__ __forceinline__ int wb_of_my_own(int wb) { return wb; }
__device__ __attribute__((noinline)) float write(float a) { return a; }
template <class T> [[nodiscard]] __device__ constexpr T half_of(T a) { return a / 2; }
extern "C" __global__ __launch_bounds__(32) void kernel(float *__restrict__ y)
{
    int indices[2] = {0, 1}, at[2] = {1, 0};
    float JOIN(su, m) = 0.0f;
    #pragma unroll 2
    for (int i = 0; i < 2; i++) sum += (float)indices[at[i]];
    PRAGMA(unroll)
    for (int i = 0; i < 2; i++) sum += 0.0f;
    [[maybe_unused]] auto f = [&] { return 0; };
    y[threadIdx.x] = write(sum) + wb_of_my_own(0) + half_of(0.0f);
}
"""


@pytest.mark.parametrize("name", REFUSED)
def test_what_only_the_hosts_compiler_or_runtime_follows_needs_cuda(name: str) -> None:
    before, attribute, body = REFUSED[name]
    found = harness.build(before + KERNEL.format(attribute=attribute, body=body), ["kernel"])
    assert isinstance(found, BuildFailure) and found.cause == "unsupported", found
    assert "needs cuda" in found.diagnostics[0].message


def test_attributes_pragmas_and_names_of_cuda_authors_are_no_reason() -> None:
    found = harness.build(ACCEPTED, ["kernel"])
    assert isinstance(found, HostBuild), [d.message for d in found.diagnostics]
