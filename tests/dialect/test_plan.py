"""Plans as people write them: what each word of the language does, and what each slip is answered."""

from __future__ import annotations

import math

import pytest
from dialect_plans import SIZE, Evaluate, error_of, forward, plan_of, size_of, source_of
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.plan import (
    CompileOptions,
    Fill,
    Knob,
    Launch,
    LibraryStep,
    NotCovered,
    PointersArg,
    ScalarArg,
    TensorArg,
    limits_for,
)
from workbench.core.task import Output, Parameter, SizeSpec
from workbench.core.tensors import TensorSpec, contiguous

# --- what plans say -----------------------------------------------------------------------------------------------


def test_the_example_of_the_dialect_is_evaluated_to_pure_data(evaluate: Evaluate) -> None:
    plan = plan_of(
        evaluate(
            "BLOCK = tune(256, [128, 256, 512])\n"
            'compile(defines={"BLOCK": BLOCK})\n'
            "\n"
            "def forward(x, layers_0_weight, norm_a_eps):\n"
            "    rows, cols = x.shape\n"
            '    require(cols % 4 == 0, "rows are read as float4")\n'
            "    y = empty_like(x)\n"
            '    launch("rmsnorm", grid=rows, block=BLOCK, args=[x, layers_0_weight, y, cols, norm_a_eps])\n'
            "    return y\n"
        )
    )
    assert plan.size == "small"
    assert plan.options == CompileOptions(defines=(("BLOCK", "256"),))
    assert [(t.origin, t.path, t.role, t.line) for t in plan.tensors] == [
        ("signature", "input:x", "input", 0),
        ("signature", "parameter:layers.0.weight", "input", 0),
        ("empty", None, "output", 8),
    ]
    assert plan.steps == (
        Launch(
            kernel="rmsnorm",
            grid=(64, 1, 1),
            block=(256, 1, 1),
            args=(TensorArg(0), TensorArg(1), TensorArg(2), ScalarArg("int", 512), ScalarArg("float", 1e-5)),
            line=9,
        ),
    )
    assert plan.outputs == (2,)
    assert plan.knobs == (Knob("BLOCK", 256, (128, 256, 512)),)
    assert plan.values == {"BLOCK": 256}
    assert plan.line == 5


def test_all_sizes_are_evaluated_at_once_and_each_on_its_own(evaluate: Evaluate) -> None:
    plan = 'seen = []\ndef forward(x):\n    seen.append(1)\n    require(x.shape[1] > 100, "wide rows only")\n    return empty((len(seen), x.shape[0]), x.dtype)\n'
    sizes = [size_of(64, 512), size_of(8, 16, "narrow"), size_of(32, 4096, "full")]
    first, second, third = evaluate(plan, sizes)
    assert plan_of(first).tensors[1].spec.shape == (1, 64)
    assert second == NotCovered("narrow", "wide rows only", 5)
    assert plan_of(third).tensors[1].spec.shape == (1, 32)


def test_zeros_views_pointers_and_scratch(evaluate: Evaluate) -> None:
    plan = plan_of(
        evaluate(
            forward(
                'counters = zeros(4, "int32")',
                "y = empty(x.shape, float16)",
                "flat = view(y, -1)",
                "square = view(flat, (2, -1, 8))",
                'launch("k", (1, 2), (32, 2, 2), [pointers([x, y]), counters, square], shared=1024)',
                "return flat",
            )
        )
    )
    assert [(t.origin, t.base, t.role, t.spec.shape) for t in plan.tensors] == [
        ("signature", None, "input", (64, 512)),
        ("zeros", None, "scratch", (4,)),
        ("empty", None, "output", (64, 512)),
        ("view", 2, "output", (32768,)),
        ("view", 2, "output", (2, 2048, 8)),
    ]
    assert plan.steps[0] == Fill(1, 3)
    launch = plan.steps[1]
    assert isinstance(launch, Launch)
    assert launch.args == (PointersArg((0, 2)), TensorArg(1), TensorArg(4))
    assert (launch.grid, launch.block, launch.shared_bytes) == ((1, 2, 1), (32, 2, 2), 1024)


