"""What is read out of cubins, PTX, demangled names and machine code."""

from __future__ import annotations

import contextlib
import random

import pytest

from tests.profile.conftest import Build
from workbench.profile.cubin import BadCubin, read_cubin
from workbench.profile.ptx import entry_parameters, entry_shared_bytes
from workbench.profile.sass import disassemble
from workbench.profile.types import kind_of, parameter_types, readable

TEXT = """__constant__ float table[4] = {1, 2, 3, 4};
__device__ __forceinline__ float twice(float v) {
    return __expf(v);
}
extern "C" __global__ void k(const float* x, float* y, int n, float by) {
    __shared__ float tile[64];
    tile[threadIdx.x] = twice(x[threadIdx.x]) + table[n];
    __syncthreads();
    y[threadIdx.x] = tile[63 - threadIdx.x] * by;
}
"""


def test_a_cubin_gives_parameters_symbols_and_the_architecture(build: Build) -> None:
    cubin = read_cubin(build(TEXT).cubin)
    kernel = cubin.kernels["k"]
    assert cubin.arch == "sm_90"
    assert [(p.offset, p.size) for p in kernel.parameters] == [(0, 8), (8, 8), (16, 4), (20, 4)]
    assert (kernel.parameter_base, kernel.parameter_bytes) == (0x210, 24)
    assert cubin.constant_bytes("k") == 16
    assert any(s.name == "table" and s.section == ".nv.constant3" for s in cubin.symbols)


def test_a_damaged_cubin_raises_bad_cubin_and_nothing_else(build: Build, seed: int) -> None:
    whole, rng = build(TEXT).cubin, random.Random(seed)
    for _ in range(300):
        data = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
        for _ in range(rng.randint(0, 30)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(BadCubin):
            read_cubin(bytes(data))
    for junk in (b"", b"\x7fELF", b"not an elf file at all", bytes(4096)):
        with pytest.raises(BadCubin):
            read_cubin(junk)


def test_ptx_tells_floats_from_integers_and_structs(build: Build) -> None:
    made = build(
        "struct P { float a[3]; };\n"
        'extern "C" __global__ void k(float* x, double d, P p, short s) { x[0] = d + p.a[1] + s; }'
    )
    (parameters,) = (
        entry_parameters(made.ptx).values()
        if len(entry_parameters(made.ptx)) == 1
        else [entry_parameters(made.ptx)["k"]]
    )
    assert [p.type for p in parameters] == ["u64", "f64", "b8", "u16"]
    assert [p.size for p in parameters] == [8, 8, 12, 2]
    assert entry_shared_bytes(build(TEXT).ptx)["k"] == 256


def test_instructions_carry_the_lines_they_were_inlined_from(build: Build) -> None:
    functions = {f.symbol: f for f in disassemble(build(TEXT).cubin)}
    chains = [[(p.file.rsplit("/", 1)[-1], p.line) for p in i.chain] for i in functions["k"].instructions]
    assert [("candidate.cu", 3), ("candidate.cu", 7)] in chains
    stores = [i for i in functions["k"].instructions if i.name == "STG"]
    assert stores and stores[-1].chain[-1].line == 9


@pytest.mark.parametrize(
    ("demangled", "types"),
    [
        ("void probe<void (float const*, float*, int)>()", ("const float*", "float*", "int")),
        ("void probe<void ()>()", ()),
        ("void probe<void (*)(int)>()", ("int",)),
        ("void probe<void (S<float, 3>, std::pair<int, long>)>()", ("S<float, 3>", "std::pair<int, long>")),
        ("void probe<void (float const* const*)>()", ("const float* const*",)),
        ("void probe<void (void (*)(float, int), int)>()", ("void (*)(float, int)", "int")),
        ("int other<int>()", None),
        ("", None),
    ],
)
def test_parameter_types_are_read_from_a_probe(demangled: str, types: tuple[str, ...] | None) -> None:
    assert parameter_types(demangled) == types


def test_kinds_of_types() -> None:
    assert [
        kind_of(t) for t in ("const float*", "unsigned long long", "__half", "float4", "const int", "")
    ] == [*("pointer", "int", "float", "struct", "int", "unknown")]
    assert readable("float const*") == "const float*"
    assert readable("int volatile const*") == "volatile const int*" or readable(
        "int volatile const*"
    ).endswith("*")
