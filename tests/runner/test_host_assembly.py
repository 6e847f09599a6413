"""What the instrumented build's assembly becomes: other bits in locals that nobody set, the candidate's own constants kept."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from host_kernels.harness import HostRunners, build, empty, given, must_run

from workbench.core.build import HostBuild
from workbench.runner.host.assembly import RED_ZONE, Pattern, watched
from workbench.runner.host.unset import refilled

COMPILERS = [c for c in ("g++", "clang++") if shutil.which(c)]


def seen(row: str, text: str = "") -> str:
    return watched(row, Pattern(text))


@pytest.mark.parametrize(
    ("row", "becomes"),
    [
        ("\tmovl\t$-16843010, %eax", "\tmovl\t$2139095040, %eax"),
        ("\t.long\t4278124286", "\t.long\t2139095040"),
        ("\tmovabsq\t$-72340172838076674, %rax", "\tmovabsq\t$9187343241974906880, %rax"),
        ("\tmovl\t$254, %esi\n\tcall\tmemset@PLT", "\tmovl\t$127, %esi\n\tcall\twb_seen_memset@PLT"),
        (
            "\tmovl\t$254, %esi\n\tmovl\t$9, %edx\n\tcall\t*memset@GOTPCREL(%rip)",
            "\tmovl\t$127, %esi\n\tmovl\t$9, %edx\n\tcall\t*wb_seen_memset@GOTPCREL(%rip)",
        ),
        ("\tmov\tw1, 254\n\tmov\tx2, 9\n\tbl\tmemset", "\tmov\tw1, 127\n\tmov\tx2, 9\n\tbl\twb_seen_memset"),
        ("\tmovl\t$-16843010, %esi", "\tmovl\t$2139095040, %esi"),
        # Of another compiler: an honest constant.
        ("\tandl\t$-1431655766, %eax", "\tandl\t$-1431655766, %eax"),
    ],
)
def test_the_compilers_pattern_is_replaced_and_the_other_compilers_is_not(row: str, becomes: str) -> None:
    assert seen(row) == becomes


@pytest.mark.parametrize(
    "text",
    ["x ^ 0xFEFEFEFEu", "x + 0xfefe'fefe", "4278124286", "~0x01010101u", "-16843010", "0x7F7F7F7F << 1"],
)
def test_a_constant_that_the_candidate_makes_itself_stays(text: str) -> None:
    row = "\taddl\t$-16843010, %eax"
    assert seen(row, text) == row
    assert seen(row, "0xFEFEFEFFu + 12.5f * 1e5") != row  # others change nothing


@pytest.mark.parametrize(
    "text",
    [
        "memset(a, 254, n)",
        "memset(a, 0xFE, n)",
        "fill(a, -2)",
        "fill(a, - 2)",
        "return -2;",
        "a = ~1;",
        "~(0x01u)",
    ],
)
def test_a_byte_that_the_candidate_fills_with_itself_stays(text: str) -> None:
    row = "\tmovl\t$254, %esi"
    assert seen(f"{row}\n\tcall\tmemset@PLT", text).startswith(row)


@pytest.mark.parametrize("load", ["\tmovl\t$254, %esi", "\tmov\tw1, 254"])
@pytest.mark.parametrize(
    "before",
    [
        "\tcall\tsquares",
        "\tcall\t*memcpy@GOTPCREL(%rip)",
        "\tbl\tsquares\n\tmov\tw1, 0",
        "\txorl\t%esi, %esi\n\tmov\tw1, 0",
        "\tjne\t.L3",
        ".L3:",
        "\tret",
    ],
)
def test_the_patterns_byte_that_no_memset_gets_is_a_number_like_others(load: str, before: str) -> None:
    rows = f"{load}\n{before}\n\tcall\tmemset@PLT"
    assert load in seen(rows, "squares(x, TILE - 2 * HALO)")


def test_a_vector_of_one_byte_is_replaced_where_it_is_loaded() -> None:
    rows = "\tmovl\t$-2, %eax\n\tvmovd\t%eax, %xmm0\n\tvpbroadcastb\t%xmm0, %ymm0"
    assert seen(rows) == rows.replace("$-2", "$127")
    assert seen(rows, "i - 2") == rows.replace("$-2", "$127")
    assert seen(rows, "(-2)") == rows


def test_a_number_of_any_length_in_the_text_is_survived() -> None:
    assert Pattern("9" * 100_000 + " 0x" + "f" * 100_000 + " " * 100_000 + "- 2")


def test_each_shared_variable_gets_a_red_zone() -> None:
    rows = '\t.section\t.tbss,"awT"\nv:\n\t.zero\t128\n\t.text\n\t.zero\t8'
    assert seen(rows) == rows.replace("128", str(128 + RED_ZONE))


UNSET = """
struct Pair { float first; short half; double second; };
extern "C" __global__ void unset(const float *x, float *y, int n) {
    float most, least, sum, many[100];
    double wide;
    __half half;
    Pair pair;
    for (int i = 0; i < n; ++i) {
        most = fmaxf(most, x[i]);
        least = fminf(least, x[i]);
        sum += x[i];
        many[i] = fmaxf(many[i], x[i]);
        wide = fmax(wide, (double)x[i]);
        half = __hmax(half, __float2half(x[i]));
        pair.first = fmaxf(pair.first, x[i]);
        pair.second = fmin(pair.second, (double)x[i]);
    }
    y[0] = most, y[1] = least, y[2] = sum, y[3] = many[n - 1], y[4] = (float)wide, y[5] = __half2float(half);
    y[6] = pair.first, y[7] = (float)pair.second;
}
"""
KEPT = """
struct Values { float nan; unsigned bits; };
extern "C" __global__ void kept(unsigned *y, int n) {
    volatile unsigned alternating = 0xAAAAAAAA, ones = -1;
    Values values[9] = {{__int_as_float(-1), 0xAAAAAAAA}, {__int_as_float(-1), 0xAAAAAAAA}};
    y[0] = alternating, y[1] = ones, y[2] = __float_as_int(values[n].nan), y[3] = values[n].bits;
    unsigned char bytes[64];
    memset(bytes, -1, sizeof bytes);
    y[4] = bytes[n], y[5] = (n * 3) ^ 0xAAAAAAAA;
}
"""


PASSED = """
constexpr int TILE = 256, HALO = 1;
__device__ __noinline__ float total(const float *x, int n) {
    float s = 0;
    for (int i = 0; i < n; ++i) s += x[i];
    return s;
}
extern "C" __global__ void passed(const float *x, float *y, int n) {
    y[0] = total(x, TILE - 2 * HALO), y[1] = total(x, n);
}
"""


def both(
    text: str, kernel: str, compiler: str, x: np.ndarray | None, y: np.ndarray, n: int
) -> list[np.ndarray]:
    """What the plain and the instrumented build leave in y."""
    results = []
    for instrumented in (False, True):
        made = build(text, [kernel], compiler=compiler, instrumented=instrumented)
        assert isinstance(made, HostBuild), made
        out = empty(y.shape, y.dtype)
        with HostRunners() as pool, pool.start(made) as runner:
            must_run(runner, kernel, 1, 1, [*([given(x)] if x is not None else []), out, n])
        results.append(out.result)
    return results


@pytest.mark.parametrize("compiler", COMPILERS)
def test_whatever_begins_with_a_float_that_nobody_set_is_wrong_in_one_of_the_builds(compiler: str) -> None:
    x = np.linspace(-3, -1, 5, dtype=np.float32)
    plain, other = both(UNSET, "unset", compiler, x, np.empty(8, np.float32), 5)
    right = np.array([-1, -3, -10, -1, -1, -1, -1, -3], np.float32)
    same = (plain == right) & (other == right)
    if compiler == "g++":
        same[5] = False  # of 16 bits its pattern is an ordinary number (-258) in the assembly, and stays
    assert not same.any(), (plain, other)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_constants_of_the_same_bits_as_clangs_pattern_are_kept(compiler: str) -> None:
    ones, alternating = 0xFFFFFFFF, 0xAAAAAAAA
    for found in both(KEPT, "kept", compiler, None, np.empty(6, np.uint32), 1):
        assert found.tolist() == [alternating, ones, ones, alternating, 255, 3 ^ alternating]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_count_of_254_that_is_computed_from_other_constants_stays(compiler: str) -> None:
    for found in both(PASSED, "passed", compiler, np.ones(300, np.float32), np.empty(2, np.float32), 3):
        assert found.tolist() == [254, 3]


def test_only_first_values_that_clang_marks_are_replaced() -> None:
    store = "  store float 0xFFFFFFFFE0000000, ptr %1, align 4"
    integer = "  store i32 -1431655766, ptr %2, align 4, !annotation !7"
    ir = "\n".join([store, f"{store}, !annotation !7", f"{store}, !annotation !8", integer])
    ir += '\n!7 = !{!"auto-init"}\n!8 = !{!"something else"}\n'
    plain, other = (refilled(ir, instrumented=i).split("\n") for i in (False, True))
    assert plain[0] == other[0] == store and plain[2] == other[2] == f"{store}, !annotation !8"
    assert "float 0xC7DFDFDFC0000000" in plain[1] and "float 0x7FF0000000000000" in other[1]
    assert plain[3] == integer and "i32 1431655765," in other[3]