def test_forced_types_and_numbers_beyond_the_finite(evaluate: Evaluate) -> None:
    plan = plan_of(
        evaluate(
            forward(
                'launch("k", 1, 1, [f32(1), f64(2.0), i32(3.0), i64(4), True, -inf, nan, 2**63, -2**63])',
                "return x",
            )
        )
    )
    (launch,) = plan.steps
    assert isinstance(launch, Launch)
    kinds = [(a.kind, type(a.value)) for a in launch.args if isinstance(a, ScalarArg)]
    assert kinds == [
        ("f32", float),
        ("f64", float),
        ("i32", int),
        ("i64", int),
        ("bool", bool),
        ("float", float),
        ("float", float),
        ("int", int),
        ("int", int),
    ]
    assert math.isnan(launch.args[6].value)  # type: ignore[union-attr]  # the step of that number, as written above


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("x", "input:x"),
        ("layers_0_weight", "parameter:layers.0.weight"),
    ],
)
def test_tensors_are_found_by_their_written_names(evaluate: Evaluate, name: str, path: str) -> None:
    assert plan_of(evaluate(forward(f"return {name}", parameters=name))).tensors[0].path == path


@pytest.mark.parametrize("key", ["layers.0.weight", "layers_0_weight", "parameter:layers.0.weight"])
def test_params_reaches_any_name_anywhere(evaluate: Evaluate, key: str) -> None:
    for plan in (
        forward(f'return params["{key}"]', parameters=""),
        forward(f'return params["{key}"]', parameters="params"),
        f'W = params["{key}"].numel\n' + forward("return empty(W, 'float32')", parameters=""),
    ):
        assert plan_of(evaluate(plan)).tensors[0].path == "parameter:layers.0.weight"


def test_scalars_arrive_as_plain_values(evaluate: Evaluate) -> None:
    checks = (
        'require(groups == 4 and causal is True and mask is None and norm_a_eps == 1e-5 and "x" in params)'
    )
    answer = evaluate(forward(checks, "return x", parameters="x, groups, causal, mask, norm_a_eps"))
    assert plan_of(answer).outputs == (0,)


def test_an_attribute_is_found_by_its_own_name_where_that_is_unique(evaluate: Evaluate) -> None:
    size = SizeSpec("s", {}, (Parameter("config_eps", "config.eps", "attribute", None, 0.5),), ())
    (plan,) = evaluate("def forward(eps):\n    require(eps == 0.5)\n", [size])
    assert plan_of(plan).outputs == ()


def test_tensors_know_their_shape_dtype_and_layout(evaluate: Evaluate) -> None:
    checks = (
        "x.shape == (64, 512) and x.dtype == 'float32' and x.dtype == float32 and x.dtype != half and x.numel == 32768 "
        "and x.strides == (512, 1) and x.ndim == 2 and x.nbytes == 131072 and x.is_contiguous and x.dtype.itemsize == 4 "
        "and x.dtype.ctype == 'float' and half == float16 and half.ctype == '__half' and x.dtype in (float16, float32)"
    )
    plan_of(evaluate(forward(f"assert {checks}", "return x")))


def test_helpers_that_plans_expect(evaluate: Evaluate) -> None:
    checks = (
        "cdiv(7, 2) == 4 and ceil_div(8, 2) == 4 and round_up(5, 4) == 8 and next_power_of_2(5) == 8 "
        "and min(1, 2) == 1 and prod((2, 3)) == 6 and ceil(1.5) == 2 and math.sqrt(4) == 2 and sum([1, 2]) == 3 "
        "and sorted([2, 1]) == [1, 2] and f'{1:02d}' == '01' and gcd(4, 6) == 2"
    )
    plan_of(evaluate("import math\n" + forward(f"assert {checks}", "return x")))


@pytest.mark.parametrize(
    "name",
    [
        "float64",
        "float16",
        "half",
        "bfloat16",
        "float8_e4m3fn",
        "int64",
        "long",
        "int8",
        "uint8",
        '"bool"',
        "bool",
    ],
)
def test_dtypes_are_written_as_names_or_strings(evaluate: Evaluate, name: str) -> None:
    assert plan_of(evaluate(forward(f"return empty(3, {name})"))).tensors[1].spec.nbytes >= 3


def test_options_add_up_and_may_use_shapes(evaluate: Evaluate) -> None:
    plan = plan_of(
        evaluate(
            'compile(defines={"A": 1, "B": True, "T": float16}, fast_math=True)\n'
            + forward(
                'compile(defines={"A": x.shape[1], "S": "x + 1", "F": 0.5}, max_registers=64)', "return x"
            )
        )
    )
    assert plan.options == CompileOptions(
        (("A", "512"), ("B", "1"), ("F", "0.5"), ("S", "x + 1"), ("T", "__half")), True, 64
    )


