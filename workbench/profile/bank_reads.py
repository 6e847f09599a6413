"""Reads of constant banks that could tell one launch from another, or reach what the driver keeps there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workbench.core.build import Kernel
from workbench.profile.constants import ConstantLayout
from workbench.profile.places import from_toolkit, own_line
from workbench.profile.registers import constant_reads, operands
from workbench.profile.sass import SassFunction


def forbidden_reads(
    function: SassFunction, number: int, layout: ConstantLayout, base: int, end: int, kernel: Kernel
) -> Iterator[tuple[str, int, Literal["fail", "warn"]]]:
    """What instruction `number` reads and must not, or what a person should know: (why, line, severity).

    Args:
        base, end: of the kernel's parameters in bank 0, bytes.
    """
    instruction = function.instructions[number]
    line = own_line(instruction)
    if "cx[" in instruction.operands:
        yield "The kernel reads a constant bank chosen at run time.", line, "fail"
    for read in constant_reads(instruction):
        if read.bank in (2, 3, 4):
            continue
        if read.bank != 0:
            yield f"The kernel reads constant bank {read.bank}, which is not its own.", line, "fail"
        elif read.index:
            in_cluster = read.offset in layout.in_cluster and _follows_cluster_size(
                function, number, read.index
            )
            if not in_cluster:
                yield (
                    "The kernel reads its parameters at a computed index, which can reach what the driver keeps "
                    "beside them. Pass a pointer instead.",
                    line,
                    "fail",
                )
            elif read.offset in layout.grid_sync and not from_toolkit(instruction):
                yield "The kernel reads the workspace of grid.sync(); call it instead.", line, "fail"
        elif (base <= read.offset and read.offset + read.bytes <= -(-end // 8) * 8) or all(
            word in layout.plain for word in range(read.offset & ~3, read.offset + read.bytes, 4)
        ):
            continue
        elif read.offset in layout.grid_sync:
            if not from_toolkit(instruction):
                yield (
                    "The kernel reads %envreg1 or %envreg2; use cooperative groups' grid.sync().",
                    line,
                    "fail",
                )
        elif read.offset == layout.parameter_address:
            if any(p.kind == "struct" and p.size >= 128 for p in kernel.parameters):
                yield (
                    "The kernel takes the address of a parameter, as a TMA descriptor needs it.",
                    line,
                    "warn",
                )
            else:
                yield (
                    "The kernel takes the address of its parameters, through which it could read what the driver "
                    "keeps beside them. Copy the parameter to a variable first.",
                    line,
                    "fail",
                )
        else:
            what = (
                "past its parameters"
                if read.offset >= end > 0
                else f"word {read.offset:#x} of constant bank 0"
            )
            yield f"The kernel reads {what}, which can tell one launch from another.", line, "fail"


def _follows_cluster_size(function: SassFunction, number: int, register: str) -> bool:
    """Whether a register holds a multiple of the cluster's size: CS2R SR_CgaSize, then IMAD by a constant."""
    wanted, multiplied = register, False
    for instruction in reversed(function.instructions[max(number - 64, 0) : number]):
        parts = operands(instruction)
        if not parts or parts[0].partition(".")[0] != wanted:
            continue
        if instruction.name in ("IMAD", "UIMAD") and len(parts) == 4 and parts[2] == "-0xa0":
            wanted, multiplied = parts[1].partition(".")[0], True
        elif instruction.name in ("R2UR", "MOV", "UMOV", "IMAD", "RPCMOV") and len(parts) >= 2:
            wanted = parts[-1].partition(".")[0]
        else:
            return multiplied and instruction.name in ("CS2R", "S2R", "S2UR") and "SR_CgaSize" in parts
    return False
