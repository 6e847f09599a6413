"""What the instrumented build's assembly becomes: other bits in locals that nobody set, the candidate's own constants kept."""

from __future__ import annotations

import pytest

from workbench.runner.host.assembly import RED_ZONE, Pattern, watched


def seen(row: str, text: str = "", family: str = "gcc") -> str:
    return watched(row, Pattern(family, text))


@pytest.mark.parametrize(
    ("family", "row", "becomes"),
    [
        ("gcc", "\tmovl\t$-16843010, %eax", "\tmovl\t$2139095040, %eax"),
        ("gcc", "\t.long\t4278124286", "\t.long\t2139095040"),
        ("gcc", "\tmovabsq\t$-72340172838076674, %rax", "\tmovabsq\t$9187343241974906880, %rax"),
        ("gcc", "\tmovl\t$254, %esi", "\tmovl\t$127, %esi"),
        ("clang", "\tmovl\t$-1431655766, %eax", "\tmovl\t$1431655765, %eax"),
        ("clang", "\tmovl\t$170, %esi", "\tmovl\t$127, %esi"),
        # Of the other compiler: an honest constant.
        ("gcc", "\tandl\t$-1431655766, %eax", "\tandl\t$-1431655766, %eax"),
        ("clang", "\tandl\t$-16843010, %eax", "\tandl\t$-16843010, %eax"),
    ],
)
def test_the_compilers_pattern_is_replaced_and_the_other_compilers_is_not(
    family: str, row: str, becomes: str
) -> None:
    assert seen(row, family=family) == becomes


@pytest.mark.parametrize(
    "text",
    ["x ^ 0xFEFEFEFEu", "x + 0xfefe'fefe", "4278124286", "~0x01010101u", "-16843010", "0x7F7F7F7F << 1"],
)
def test_a_constant_that_the_candidate_makes_itself_stays(text: str) -> None:
    row = "\taddl\t$-16843010, %eax"
    assert seen(row, text) == row
    assert seen(row, "0xFEFEFEFFu + 12.5f * 1e5") != row  # others change nothing


@pytest.mark.parametrize("text", ["memset(a, 254, n)", "memset(a, 0xFE, n)", "fill(a, -2)"])
def test_a_byte_that_the_candidate_fills_with_itself_stays(text: str) -> None:
    assert seen("\tmovl\t$254, %esi", text) == "\tmovl\t$254, %esi"


def test_a_vector_of_one_byte_is_replaced_where_it_is_loaded() -> None:
    rows = "\tmovl\t$-2, %eax\n\tvmovd\t%eax, %xmm0\n\tvpbroadcastb\t%xmm0, %ymm0"
    assert seen(rows) == rows.replace("$-2", "$127")
    assert seen(rows, "i - 2") == rows.replace("$-2", "$127")
    assert seen(rows, "(-2)") == rows


def test_a_number_of_any_length_in_the_text_is_survived() -> None:
    assert Pattern("gcc", "9" * 100_000 + " 0x" + "f" * 100_000 + " " * 100_000 + "- 2")


def test_each_shared_variable_gets_a_red_zone() -> None:
    rows = '\t.section\t.tbss,"awT"\nv:\n\t.zero\t128\n\t.text\n\t.zero\t8'
    assert seen(rows) == rows.replace("128", str(128 + RED_ZONE))