def test_knobs_take_the_values_that_are_asked_for(evaluate: Evaluate) -> None:
    text = (
        "A, B = tune(1, [1, 2]), tune('u', ['u', 'v'])\n"
        "C: float = tune(0.5, [0.5, 1.0])\n"
        "def forward(x):\n"
        "    if (D := tune(True, [True, False])): pass\n"
        "    E = tune(3, (3, 4), name='E2')\n"
        "    launch('k', A, 32, [B == 'v', C, D, E])\n"
        "    return x\n"
    )
    plan = plan_of(evaluate(text, knobs={"B": "v", "D": False, "E2": 4}))
    assert plan.values == {"A": 1, "B": "v", "C": 0.5, "D": False, "E2": 4}
    assert [k.default for k in plan.knobs] == [1, "u", 0.5, True, 3]
    assert plan.steps[0].args[0] == ScalarArg("bool", True)  # type: ignore[union-attr]  # the step of that number, as written above


def test_saved_tensors_are_named_by_their_variable(evaluate: Evaluate) -> None:
    plan = plan_of(
        evaluate(
            forward("rstd = empty(x.shape[0], float32)", "save(rstd)", "save(x, name='input')", "return x")
        )
    )
    assert plan.saved == (("rstd", 1), ("input", 0))


def test_library_steps_know_their_results(evaluate: Evaluate) -> None:
    plan = plan_of(
        evaluate(
            forward(
                'a = torch_op("aten.mm", x, torch_op("transpose_copy", x, 0, 1))',
                'b = torch_op("aten.cat", [a, a], 1)',
                'c = torch_op("aten.sum", b, [-1], True)',
                'd = torch_op("aten._to_copy", c, dtype=half)',
                "return d",
            )
        )
    )
    assert [(t.origin, str(t.spec)) for t in plan.tensors[1:]] == [
        ("op", "float32[512, 64]"),
        ("op", "float32[64, 64]"),
        ("op", "float32[64, 128]"),
        ("op", "float32[64, 1]"),
        ("op", "float16[64, 1]"),
    ]
    assert plan.uses_library
    assert plan.steps[2] == LibraryStep(
        op="aten.cat", args=(TensorArg(2), TensorArg(2), ScalarArg("int", 1)), outputs=(3,), line=4
    )
    assert plan.steps[4].kwargs == (("dtype", "float16"),)  # type: ignore[union-attr]  # the step of that number, as written above


def test_a_dict_is_returned_in_the_order_of_the_reference(evaluate: Evaluate) -> None:
    spec = contiguous((2,), "float32")
    size = SizeSpec("s", {}, (), (Output("out_a", spec), Output("out_b", spec)))
    text = forward(
        "b = empty(2, float32)", "a = empty(2, float32)", 'return {"out_b": b, "out_a": a}', parameters=""
    )
    assert plan_of(evaluate(text, [size])[0]).outputs == (1, 0)
    wrong = evaluate(text.replace("out_a", "out_c"), [size])
    assert "returns out_b, out_c; the reference returns out_a: float32[2], out_b: float32[2]" in error_of(
        wrong, 2
    )


def test_a_plan_indented_as_a_whole_is_read_with_its_own_columns(evaluate: Evaluate) -> None:
    plan_of(evaluate("   # set off\n   def forward(x):\n       return x\n"))
    answer = evaluate("   def forward(x):\n       return nowhere\n")
    assert "nowhere" in error_of(answer, 3)
    assert answer.diagnostics[0].column == 15


def test_the_same_plan_says_the_same_every_time(evaluate: Evaluate) -> None:
    text = forward(
        "order = list({'a', 'b', 'c', 'long name', 'x' * 50})",
        "for i, name in enumerate(order): launch(f'k{name[:1]}', i + 1, 32, [hash(name) % 1000])",
        "return x",
    )
    answers = [evaluate(text) for _ in range(4)]
    assert all(a == answers[0] for a in answers)
    from workbench.dialect.planner import Planner

    with Planner() as another:
        assert another.evaluate(source_of(text), [SIZE]) == [answers[0]]


# --- slips --------------------------------------------------------------------------------------------------------

