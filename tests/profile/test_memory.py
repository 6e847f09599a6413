"""How wide machine code's accesses are, and how many loads it has on their way, by source line."""

from __future__ import annotations

from tests.profile.conftest import Build
from workbench.profile.loops import integers_per_float
from workbench.profile.memory import accesses_by_line
from workbench.profile.sass import disassemble

TEXT = """extern "C" __global__ void k(const float4* __restrict__ x, float4* __restrict__ y, const float* __restrict__ z, float* s) {
    __shared__ float tile[32];
    y[threadIdx.x] = x[threadIdx.x];
    const float a = z[threadIdx.x], b = z[threadIdx.x + 99], c = z[threadIdx.x + 999], d = z[threadIdx.x + 9999];
    tile[threadIdx.x] = a + b + c + d;
    __syncthreads();
    atomicAdd(&s[threadIdx.x], tile[31 - threadIdx.x]);
    atomicAdd(&tile[0], a);
    __syncthreads();
    s[99] = tile[0];
}
"""


def test_width_and_batches_of_accesses_stand_at_their_line(build: Build) -> None:
    found = accesses_by_line(disassemble(build(TEXT).cubin))
    assert found[("global", False, 3)].width == found[("global", True, 3)].width == 16
    assert found[("global", False, 4)].width == 4
    assert found[("global", False, 4)].in_flight >= 4
    assert found[("shared", True, 5)].width == 4
    assert ("atomic global", True, 7) in found
    assert found[("atomic shared", True, 8)].looped  # no instruction adds floats in shared memory
    assert accesses_by_line(disassemble(build(TEXT).cubin), "other.cu") == {}


LOOPS = """extern "C" __global__ void k(float* y, int n) {
    __shared__ float tile[32][32];
    float sum[4] = {};
    for (int k = 0; k < n; ++k) {
        tile[threadIdx.y][threadIdx.x] = y[k];
        __syncthreads();
        for (int i = 0; i < 32; ++i)
            for (int j = 0; j < 4; ++j) sum[j] += tile[i][threadIdx.x] * tile[j][i];
        __syncthreads();
    }
    y[threadIdx.x] = sum[0] + sum[1] + sum[2] + sum[3];
}
"""


def test_loops_of_known_length_leave_little_integer_work(build: Build) -> None:
    (ratio,) = integers_per_float(disassemble(build(LOOPS).cubin)).values()
    assert ratio < 0.5  # the host counts more than one for each
    assert integers_per_float(disassemble(build(TEXT).cubin)) == {}
