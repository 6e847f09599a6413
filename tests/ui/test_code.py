"""Code as rows: colours by kind, differences, blamed lines, and text that is made safe."""

from __future__ import annotations

import random

import pytest
from scripted import KERNELS, kernel

from workbench.ui import text
from workbench.ui.code_rows import blamed_lines, changed_counts, diff_rows, file_rows
from workbench.ui.highlight import (
    COLOURED_CHARACTERS,
    LINE_CHARACTERS,
    SHOWN_LINES,
    at_hand,
    colour,
    cuda_lines,
    plain_lines,
    python_lines,
    text_of,
)


@pytest.mark.parametrize("name", sorted(p.stem for p in KERNELS.glob("*.cu")))
def test_colouring_changes_no_character(name: str) -> None:
    source = kernel(name)
    assert [text_of(line) for line in cuda_lines(source)] == source.expandtabs(4).split("\n")[
        : source.count("\n")
    ]


def test_the_plan_is_coloured_as_python_and_the_rest_as_cuda() -> None:
    source = kernel("warp_per_row")
    kinds = {(piece, kind) for line in cuda_lines(source) for piece, kind in line}
    assert {("def", "keyword"), ("tune", "builtin"), ("forward", "function")} <= kinds
    assert {("__global__", "preprocessor"), ("threadIdx", "builtin"), ("float", "type")} <= kinds


@pytest.mark.parametrize(
    "source",
    [
        "",
        "\n",
        "/*@plan",
        "@*/",
        "/*@plan\n@*/ /*@plan\n@*/",
        "\x00\x1b[31m\xff",
        "\t\tx",
        "a\r\nb\rc",
        "𝕏 漢字 \ud800",
    ],
)
def test_any_text_has_lines(source: str) -> None:
    for line in cuda_lines(source):
        assert "\n" not in text_of(line)
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text_of(line))


def test_random_bytes_have_lines() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(30):
        data = rng.randbytes(rng.randrange(400))
        for line in cuda_lines(data.decode("utf-8", "replace")):
            assert text.clean(text_of(line)) == text_of(line)


def test_a_very_long_file_is_shown_without_colours_and_cut_with_a_note() -> None:
    lines = cuda_lines("x\n" * (SHOWN_LINES + 10))
    assert len(lines) == SHOWN_LINES + 1 and "not shown" in text_of(lines[-1])
    big = python_lines("a = 1  # " + "x" * COLOURED_CHARACTERS)
    assert {kind for line in big for _, kind in line[:1]} == {"plain"}


def test_long_sources_are_coloured_beside_the_screen_and_then_at_hand() -> None:
    source = "int x;\n" * 2000
    assert at_hand("cuda", source) is None
    assert colour("cuda", source) == at_hand("cuda", source) == cuda_lines(source)
    assert at_hand("cuda", "int y;\n") == cuda_lines("int y;\n")


def test_a_file_of_ten_megabytes_is_cut_before_it_is_looked_at() -> None:
    lines = plain_lines("y" * 10_000_000)
    assert len(text_of(lines[0])) == LINE_CHARACTERS + 1 and "10,000,000" in text_of(lines[-1])
    assert at_hand("cuda", "y" * 10_000_000) == lines


def test_a_unified_difference_has_hunks_with_context_and_marks_what_differs_in_a_line() -> None:
    old = cuda_lines("".join(f"line{i};\n" for i in range(40)))
    new = cuda_lines("".join(f"line{i};\n" if i != 20 else "line_20;\n" for i in range(40)))
    rows = diff_rows(old, new, "unified")
    assert [r.sign for r in rows] == ["@", "", "", "", "-", "+", "", "", ""]
    added = next(r for r in rows if r.sign == "+")
    assert added.number == 21 and text_of(added.line)[slice(*added.bright[0])] == "_"
    assert changed_counts(rows) == (1, 1)


def test_an_inline_difference_keeps_every_line_of_the_file() -> None:
    old, new = cuda_lines("a;\nb;\nc;\n"), cuda_lines("a;\nc;\nd;\n")
    rows = diff_rows(old, new, "inline")
    assert [r.number for r in rows if r.number] == [1, 2, 3]
    assert [(r.sign, text_of(r.line)) for r in rows if r.sign] == [("-", "b;"), ("+", "d;")]


def test_equal_files_have_no_difference() -> None:
    lines = cuda_lines("a;\n")
    assert diff_rows(lines, lines, "unified") == () == diff_rows(lines, lines, "inline")


def test_lines_that_evidence_names_are_found_at_any_depth() -> None:
    evidence = {"line": 3, "races": [{"first": {"line": 7}, "second": {"line": 9}}], "other": {"line": "x"}}
    assert blamed_lines(evidence) == {3, 7, 9}
    assert blamed_lines({"line": True, "x": {"line": -1}}) == frozenset()
    assert [r.sign for r in file_rows(cuda_lines("a\nb\n"), frozenset({2}))] == ["", "!"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\x00b", "a␀b"),
        ("\x9b2J", "�2J"),
        ("if (x) \u202e{", "if (x) �{"),
        ("tab\tnew\nline", "tab\tnew\nline"),
        ("\x7f", "␡"),
    ],
)
def test_control_and_direction_characters_are_made_visible(raw: str, shown: str) -> None:
    assert text.clean(raw) == shown


def test_cells_are_cut_and_padded_to_their_width() -> None:
    assert text.fit("abc", 5) == "abc  " and text.fit("abcdef", 4) == "abc…" and text.fit("x", 0) == ""
    assert text.fit_right("7", 3) == "  7"
    assert text.cell_len(text.fit("漢字漢字", 5)) == 5


def test_ages_seconds_and_bytes_are_short() -> None:
    assert [text.age(1000.0, 1000.0 + s) for s in (5, 300, 7200, 864000)] == ["5s", "5m", "2h", "10d"]
    assert [text.seconds(s) for s in (0.041, 12.3, 600)] == ["0.04 s", "12.3 s", "10 min"]
    assert [text.kib(b) for b in (0, 512, 49664, 3 << 20)] == ["0 B", "512 B", "48.5 KiB", "3 MiB"]