SLIPS = [
    # (body lines; the last is line 2 + their number, which is the one to blame), words
    (["return xx"], "name 'xx' is not defined"),
    (["t.shape"], "name 't' is not defined"),
    (["return 1 / 0"], "ZeroDivisionError"),
    (["import torch"], "cannot import torch"),
    (["from os import path"], "cannot import os"),
    (["open('x')"], "open is not part of the plan language"),
    (["eval('1')"], "eval is not part"),
    (["x.size(0)"], "t.shape[0]"),
    (["x.stride"], "t.strides"),
    (["x.reshape(1)"], "view(t, shape)"),
    (["x.foo"], "has no foo. It has shape"),
    (["x + 1"], "sees no data"),
    (["1 - x"], "sees no data"),
    (["x @ x"], "sees no data"),
    (["if x: pass"], "sees no data"),
    (["float(x)"], "sees no data"),
    (["x < 3"], "sees no data"),
    (["x[0]"], "cannot be indexed"),
    (["len(x)"], "no len()"),
    (["a, b = x"], "cannot be unpacked"),
    (["empty(3)"], "dtype"),
    (["empty(3, 'flot')"], "'flot' is no dtype. Known: float64"),
    (["empty(3, float)"], "Write float32"),
    (["empty(3.5, float32)"], "should be an int or a tuple"),
    (["empty((3, 2.0), float32)"], "Use // for a whole quotient"),
    (["empty(-1, float32)"], "negative"),
    (["empty((1 << 40, 1 << 10), float32)"], "no device holds that"),
    (["empty(1 << 60, float32)"], "larger than any memory"),
    (["empty((1,) * 20, float32)"], "at most 16"),
    (["empty_like((3, 4))"], "a tuple should be a tensor"),
    (["view(x, (3, 4))"], "12 elements, float32[64, 512] has 32,768"),
    (["view(x, (-1, -1))"], "only one -1"),
    (["view(x, (-1, 7))"], "does not divide"),
    (["pointers(x)"], "pointers([a, b])"),
    (["launch('k', 1, 1025)"], "block.x=1,025 threads; at most 1,024"),
    (["launch('k', 1, (32, 33))"], "1,056 threads; a block has at most 1,024"),
    (["launch('k', 1, (1, 1, 65))"], "block.z=65"),
    (["launch('k', (1, 65536), 1)"], "grid.y=65,536 blocks; at most 65,535"),
    (["launch('k', 1 << 31, 1)"], "grid.x=2,147,483,648"),
    (["launch('k', 0, 1)"], "at least 1"),
    (["launch('k', 1.5, 1)"], "Use cdiv(a, b)"),
    (["launch('k', (1, 1, 1, 1), 1)"], "4 dimensions"),
    (["launch('k', True, 1)"], "no int"),
    (["launch('k', '1', 1)"], "no int"),
    (["launch('k', 1, 1, shared=232449)"], "at most 232,448"),
    (["launch('k', 1, 1, shared=-1)"], "number of bytes"),
    (["launch('k', 8, 1, cluster=17)"], "at most 16 form a cluster"),
    (["launch('k', 9, 1, cluster=2)"], "does not divide into clusters"),
    (["launch('k', 1, 1, cooperative=1)"], "True or False"),
    (["launch('k', 1, 1, x)"], "args should be a list"),
    (["launch('k', 1, 1, [x, None])"], "argument 2 is None"),
    (["launch('k', 1, 1, [x.shape])"], "argument 1 is a tuple"),
    (["launch('k', 1, 1, ['f'])"], "compile(defines"),
    (["launch('k', 1, 1, [float32])"], "compile(defines"),
    (["launch('k', 1, 1, [1 << 64])"], "does not fit 64 bits"),
    (["launch('k', 1, 1, [i32(1 << 40)])"], "does not fit 32 bits"),
    (["i32(1.5)"], "a whole number is meant"),
    (["f32('1')"], "a number is meant"),
    (["launch('', 1, 1)"], "is no kernel name"),
    (["launch('k; rm', 1, 1)"], "is no kernel name"),
    (["launch('k\\n#include \"x\"', 1, 1)"], "is no kernel name"),
    (["launch(3, 1, 1)"], "3 is no kernel name"),
    (["launch('k', 1)"], "missing 1 required positional argument: 'block'"),
    (["launch('k', 1, 1, sharedmem=3)"], "unexpected keyword argument 'sharedmem'"),
    (["[launch('k', 1, 1) for _ in range(5000)]"], "More than 4,096 steps"),
    (["[empty(1, float32) for _ in range(9000)]"], "More than 8,192 tensors"),
    (["tensor_map(x, (64, 64))"], "not yet on this target"),
    (["torch_op('aten.svd', x)"], "'aten.svd' is not on the allowlist: aten._to_copy"),
    (["torch_op('aten.mm', x, x)"], "float32[64, 512] and float32[64, 512] do not fit together"),
    (["torch_op('aten.relu', 3)"], "should be a tensor"),
    (["torch_op('aten.sum', x, 5)"], "dim 5 is none of a tensor of 2 dimensions"),
    (["torch_op('aten.add', x, torch_op('aten._to_copy', x, dtype=half))"], "dtypes differ"),
    (["torch_op('aten.exp', x, out=x)"], "unexpected keyword argument 'out'"),
    (["torch_op(x)"], "should be the name of an operator"),
    (["torch_op('aten.mm', x, {})"], "argument 2 is a dict"),
    (["tune(1, [1, 2])"], "a knob needs a name"),
    (["A = tune(3, [1, 2])"], "the default 3 is not among the choices [1, 2]"),
    (["A = tune(1, [])"], "0 choices"),
    (["A = tune(1, 1)"], "should be a list"),
    (["A = tune(x, [x])"], "number, a bool or a short string"),
    (["A = tune(nan, [nan])"], "number, a bool or a short string"),
    (["A = tune(1, [1, True])", "A = tune(1, [1])"], "a second knob of this name"),
    (["compile(defines=[1])"], "should be a dict"),
    (["compile(defines={'1a': 1})"], "no name of a macro"),
    (["compile(defines={'A': inf})"], "INFINITY"),
    (["compile(defines={'A': 'a\\nb'})"], "one line"),
    (["compile(defines={'A': x})"], "number, a bool, a string or a dtype"),
    (["compile(max_registers=8)"], "16 to 255"),
    (["compile(fast_math=1)"], "True or False"),
    (["require(x)"], "the condition is a tensor"),
    (["save(empty(1, float32))"], "needs a name"),
    (["save(3, name='a')"], "should be a tensor"),
    (["params[0]"], "names are strings"),
    (["params['layers.0.wait']"], "Did you mean layers.0.weight?"),
    (["params.x"], 'params["x"]'),
    (["params['eps']"], 'params["attribute:norm.a.eps"], params["attribute:norm.b.eps"]'),
    (["cdiv(1.0, 2)"], "should be an int"),
    (["cdiv(1, 0)"], "division by zero"),
    (["raise ValueError('my own')"], "ValueError: my own"),
    (["assert x.shape[0] == 1, 'one row'"], "AssertionError: one row"),
    (["def f(): f()", "f()"], "recurses without end"),
    (["raise [c for c in BaseException.__subclasses__() if c.__name__ == 'SystemExit'][0]"], "ended itself"),
    (
        ["raise [c for c in BaseException.__subclasses__() if c.__name__ == 'KeyboardInterrupt'][0]"],
        "KeyboardInterrupt",
    ),
    (["raise ValueError('a \\ud800 b')"], "ValueError: a ? b"),
    (["launch('\u00e9', 1, 1)"], "is no kernel name"),
    (["launch('k', 1, 1, shared=10 ** 5000)"], "ValueError"),
    (["torch_op('aten.sum', x, (0,) * 99)"], "longer than any operator takes"),
    (["class E(Exception):", "    def __str__(self): raise self", "raise E()"], "cannot be printed"),
]


