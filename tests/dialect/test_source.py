"""A candidate's file, whatever it holds, is taken apart or refused with one sentence and its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import UsageError
from workbench.core.plan import PlanFailure
from workbench.dialect.knobs import with_knobs
from workbench.dialect.source import CandidateSource, from_answer, join, split, token_hash

PLAN = 'BLOCK = tune(256, [128, 256])\n\ndef forward(x):\n    launch("k", 1, BLOCK)\n    return x\n'
CUDA = 'extern "C" __global__ void k() {}\n'


def good(data: bytes) -> CandidateSource:
    source = split(data)
    assert isinstance(source, CandidateSource), source
    return source


def refused(data: bytes) -> tuple[str, int]:
    failure = split(data)
    assert isinstance(failure, PlanFailure)
    assert failure.cause == "plan"
    (diagnostic,) = failure.diagnostics
    assert diagnostic.message.count("\n") == 0
    return diagnostic.message, diagnostic.line


def test_both_halves_keep_the_lines_and_columns_of_the_file() -> None:
    text = f"// a comment\n/*@plan\n{PLAN}@*/ int after;\n{CUDA}"
    source = good(text.encode())
    assert source.plan == PLAN
    assert source.plan_line == 3
    assert text.split("\n")[source.plan_line - 1] == "BLOCK = tune(256, [128, 256])"
    assert len(source.device) == len(text)
    assert source.device.split("\n")[7] == "    int after;"
    assert source.device.split("\n")[8] == CUDA.rstrip()
    assert "forward" not in source.device


def test_windows_line_ends_and_a_byte_order_mark_change_no_line() -> None:
    text = "\ufeff" + join(CUDA, PLAN).replace("\n", "\r\n")
    assert good(text.encode()).plan_line == 2
    assert good(text.encode()).plan == PLAN
    assert good(text.encode()).device == good(join(CUDA, PLAN).encode()).device


@pytest.mark.parametrize(
    ("data", "words", "line"),
    [
        (b"", "empty", 0),
        (b" \n\t\n", "empty", 0),
        (b"/*@plan\n@*/\n", "plan is empty", 1),
        (b"\n/*@plan @*/\n", "plan is empty", 2),
        (b"int x;\n/*@plan\ndef forward(): pass\n", "not terminated", 2),
        (b"int x;\n/*@plan\ndef forward(): pass\n*/\nint y;", "plain */", 2),
        (b"/*@plan def forward(): pass\n@*/", "next line", 1),
        (b"int x;\n", "no plan", 0),
        (b"// see the /*@plan block\nint x;", "line comment or a string", 1),
        (b"#include <torch/extension.h>\nPYBIND11_MODULE(a, b) {}", "no host code", 0),
        (b"void f() { k<<<1, 2>>>(); }", "<<<...>>>", 0),
        (b"int a;\nint\0b;", "NUL", 2),
        (b"int a;\nint \xff;", "0xff is not UTF-8", 2),
        (bytes(range(1, 256)) * 10, "not UTF-8", 2),
        (b"x" * (10 << 20), "10.0 MiB; at most 4 MiB", 0),
        (b"/*@plan\n" + b"#" * (1 << 18) + b"\n@*/", "262,145 characters", 1),
    ],
)
def test_what_is_no_candidate_is_refused_with_a_reason_and_its_line(
    data: bytes, words: str, line: int
) -> None:
    message, where = refused(data)
    assert words in message
    assert where == line


def test_two_plans_are_refused_at_the_second_and_name_the_first() -> None:
    message, line = refused((join(CUDA, PLAN) + join(CUDA, PLAN)).encode())
    assert "first begins in line 1" in message
    assert line == 9


@pytest.mark.parametrize(
    "device",
    [
        '// /*@plan in a line comment\n"/*@plan"; ',
        'const char* s = R"x(/*@plan\n@*/)x";\n',
        "/* /*@plan */\n",
        "int n = 1'000'000; // it's\n",
        "char q = '\"'; char r = '\\'';\n",
        "int n = 0x1'F; char c = '/'; char d = '*';\n",
        "// a line comment continued \\\n   /*@plan here\n",
    ],
)
def test_a_marker_inside_a_comment_or_a_literal_is_no_plan(device: str) -> None:
    assert good((device + join(CUDA, PLAN)).encode()).plan == PLAN
    assert good((join(CUDA, PLAN) + device).encode()).plan == PLAN


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_candidate_or_a_failure(data: bytes) -> None:
    assert isinstance(split(data), CandidateSource | PlanFailure)
    assert len(token_hash(data)) == 64


_TRICKY = st.lists(
    st.sampled_from(
        ["/*", "*/", "@*/", "/*@plan\n", '"', "'", "\\", "\n", 'R"(', ')"', "//", "x", "1'0", "#", " "]
    ),
    max_size=60,
).map("".join)


@given(_TRICKY)
def test_the_device_half_is_the_file_with_the_plan_blanked(text: str) -> None:
    source = split(text.encode())
    if isinstance(source, CandidateSource):
        device = source.device
        assert len(device) == len(text)
        assert all(a == b or a == " " for a, b in zip(device, text, strict=True))
        assert (
            text.split("\n")[source.plan_line - 1 :][: source.plan.count("\n")]
            == source.plan.split("\n")[:-1]
        )


@pytest.mark.parametrize(
    "unit",
    ["(", "/*", 'R"(x', 'R"abc(', '"\n', "'", "\\", '"\\\n', "/*@plan ", "1'", "a", "/", "1e+", "/*@plan\n"],
)
def test_a_hostile_file_costs_no_more_than_its_length(unit: str) -> None:
    """What is linear takes a second; anything quadratic in 2 MiB would run into the suite's time limit."""
    data = (unit * (1 << 21))[: 1 << 21].encode()
    split(data)
    token_hash(data[: 512 << 10])


