"""What the audit makes of code that a compiler seldom writes: nvdisasm's text, written by hand."""

from __future__ import annotations

import pytest

from workbench.core.errors import JudgeError
from workbench.profile.cubin import Cubin, CubinKernel, Relocation, Symbol
from workbench.profile.reached import Reached, reach
from workbench.profile.registers import constant_reads
from workbench.profile.sass import Instruction, SassFunction, parse
from workbench.profile.timers import escape
from workbench.profile.transfers import stray


def _function(*lines: str) -> SassFunction:
    """A kernel `k` of instructions and labels, sixteen bytes each."""
    text, offset = ['\t.section .text.k,"ax",@progbits', "k:"], 0
    for line in lines:
        if line.endswith(":"):
            text.append(line)
        else:
            text.append(f"        /*{offset:04x}*/                   {line} ;")
            offset += 16
    (function,) = parse("\n".join(text))
    return function


def _reached(function: SassFunction, section: str = ".nv.global") -> Reached:
    symbols = tuple(Symbol(name, "STT_OBJECT", section, 0, 4) for name in ("a", "b"))
    cubin = Cubin(
        arch="sm_80",
        kernels={"k": CubinKernel("k")},
        symbols=(Symbol("k", "STT_FUNC", ".text.k", 0, 0), *symbols),
        relocations={".nv.constant4": (Relocation(0, "a", 0), Relocation(8, "b", 0))},
    )
    reached = reach(cubin, {"k": function}, "k")
    assert reached is not None
    return reached


ARMS = ("@P0 BRA `(.L_1)", "MOV R0, {}", "BRA `(.L_2)", ".L_1:", "MOV R0, {}", ".L_2:", "{}", "EXIT")


def _arms(first: str, second: str) -> SassFunction:
    values = iter([first, second, "LDC.64 R2, c[0x4][R0]"])
    return _function(*(line.format(next(values)) if "{}" in line else line for line in ARMS))


@pytest.mark.parametrize("order", [("0x0", "0x8"), ("0x8", "0x0"), ("RZ", "0x8")])
def test_a_load_that_two_arms_share_reaches_the_global_of_each(order: tuple[str, str]) -> None:
    assert {use.symbol for use in _reached(_arms(*order)).uninitialised} == {"a", "b"}
    assert not _reached(_arms(*order)).unresolved


def test_an_index_that_cannot_be_told_reaches_all_globals() -> None:
    reached = _reached(_arms("0x0", "R7"))
    assert {use.symbol for use in reached.uninitialised} == {"a", "b"} and reached.unresolved
    one = _reached(_arms("0x8", "0x8"))
    assert {use.symbol for use in one.uninitialised} == {"b"}


@pytest.mark.parametrize(
    ("section", "known"), [(".nv.shared.k", True), (".nv.local.k", True), (".nv.uft", False)]
)
def test_a_symbol_in_an_unknown_section_is_named(section: str, known: bool) -> None:
    reached = _reached(_arms("0x0", "0x8"), section)
    assert not reached.uninitialised and [use.symbol for use in reached.unknown] == (
        [] if known else ["a", "b"]
    )


@pytest.mark.parametrize("line", ["lea.hi R0, R1", "/*0020*/", "2UR UR4, R2"])
def test_an_instruction_that_cannot_be_read_is_an_error_and_not_passed_over(line: str) -> None:
    with pytest.raises(JudgeError, match=r"line for 0x10 of `k`.*workbench doctor"):
        _function("MOV R0, 0x0", line, "EXIT")


SHIFTS = {
    "SHF.L.U32 R3, R2, 0x2, RZ": True,
    "USHF.L.U32 R3, R2, 0x2, URZ": True,
    "SHL R3, R2, 0x2": True,
    "IMAD.SHL.U32 R3, R2, 0x4, RZ": True,
    "SHF.L.U32 R3, R2, 0x2, R9": False,
    "SHF.R.U64 R3, R2, 0x2, R9": False,
    "SHF.R.U32.HI R3, R2, 0x2, R9": False,
    "SHF.L.U64.HI R3, R2, 0x2, R9": False,
    "SHF.L.U32 R3, R2, 0x3, RZ": False,
    "SHR.U32 R3, R2, 0x2": False,
}


@pytest.mark.parametrize(("shift", "bounded"), SHIFTS.items(), ids=SHIFTS)
def test_a_switch_is_bounded_only_by_an_index_times_four(shift: str, bounded: bool) -> None:
    function = _function(
        "IMNMX.U32 R2, R0, 0x1, PT",
        shift,
        "LDC R4, c[0x2][R3]",
        "BRX R4 -0x40",
        ".L_1:",
        "EXIT",
        ".L_2:",
        "EXIT",
    )
    words = (0x40).to_bytes(4, "little") + (0x50).to_bytes(4, "little")
    cubin = Cubin(arch="sm_80", contents={".nv.constant2.k": words})
    assert bool(stray(function, cubin, {})) is not bounded