@pytest.mark.parametrize(("body", "words"), SLIPS, ids=[body[-1][:40] for body, _ in SLIPS])
def test_a_slip_is_named_at_its_line(evaluate: Evaluate, body: list[str], words: str) -> None:
    answer = evaluate(forward(*body))
    recursing = "recurses" in words
    line = None if recursing or "printed" in words else 2 + len(body)
    assert words in error_of(answer, line)
    assert answer.cause == "plan"


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("def forward(x:\n    return x\n", "'(' was never closed", 2),
        ("def forward(x):\n    return x +\n", "invalid syntax", 3),
        ("def forward(x):\nreturn x\n", "expected an indented block", 3),
        ("def forward(x):\n    a = 1\n      b = 2\n", "unexpected indent", 4),
        ("def forward(x):\n    a = 'open\n", "unterminated string", 3),
        ("x = 1\n", "no function forward. The task's signature: forward(", 0),
        ("forward = 3\n", "no function forward", 0),
        ("\n\ndef forward(xx):\n    return xx\n", "The task has no xx. Did you mean x?", 2),
        ("def forward(eps):\n    return 1\n", "eps is ambiguous", 2),
        ("def forward(*args):\n    return 1\n", "parameters by name", 2),
        ("def forward(**kwargs):\n    return 1\n", "parameters by name", 2),
        ("def forward(x):\n    pass\n", "returns nothing; the reference returns out: float32[64, 512]", 2),
        ("def forward(x):\n    return 3\n", "returns 3;", 2),
        ("def forward(x):\n    return [x, 3]\n", "returns 3;", 2),
        ("def forward(x):\n    yield x\n", "returns a generator", 2),
        ("async def forward(x):\n    return x\n", "returns a coroutine", 2),
        ("1 / 0\ndef forward(x): pass\n", "ZeroDivisionError", 2),
        ("break\n", "'break' outside loop", 2),
        ("return 3\n", "'return' outside function", 2),
        ("x = 1\n\x0c y = (\n", "", 3),
    ],
)
def test_a_broken_plan_is_answered_with_its_line(
    evaluate: Evaluate, text: str, words: str, line: int
) -> None:
    assert words in error_of(evaluate(text), line)


