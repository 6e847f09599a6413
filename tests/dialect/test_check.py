"""A plan against the reference's outputs and the compiled kernels."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from dialect_plans import Evaluate, forward, plan_of
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.build import Kernel, KernelParameter
from workbench.core.plan import Plan, PointersArg, ScalarArg, TensorArg, limits_for
from workbench.core.task import Output, Parameter, SizeSpec
from workbench.core.tensors import contiguous
from workbench.dialect.check import check_arguments, check_outputs, encode_scalar, pack_arguments

X = contiguous((4, 8), "float32")
ROW = contiguous((4,), "float32")


def size(*outputs: Output) -> SizeSpec:
    parameters = (
        Parameter("x", "x", "input", X),
        Parameter("cache", "cache", "input", X, mutable=True),
        Parameter("n", "n", "attribute", None, 3),
    )
    return SizeSpec("s", {}, parameters, outputs)


TWO = size(Output("out_0", X), Output("out_1", ROW))
ONE = size(Output("out", X))


def outputs(evaluate: Evaluate, spec: SizeSpec, *body: str) -> list[tuple[str, int]]:
    plan = plan_of(evaluate(forward(*body, parameters="x, cache"), [spec])[0])
    return [(d.message, d.line) for d in check_outputs(plan, spec)]


def test_outputs_that_match_are_silent(evaluate: Evaluate) -> None:
    assert outputs(evaluate, TWO, "return empty_like(x), empty(4, float32)") == []
    assert outputs(evaluate, ONE, "return view(empty(32, float32), x.shape)") == []
    assert outputs(evaluate, size(), "return None") == []


@pytest.mark.parametrize(
    ("spec", "body", "words", "line"),
    [
        (
            TWO,
            ["return empty_like(x)"],
            "returns 1 tensor; the reference returns out_0: float32[4, 8], out_1",
            2,
        ),
        (ONE, ["y = empty_like(x)", "return y, y"], "returns 2 tensors; the reference returns out:", 2),
        (
            ONE,
            ["y = empty((8, 4), float32)", "return y"],
            "out is float32[8, 4]; the reference returns float32[4, 8]",
            3,
        ),
        (ONE, ["y = empty(32, float32)", "return y"], "Return view(t, shape).", 3),
        (
            ONE,
            ["return empty(x.shape, half)"],
            "out is float16[4, 8]; the reference returns float32[4, 8].",
            3,
        ),
        (TWO, ["r = empty(4, float32)", "return r, empty_like(x)"], "It would fit out_1: the order", 3),
        (ONE, ["return x"], "out is the input x itself", 2),
        (ONE, ["return cache"], "out is the input cache itself", 2),
        (ONE, ["y = view(x, (4, 8))", "return y"], "out is the input x itself", 3),
        (
            size(Output("a", X), Output("b", X)),
            ["y = empty_like(x)", "return y, y"],
            "b and a are the same memory",
            3,
        ),
        (
            size(Output("a", X), Output("b", X)),
            ["y = empty_like(x)", "return y, view(y, (4, 8))"],
            "b and a are the same memory",
            4,
        ),
        (size(Output("a", X, input="input:cache")), ["return x"], "a is the input x itself", 2),
    ],
)
def test_a_wrong_output_says_what_the_reference_returns(
    evaluate: Evaluate, spec: SizeSpec, body: list[str], words: str, line: int
) -> None:
    found = outputs(evaluate, spec, *body)
    assert words in found[0][0]
    assert found[0][1] == line


def test_an_input_is_returned_where_the_reference_returns_it(evaluate: Evaluate) -> None:
    spec = size(Output("a", X, input="input:cache"))
    assert outputs(evaluate, spec, "return cache") == []
    assert outputs(evaluate, spec, "return empty_like(cache)") == []


# --- arguments ----------------------------------------------------------------------------------------------------


def parameter(kind: str, bytes_: int, type_: str = "") -> KernelParameter:
    return KernelParameter(0, bytes_, kind, type_)  # type: ignore[arg-type]  # parametrized


POINTER = parameter("pointer", 8)
INT = parameter("int", 4, "int")
FLOAT = parameter("float", 4, "float")


def kernel(*parameters: KernelParameter, **fields: Any) -> Kernel:
    costs = {"registers": 32, "spill_bytes": 0, "stack_bytes": 0, "shared_bytes": 0, "constant_bytes": 0}
    return Kernel(name="k", symbol="k", parameters=parameters, **{**costs, **fields})


def plan(evaluate: Evaluate, *body: str) -> Plan:
    return plan_of(evaluate(forward(*body, "return empty_like(x)", parameters="x, cache, n"), [ONE])[0])


def complaints(evaluate: Evaluate, launch: str, *kernels: Kernel, **options: Any) -> list[str]:
    found = check_arguments(plan(evaluate, launch), kernels, **options)
    assert all(d.line == 3 for d in found)
    return [d.message for d in found]


FITTING = [
    ("x", POINTER),
    ("x", parameter("pointer", 8, "const float* __restrict__")),
    ("x", parameter("pointer", 8, "const float *")),
    ("x", parameter("pointer", 8, "float4*")),
    ("x", parameter("pointer", 8, "const void*")),
    ("x", parameter("pointer", 8, "unsigned char*")),
    ("x", parameter("pointer", 8, "MyStruct*")),
    ("x", parameter("unknown", 8)),
    ("empty(3, half)", parameter("pointer", 8, "const __half*")),
    ("empty(3, half)", parameter("pointer", 8, "half*")),
    ("empty(3, half)", parameter("pointer", 8, "unsigned short*")),
    ("empty(3, bfloat16)", parameter("pointer", 8, "__nv_bfloat16*")),
    ("empty(3, int64)", parameter("pointer", 8, "const long long*")),
    ("empty(3, int64)", parameter("pointer", 8, "const int64_t*")),
    ("pointers([x])", parameter("pointer", 8, "const float* const*")),
    ("pointers([x])", parameter("pointer", 8, "float**")),
    ("3", INT),
    ("-3", INT),
    ("3", parameter("int", 8, "long long")),
    ("3", parameter("int", 8, "size_t")),
    ("True", parameter("int", 1, "bool")),
    ("True", INT),
    ("3", parameter("unknown", 4)),
    ("0.5", parameter("unknown", 4)),
    ("0.5", FLOAT),
    ("-inf", FLOAT),
    ("0.5", parameter("float", 8, "double")),
    ("0.5", parameter("float", 2, "__half")),
    ("0.5", parameter("float", 2, "__nv_bfloat16")),
    ("f32(1)", FLOAT),
    ("i64(1)", parameter("int", 8, "long")),
    ("4294967295", parameter("int", 4, "unsigned int")),
    ("4294967295", parameter("int", 4)),
]


@pytest.mark.parametrize(
    ("argument", "wanted"), FITTING, ids=[f"{a} for {p.type or p.kind}" for a, p in FITTING]
)
def test_arguments_that_fit_are_silent(evaluate: Evaluate, argument: str, wanted: KernelParameter) -> None:
    assert complaints(evaluate, f"launch('k', 1, 32, [{argument}])", kernel(wanted)) == []


MISFITS = [
    ("3", FLOAT, "the int 3, the parameter is float: write 3.0 or f32(...)"),
    ("True", FLOAT, "the bool True, the parameter is float"),
    ("0.5", INT, "the float 0.5, the parameter is int: write an int or i32(...)"),
    ("x", INT, "the tensor x: float32[4, 8], the parameter is int"),
    ("3", POINTER, "the int 3, the parameter is pointer"),
    ("0", parameter("pointer", 8, "float*"), "the int 0, the parameter is float*"),
    ("3", parameter("struct", 16, "Shape"), "the parameter is Shape"),
    ("x", parameter("struct", 16, "Shape"), "the parameter is Shape"),
    ("x", parameter("pointer", 8, "const double*"), "x: float32[4, 8], the parameter is const double*"),
    ("empty(3, half)", parameter("pointer", 8, "const float*"), "float16[3], the parameter is const float*"),
    ("empty(3, int32)", parameter("pointer", 8, "long long*"), "int32[3], the parameter is long long*"),
    ("pointers([x])", parameter("pointer", 8, "float*"), "not an array of pointers"),
    ("i64(1)", INT, "i64, 8 bytes, the parameter is int of 4 bytes"),
    ("f64(1)", FLOAT, "f64, 8 bytes"),
    ("1 << 40", INT, "does not fit the parameter int of 4 bytes"),
    ("3000000000", INT, "does not fit"),
    ("-1", parameter("int", 4, "unsigned int"), "does not fit"),
    ("-1", parameter("int", 8, "size_t"), "does not fit"),
    ("2", parameter("int", 1, "bool"), "does not fit"),
    ("1e300", FLOAT, "too large for the parameter float"),
]


@pytest.mark.parametrize(
    ("argument", "wanted", "words"), MISFITS, ids=[f"{a} for {p.type or p.kind}" for a, p, _ in MISFITS]
)
def test_an_argument_of_another_kind_or_size_is_named(
    evaluate: Evaluate, argument: str, wanted: KernelParameter, words: str
) -> None:
    (message,) = complaints(evaluate, f"launch('k', 1, 32, [{argument}])", kernel(wanted))
    assert message.startswith("launch k: argument 1 is ")
    assert words in message
    assert "(k takes " in message


def test_a_wrong_number_of_arguments_lists_the_parameters(evaluate: Evaluate) -> None:
    (message,) = complaints(evaluate, "launch('k', 1, 32, [x])", kernel(POINTER, INT, FLOAT))
    assert message == "launch k: 1 argument for 3 parameters (k takes pointer, int, float)."
    (message,) = complaints(evaluate, "launch('k', 1, 32, [x, n])", kernel())
    assert message == "launch k: 2 arguments for 0 parameters (k takes nothing)."


def test_a_kernel_that_is_not_there_lists_those_that_are(evaluate: Evaluate) -> None:
    (message,) = complaints(evaluate, "launch('other', 1, 32)", kernel())
    assert message == "launch other: no such kernel in the device code; compiled: k."


def test_the_same_slip_in_a_loop_is_told_once(evaluate: Evaluate) -> None:
    assert len(complaints(evaluate, "for _ in range(9): launch('k', 1, 32, [3])", kernel(FLOAT))) == 1


def test_what_a_compiled_kernel_needs_counts_against_the_limits(evaluate: Evaluate) -> None:
    launch = "launch('k', 1, 1024, shared=200_000)"
    assert complaints(evaluate, launch, kernel()) == []
    (message,) = complaints(evaluate, launch, kernel(shared_bytes=40_000))
    assert (
        "40,000 bytes of static and 200,000 of dynamic shared memory; a block has at most 232,448" in message
    )
    (message,) = complaints(evaluate, launch, kernel(max_threads=256))
    assert "1,024 threads a block; it is compiled for at most 256 (__launch_bounds__)" in message
    (message,) = complaints(evaluate, launch, kernel(registers=128))
    assert "1,024 threads of 128 registers need 131,072; a block has 65,536" in message
    (message,) = complaints(evaluate, launch, kernel(), limits=limits_for("sm_86"))
    assert "at most 101,376" in message


# --- packing ------------------------------------------------------------------------------------------------------


def test_packing_gives_each_scalar_its_parameters_width(evaluate: Evaluate) -> None:
    (launch,) = plan(
        evaluate, "launch('k', 1, 32, [x, n, n, -1, 0.5, 0.5, True, pointers([x, cache])])"
    ).steps
    wanted = kernel(
        POINTER,
        INT,
        parameter("int", 8, "long long"),
        parameter("int", 8, "long long"),
        FLOAT,
        parameter("float", 8, "double"),
        parameter("int", 1, "bool"),
        POINTER,
    )
    assert pack_arguments(launch, wanted) == (  # type: ignore[arg-type]  # a launch, as the plan above says
        TensorArg(0),
        struct.pack("<i", 3),
        struct.pack("<q", 3),
        struct.pack("<q", -1),
        struct.pack("<f", 0.5),
        struct.pack("<d", 0.5),
        b"\x01",
        PointersArg((0, 1)),
    )
    with pytest.raises(ValueError, match="8 arguments for 0 parameters"):
        pack_arguments(launch, kernel())  # type: ignore[arg-type]  # likewise


@given(st.floats(allow_nan=False, width=32))
def test_bfloat16_rounds_to_the_nearest(value: float) -> None:
    packed = encode_scalar(ScalarArg("float", value), parameter("float", 2, "__nv_bfloat16"))
    (bits,) = struct.unpack("<H", packed)

    def widened(b: int) -> float:
        return struct.unpack("<f", struct.pack("<I", (b & 0xFFFF) << 16))[0]

    got = widened(bits)
    if math.isfinite(got) and math.isfinite(value):
        below, above = widened(bits - 1 if bits & 0x7FFF else bits), widened(bits + 1)
        others = [v for v in (below, above) if math.isfinite(v)]
        assert all(abs(got - value) <= abs(v - value) for v in others)


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_int_packed_in_eight_bytes_reads_back(value: int) -> None:
    packed = encode_scalar(ScalarArg("int", value), parameter("int", 8, "long long"))
    assert struct.unpack("<q", packed) == (value,)