def test_join_makes_a_candidate_of_a_pair() -> None:
    assert good(join(CUDA, PLAN).encode()).plan == PLAN
    assert good(join(CUDA, "\n\n" + PLAN + "\n\n").encode()).plan == PLAN


# --- answers of models --------------------------------------------------------------------------------------------


def test_an_answer_with_one_python_and_one_cuda_fence_is_a_candidate() -> None:
    answer = f"Here is it.\n\n```python\n{PLAN}```\n\nand the kernel\n\n```cuda\n{CUDA}```\nIt is fast.\n"
    assert from_answer(answer) == join(CUDA, PLAN)


@pytest.mark.parametrize("language", ["cuda", "cpp", "C++", "cu", ""])
def test_an_answer_with_one_whole_candidate_is_that_candidate(language: str) -> None:
    whole = join(CUDA, PLAN)
    assert from_answer(f"Text\n```{language}\n{whole}```\nmore ```text``` and\n```bash\nls\n```\n") == whole


def test_a_whole_candidate_wins_over_examples_beside_it() -> None:
    whole = join(CUDA, PLAN)
    assert from_answer(f"```python\n{PLAN}```\n```cuda\n{CUDA}```\n```cuda\n{whole}```\n") == whole


def test_an_answer_that_is_the_bare_file_is_taken() -> None:
    assert from_answer(join(CUDA, PLAN)) == join(CUDA, PLAN)


def test_an_answer_cut_off_inside_its_fence_is_still_read() -> None:
    assert from_answer(f"```cuda\n{join(CUDA, PLAN)}") == join(CUDA, PLAN)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot.",
        f"```cuda\n{CUDA}```",
        f"```python\n{PLAN}```",
        f"```python\n{PLAN}```\n```cuda\n{CUDA}```\n```cuda\n{CUDA}```\n",
        f"```python\nprint(1)\n```\n```cuda\n{CUDA}```\n",
        f"```cuda\n{join(CUDA, PLAN)}```\n```cuda\n{join(CUDA, PLAN)}```\n",
    ],
)
def test_an_answer_that_can_be_read_in_no_or_several_ways_is_none(answer: str) -> None:
    assert from_answer(answer) is None


# --- duplicates ---------------------------------------------------------------------------------------------------