def test_an_unknown_or_ambiguous_name_prints_the_signature(evaluate: Evaluate) -> None:
    for name in ("nothing_like_it", "eps"):
        message = error_of(evaluate(forward("return x", parameters=f"x, {name}")))
        assert (
            "forward(\n    x: float32[64, 512],\n    mask = None,\n    layers_0_weight: float32[512]"
            in message
        )
        assert "-> out: float32[64, 512]" in message


def test_a_failure_at_a_later_size_names_the_size(evaluate: Evaluate) -> None:
    answer = evaluate(
        forward("launch('k', 1, x.shape[1])", "return x"), [size_of(2, 512), size_of(2, 4096, "full")]
    )
    assert error_of(answer, 3).startswith("At size full: launch k: block.x=4,096")


def test_columns_point_at_the_call(evaluate: Evaluate) -> None:
    (diagnostic,) = evaluate(forward("y = 1; launch('k', 1, 1025)", "return x")).diagnostics
    assert (diagnostic.line, diagnostic.column) == (3, 12)


def test_library_steps_are_refused_where_only_own_kernels_count(evaluate: Evaluate) -> None:
    answer = evaluate(forward('return torch_op("aten.relu", x)'), own_kernels_only=True)
    assert "own_kernels_only" in error_of(answer, 3)


def test_limits_are_those_of_the_device(evaluate: Evaluate) -> None:
    text = forward("launch('k', 2, 32, shared=70000)", "return x")
    assert "at most 65,536" in error_of(evaluate(text, limits=limits_for("sm_75")), 3)
    text = forward("launch('k', 2, 32, cluster=2)", "return x")
    assert "no thread block clusters" in error_of(evaluate(text, limits=limits_for("sm_80")), 3)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [({"Z": 1}, "no knob Z; its knobs: A"), ({"A": 3}, "3 is not among"), ({"A": True}, "True is not among")],
)
def test_a_knob_cannot_be_set_to_what_it_does_not_offer(evaluate: Evaluate, knobs: dict, words: str) -> None:
    assert words in error_of(evaluate("A = tune(1, [1, 2])\n" + forward("return x"), knobs=knobs))


def test_a_require_at_the_top_excludes_a_knob_setting(evaluate: Evaluate) -> None:
    text = 'A = tune(1, [1, 2])\nrequire(A == 1, "two does not fit")\n' + forward("return x")
    assert evaluate(text, knobs={"A": 2}) == NotCovered("small", "two does not fit", 3)


def test_strides_of_the_signature_are_seen_and_forbid_a_view(evaluate: Evaluate) -> None:
    spec = TensorSpec((4, 8), "float32", (1, 4))
    size = SizeSpec("s", {}, (Parameter("x", "x", "input", spec),), ())
    text = forward("require(x.strides == (1, 4) and not x.is_contiguous)", "view(x, 32)")
    assert "not contiguous (strides [1, 4])" in error_of(evaluate(text, [size]), 4)


@given(st.integers(1, 1 << 20), st.integers(1, 1 << 20))
def test_cdiv_covers_and_does_not_overshoot(a: int, b: int) -> None:
    from workbench.dialect.language import cdiv, round_up

    assert (cdiv(a, b) - 1) * b < a <= cdiv(a, b) * b == round_up(a, b)