WIDTHS = {
    "IMAD.WIDE R2, R3, 0x4, c[0x0][0x8]": 8,
    "IMAD.WIDE.U32 R2, P0, R3, 0x4, c[0x0][0x8]": 8,
    "IMAD.WIDE R2, R3, c[0x0][0x8], R4": 4,
    "IMAD.HI.U32 R2, R3, R5, c[0x0][0x8]": 8,
    "IMAD.MOV.U32 R2, RZ, RZ, c[0x0][0x8]": 4,
    "DSETP.GT.AND P0, PT, R2, c[0x0][0x8], PT": 8,
    "DADD R2, R4, c[0x0][0x8]": 8,
    "DFMA R2, R4, c[0x0][0x8], R6": 8,
    "I2F.F64 R2, c[0x0][0x8]": 4,
    "I2F.F64.S64 R2, c[0x0][0x8]": 8,
    "I2F.U64 R2, c[0x0][0x8]": 8,
    "I2F.U16 R2, c[0x0][0x8]": 2,
    "F2F.F64.F32 R2, c[0x0][0x8]": 4,
    "F2F.F32.F64 R2, c[0x0][0x8]": 8,
    "F2I.F64.TRUNC R2, c[0x0][0x8]": 8,
    "F2I.U64.TRUNC R2, c[0x0][0x8]": 4,
    "FRND.F64.FLOOR R2, c[0x0][0x8]": 8,
    "ULDC.64 UR4, c[0x0][0x8]": 8,
    "LDC.128 R4, c[0x0][0x8]": 16,
    "LDC.U8 R4, c[0x0][0x8]": 1,
    "SHF.L.U64.HI R2, R3, 0x2, c[0x0][0x8]": 4,
}


@pytest.mark.parametrize(("text", "size"), WIDTHS.items(), ids=WIDTHS)
def test_an_operand_in_a_constant_bank_is_as_wide_as_the_instruction_takes_it(text: str, size: int) -> None:
    opcode, _, rest = text.partition(" ")
    assert [read.bytes for read in constant_reads(Instruction(0, opcode, rest))] == [size]


NOW = "CS2R R4, SR_GLOBALTIMERLO"
KEPT = {
    "slept by": (NOW, "IADD3 R6, P1, -R2, R4, RZ", "NANOSLEEP R6", "STG.E [R8.64], R10", "EXIT"),
    "kept in local memory, then overwritten": (NOW, "STL.64 [R1+0x8], R4", "MOV R4, RZ", "LDL.64 R6, [R1+0x8]",
                                               "NANOSLEEP R6", "STG.E [R8.64], R4", "EXIT"),
    "a choice of sleeps": (NOW, "ISETP.GT.AND P0, PT, R4, 0x10, PT", "@P0 BRA `(.L_1)", "NANOSLEEP 0x5",
                           "BRA `(.L_2)", ".L_1:", "NANOSLEEP 0x9", ".L_2:", "STG.E [R8.64], R10", "EXIT"),
    "a constant in both arms": (NOW, "ISETP.GT.AND P0, PT, R4, 0x10, PT", "@P0 BRA `(.L_1)", "MOV R10, 0x7",
                                "BRA `(.L_2)", ".L_1:", "MOV R10, 0x7", ".L_2:", "STG.E [R8.64], R10", "EXIT"),
}  # fmt: skip
TOLD = {
    "stored": (NOW, "STG.E [R8.64], R4", "EXIT"),
    "its upper half stored": (NOW, "MOV R4, RZ", "STG.E.64 [R8.64], R4", "EXIT"),
    "an address": (NOW, "LDG.E R0, [R4.64]", "EXIT"),
    "compared and selected": (NOW, "ISETP.GT.AND P0, PT, R4, 0x10, PT", "SEL R0, RZ, 0x1, P0", "STG.E [R8.64], R0", "EXIT"),
    "a guard": (NOW, "ISETP.GT.AND P0, PT, R4, 0x10, PT", "@P0 STG.E [R8.64], R10", "EXIT"),
    "an end": (NOW, "ISETP.GT.AND P0, PT, R4, 0x10, PT", "@P0 EXIT", "STG.E [R8.64], R10", "EXIT"),
    "different constants": (NOW, "ISETP.GT.AND P0, PT, R4, 0x10, PT", "@P0 BRA `(.L_1)", "MOV R10, 0x7",
                            "BRA `(.L_2)", ".L_1:", "MOV R10, 0x8", ".L_2:", "STG.E [R8.64], R10", "EXIT"),
    "a constant in one arm": (NOW, "ISETP.GT.AND P0, PT, R4, 0x10, PT", "@P0 BRA `(.L_1)", "MOV R10, 0x7",
                              ".L_1:", "STG.E [R8.64], R10", "EXIT"),
    "how often a loop ran": (NOW, "MOV R10, RZ", ".L_1:", "IADD3 R10, R10, 0x1, RZ", "CS2R R6, SR_GLOBALTIMERLO",
                             "IADD3 R6, -R4, R6, RZ", "ISETP.LT.AND P0, PT, R6, 0x10, PT", "@P0 BRA `(.L_1)",
                             "STG.E [R8.64], R10", "EXIT"),
    "through local memory": (NOW, "STL.64 [R1+0x8], R4", "LDL R6, [R1+0xc]", "STG.E [R8.64], R6", "EXIT"),
    "an index past a local array": (NOW, "STL.64 [R1+0x8], R4", "LDL R6, [R3]", "STG.E [R8.64], R6", "EXIT"),
    "shuffled": (NOW, "SHFL.IDX PT, R0, R4, RZ, 0x1f", "STG.E [R8.64], R0", "EXIT"),
    "through a function": (NOW, "CALL.REL.NOINC `(f)", "STG.E [R8.64], R6", "EXIT", "f:", "MOV R6, R4", "RET.REL.NODEC R20 `(k)"),
    "told by a function": ("CALL.REL.NOINC `(f)", "STG.E [R8.64], R4", "EXIT", "f:", NOW, "RET.REL.NODEC R20 `(k)"),
}  # fmt: skip


@pytest.mark.parametrize("lines", KEPT.values(), ids=KEPT)
def test_a_timer_may_decide_how_long_to_sleep(lines: tuple[str, ...]) -> None:
    assert escape(_function(*lines)) is None


@pytest.mark.parametrize("lines", TOLD.values(), ids=TOLD)
def test_a_timer_may_decide_nothing_else(lines: tuple[str, ...]) -> None:
    assert escape(_function(*lines)) is not None