def test_layout_and_comments_make_no_new_candidate() -> None:
    plan = 'BLOCK = tune(256,  [128,\n   256])  # a knob\ndef forward( x ):\n  launch("k", 1, BLOCK)\n\n  return x\n'
    cuda = 'extern   "C"\n__global__ /* a kernel */ void k( )\n{\n}\n// the end\n'
    assert token_hash(join(cuda, plan).encode()) == token_hash(join(CUDA, PLAN).encode())
    assert token_hash((CUDA + join("", PLAN)).encode()) == token_hash(join(CUDA, PLAN).encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("int a;", "int b;"),
        ('"a b"', '"a  b"'),
        ("#define A B\nC", "#define A\nB C"),
        ("#define A B\nC", "#define A B C\n"),
        ("int ab;", "int a b;"),
        ('R"(a\n)"', 'R"(a)"'),
    ],
)
def test_other_tokens_are_another_candidate(before: str, after: str) -> None:
    assert token_hash(join(before, PLAN).encode()) != token_hash(join(after, PLAN).encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [("256, [128", "128, [128"), ("    return x", "return x"), ("return x", "return  -x"), ('"k"', '"kk"')],
)
def test_another_plan_is_another_candidate(before: str, after: str) -> None:
    assert token_hash(join(CUDA, PLAN.replace(before, after)).encode()) != token_hash(
        join(CUDA, PLAN).encode()
    )


# --- knobs --------------------------------------------------------------------------------------------------------


def test_a_replaced_default_leaves_every_other_byte() -> None:
    data = join(CUDA, PLAN).encode()
    assert with_knobs(data, {"BLOCK": 128}) == data.replace(b"tune(256,", b"tune(128,")
    assert with_knobs(data, {}) == data


@pytest.mark.parametrize(
    ("line", "value", "after"),
    [
        ("A = tune(1, [1, 2])", 2, "A = tune(2, [1, 2])"),
        ("A: int = tune(1, [1, 2])", 2, "A: int = tune(2, [1, 2])"),
        ("A = tune(choices=[1, 2], default=1)", 2, "A = tune(choices=[1, 2], default=2)"),
        ("A = tune((1 + 1), [1, 2])", 1, "A = tune(1, [1, 2])"),
        ("A = tune('x, y', ['x, y', 'z'])", "z", "A = tune('z', ['x, y', 'z'])"),
        ("A = tune(  # why\n    1,\n    [1, 2])", 2, "A = tune(  # why\n    2,\n    [1, 2])"),
        ("A = tune(max(1,\n  2), [1, 2])", 1, "A = tune(1, [1, 2])"),
        ("A = tune(1.5, [1.5, 2.0]); B = tune(True, [True, False])", 2.0, None),
        ("if (A := tune(1, [1, 2])): pass", 2, "if (A := tune(2, [1, 2])): pass"),
        ("A = tune(True, [True, False])", False, "A = tune(False, [True, False])"),
        ("é = 1; A = tune(1, [1, 2])", 2, "é = 1; A = tune(2, [1, 2])"),
    ],
)
def test_a_default_is_found_however_it_is_written(line: str, value: object, after: str | None) -> None:
    after = after if after is not None else line.replace("tune(1.5", "tune(2.0")
    assert with_knobs(join(CUDA, line).encode(), {"A": value}).decode() == join(CUDA, after)


def test_several_knobs_are_replaced_at_once_and_windows_line_ends_stay() -> None:
    plan = "A = tune(1, [1, 22])\nB = tune(3, [3, 4]); C = tune(5, [5, 66])\n"
    data = join(CUDA, plan).replace("\n", "\r\n").encode()
    expected = (
        data.replace(b"tune(1,", b"tune(22,").replace(b"tune(3,", b"tune(4,").replace(b"tune(5,", b"tune(66,")
    )
    assert with_knobs(data, {"C": 66, "A": 22, "B": 4}) == expected


@pytest.mark.parametrize(
    ("plan", "values", "words"),
    [
        ("A = tune(1, [1])", {"B": 1}, "Knobs in it: A"),
        ("A = tune(1, [1])\nA = tune(2, [2])", {"A": 1}, "2 times"),
        ("x = (", {"A": 1}, "not Python"),
        ("A = tune(1, [1])", {"A": [1]}, "not list"),
    ],
)
def test_a_knob_that_cannot_be_set_is_a_usage_error(plan: str, values: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_knobs(join(CUDA, plan).encode(), values)


def test_a_file_without_a_plan_has_no_knobs_to_set() -> None:
    with pytest.raises(UsageError, match="no readable plan"):
        with_knobs(b"int x;", {"A": 1})


@given(
    st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(max_size=30)
)
def test_any_value_is_written_so_that_it_reads_back(value: object) -> None:
    source = good(with_knobs(join(CUDA, "A = tune(1, [1])").encode(), {"A": value}))
    assert eval(source.plan.removeprefix("A = tune(").removesuffix(", [1])\n")) == value
