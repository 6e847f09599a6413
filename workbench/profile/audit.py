"""What compiled code could do that a candidate must not: keep state, tell launches apart, call the system.

Read from the cubin and its machine code alone, never from the source: a global counts when a launched kernel reaches
it, not when a header declares it. What the toolkit's own headers do inside is told from the candidate's lines by the
inline chain; `#line` is refused before compiling, so a file name in it cannot be forged. What could not be
established is returned by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from workbench.core.build import CudaBuild, Kernel
from workbench.core.errors import JudgeError
from workbench.profile import dataflow, timers, transfers
from workbench.profile.bank_reads import forbidden_reads
from workbench.profile.constants import SPECIAL_REGISTERS, TIMERS, ConstantLayout, constant_layout
from workbench.profile.cubin import BadCubin, read_cubin
from workbench.profile.disassembler import AGAIN
from workbench.profile.places import (
    CANDIDATE,
    in_cooperative_groups,
    own_line,
    readable,
    waits_inside_toolkit,
)
from workbench.profile.ptx import entry_parameters, own_assembly
from workbench.profile.reached import Reached, reach
from workbench.profile.registers import constant_reads, operands
from workbench.profile.sass import Instruction, SassFunction, disassemble

_SPECIAL = re.compile(r"(?<![\w.])SR(?:Z\b|_[\w.]+)")

Severity = Literal["fail", "warn"]

_CALLS = {
    "malloc": "allocates device memory with malloc; use `empty` in the plan and pass it",
    "free": "frees device memory; use `empty` in the plan and pass it",
    "vprintf": "prints; remove printf, or look at it with `verify --debug`",
    "__assertfail": "asserts; remove assert, or look at it with `verify --debug`",
}
_WAITED = (
    "The kernel learns from libcu++ how long it waited ({}): a wait with a time limit (try_wait_for, try_acquire_for) "
    "tells it. Wait without a limit."
)
_STRAY = (
    "The kernel calls or jumps to an address that comes from an argument, from memory or from a table at a computed "
    "index, which can lead anywhere. Choose between functions by a switch, or pass them as template parameters."
)
_TEXTURE = "uses a texture or surface, which no plan can make; read the buffer by its pointer"
_FORBIDDEN = dict.fromkeys(
    ["TEX", "TLD", "TLD4", "TXD", "TXQ", "TMML", "SULD", "SUST", "SUATOM", "SURED", "SUQ"], _TEXTURE
) | {"PMTRIG": "triggers a profiler's event (pmevent); remove it"}
_DEPENDENT = {"ACQBULK": "waits for a dependent launch", "PREEXIT": "starts a dependent launch"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the code does and must not (`severity` "fail"), or that a person should know ("warn")."""

    what: str
    """"state", "clock", "launch identity", "system call", "constants", "dependent launch", "indirect call", "code",
    "instruction", "copies only", "fills
    only"."""
    kernel: str
    """As the plan names it."""
    line: int
    """Of the candidate's file; 0 where no line is to blame."""
    why: str
    """A sentence that says what was found and what to do instead."""
    severity: Severity = "fail"


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the compiled code was found to do."""

    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...]
    """What could not be established, by name."""
    tables: tuple[str, ...] = ()
    """Initialised globals that the kernels reach: to be restored before each call and compared after."""
    float_atomics: tuple[str, ...] = ()
    """Kernels whose sums depend on the order of threads."""
    arrival: tuple[str, ...] = ()
    """Kernels that act on what other threads have left so far, in the order in which they come (a look-back scan)."""
    computes: Literal["yes", "copies", "fills"] = "yes"
    """What the launched kernels do to the data, all together."""

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that refuse the candidate."""
        return tuple(f for f in self.findings if f.severity == "fail")


@dataclass
class _Audit:
    """What one audit gathers."""

    findings: dict[tuple[str, str, int, str], Finding] = field(default_factory=dict)
    unchecked: dict[str, None] = field(default_factory=dict)
    tables: dict[str, None] = field(default_factory=dict)
    float_atomics: dict[str, None] = field(default_factory=dict)
    arrival: dict[str, None] = field(default_factory=dict)
    own_assembly: bool = False
    """The kernel may have inline assembly of the candidate, in which a `.loc` could forge where code comes from."""
    waits: dict[str, bool] = field(default_factory=dict)
    """By function: whether a reading of its timers gets out of the sleeps."""

    def escapes(self, function: SassFunction) -> bool:
        """Whether a function tells more of a timer than how long to sleep."""
        if function.symbol not in self.waits:
            self.waits[function.symbol] = timers.escape(function) is not None
        return self.waits[function.symbol]

    def find(self, what: str, kernel: str, line: int, why: str, severity: Severity = "fail") -> None:
        self.findings.setdefault(
            (what, kernel, line, why),
            Finding(what=what, kernel=kernel, line=line, why=why, severity=severity),
        )


def audit(build: CudaBuild, kernels: Sequence[str]) -> AuditReport:
    """Audit the kernels that a plan launches.

    Args:
        build: of the compiler process; its cubin is read anew.
        kernels: names as in the plan; each must be in `build.kernels`.

    Raises:
        JudgeError: there is no nvdisasm, or the cubin cannot be read.
    """
    known = {kernel.name: kernel for kernel in build.kernels}
    missing = [name for name in kernels if name not in known]
    if missing or not kernels:
        raise JudgeError(
            f"The build has no kernel {', '.join(missing) or 'at all'}, so it cannot be audited.", do=AGAIN
        )
    functions = {function.symbol: function for function in disassemble(build.cubin)}
    try:
        cubin = read_cubin(build.cubin)
    except BadCubin as error:
        raise JudgeError(f"The cubin cannot be audited: {error}.", do=AGAIN) from None
    layout = constant_layout(build.arch)
    state = _Audit()
    entries = entry_parameters(build.ptx)
    assembly = own_assembly(build.ptx, CANDIDATE)
    flows: list[dataflow.Flow] = []
    for name in dict.fromkeys(kernels):
        kernel = known[name]
        # What another kernel's assembly says cannot move this one's lines; a device function's may be inlined anywhere.
        others = entries.keys() - {kernel.symbol}
        state.own_assembly = kernel.symbol not in entries or bool(assembly - others)
        reached = reach(cubin, functions, kernel.symbol)
        base = cubin.kernels[kernel.symbol].parameter_base if kernel.symbol in cubin.kernels else 0
        end = base + cubin.kernels[kernel.symbol].parameter_bytes if base else 0
        if reached is None or (kernel.parameters and not base):
            raise JudgeError(f"The machine code of {name} was not found, so it cannot be audited.", do=AGAIN)
        _check_globals(state, kernel, reached)
        _check_frames(state, reached)
        for function in reached.functions:
            if layout is None:
                state.unchecked[f"constant bank 0 on {build.arch}"] = None
            for number, instruction in enumerate(function.instructions):
                _check_registers(state, kernel, instruction, function)
                if layout is not None:
                    for why, line, severity in forbidden_reads(function, number, layout, base, end, kernel):
                        state.find("constants", name, line, why, severity)
                if (forbidden := _FORBIDDEN.get(instruction.name)) is not None:
                    state.find("instruction", name, own_line(instruction), f"The kernel {forbidden}.")
                if instruction.name in _DEPENDENT:
                    why = f"{_DEPENDENT[instruction.name]} (griddepcontrol); launches run one after another here"
                    state.find("dependent launch", name, own_line(instruction), f"The kernel {why}.")
            if layout is not None:
                _check_workspace(state, kernel, function, layout)
            for instruction in transfers.stray(function, cubin, reached.addresses):
                state.find("indirect call", name, own_line(instruction), _STRAY)
            flow = dataflow.follow(function, reached.addresses)
            flows.append(flow)
            if flow.unplaced:
                for symbol in sorted(flow.kept & set(reached.initialised)):
                    state.unchecked[f"writes to `{readable(symbol)}` through an address kept in memory"] = (
                        None
                    )
            if flow.float_atomics:
                state.float_atomics[name] = None
            if flow.arrival:
                state.arrival[name] = None
            for symbol, instruction in flow.written:
                if symbol not in reached.initialised:
                    continue
                state.find(
                    "state",
                    name,
                    own_line(instruction),
                    f"The kernel writes the global `{readable(symbol)}`, which outlives the launch. "
                    "Use a `zeros` or `empty` tensor of the plan.",
                )
    computes = _what_it_does(flows)
    _judge_work(state, computes, kernels)
    return AuditReport(
        findings=tuple(
            sorted(state.findings.values(), key=lambda f: (f.severity != "fail", not f.line, f.line))
        ),
        unchecked=tuple(state.unchecked),
        tables=tuple(state.tables),
        float_atomics=tuple(state.float_atomics),
        arrival=tuple(state.arrival),
        computes=computes,
    )


def _check_globals(state: _Audit, kernel: Kernel, reached: Reached) -> None:
    for use in reached.uninitialised:
        state.find(
            "state",
            kernel.name,
            own_line(use.by) if use.by else 0,
            f"The kernel reaches the global `{readable(use.symbol)}`, which keeps its value from launch to launch. "
            "Use a `zeros` or `empty` tensor of the plan.",
        )
    for use in reached.undefined:
        what = _CALLS.get(use.symbol, f"calls `{use.symbol}`, which is not in its code")
        if use.symbol.startswith("cuda"):
            what = "launches kernels from the device; launch them from the plan"
        state.find("system call", kernel.name, own_line(use.by) if use.by else 0, f"The kernel {what}.")
    for symbol in reached.initialised:
        state.tables[symbol] = None
    for use in reached.code:
        why = (
            f"The kernel takes the address of the kernel `{readable(use.symbol)}`, through which code can be read or "
            "changed. Launch it from the plan."
        )
        state.find("code", kernel.name, own_line(use.by) if use.by else 0, why)
    for use in reached.unknown:
        why = (
            f"The kernel reaches `{readable(use.symbol)}`, which is neither shared nor local nor a table. "
            "Use a tensor of the plan."
        )
        state.find("state", kernel.name, own_line(use.by) if use.by else 0, why)
    if reached.unresolved:
        state.unchecked["globals behind computed addresses"] = None


def _check_frames(state: _Audit, reached: Reached) -> None:
    """Name what is not looked for: an index past a local array may change where a function returns to."""
    returns = computed = False
    for function in reached.functions:
        code, routine = function.instructions, ""
        starts = {at: name for name, at in function.labels if name in function.also}
        for number, instruction in enumerate(code):
            routine = starts.get(number, routine)
            # The assembler's own (division, square root) keep their return address in registers.
            returns |= instruction.name == "RET" and "$__internal_" not in routine
            if instruction.name == "STL":
                address = operands(instruction)[0]
                computed |= re.fullmatch(r"\[(?:R1|RZ|R1\+0x[0-9a-f]+|0x[0-9a-f]+)\]", address) is None
    if returns and computed:
        state.unchecked["return addresses beside local arrays that are written at computed indices"] = None


def _check_workspace(state: _Audit, kernel: Kernel, function: SassFunction, layout: ConstantLayout) -> None:
    """What grid.sync() counts in outlives the launch, so its address may serve cooperative groups alone."""
    seeds = [
        number
        for number, instruction in enumerate(function.instructions)
        if any(read.bank == 0 and read.offset in layout.grid_sync for read in constant_reads(instruction))
    ]
    if seeds and state.own_assembly:
        why = (
            "The kernel calls grid.sync() and has inline assembly, which cannot be told from cooperative groups' own "
            "use of a workspace that outlives the launch. Use one or the other, or two launches."
        )
        state.find("constants", kernel.name, own_line(function.instructions[seeds[0]]), why)
        return
    used = timers.handed_on(function, seeds, in_cooperative_groups) if seeds else None
    if used is not None:
        why = "The kernel uses the workspace of grid.sync(), which outlives the launch; call sync() instead."
        state.find("constants", kernel.name, own_line(used), why)


def _check_registers(state: _Audit, kernel: Kernel, instruction: Instruction, function: SassFunction) -> None:
    # By operand, not by opcode: each architecture adds ways to read one (S2R, S2UR, CS2R, CS2UR).
    for register in _SPECIAL.findall(instruction.operands):
        if register in SPECIAL_REGISTERS:
            continue
        line = own_line(instruction)
        if register.startswith(TIMERS):
            # Inline assembly can forge that it lies inside; what may leave the reading is the same then.
            if not waits_inside_toolkit(instruction):
                state.find("clock", kernel.name, line, f"The kernel reads a clock ({register}). Remove it.")
            elif state.escapes(function):
                state.find("clock", kernel.name, line, _WAITED.format(register))
            continue
        state.find(
            "launch identity",
            kernel.name,
            line,
            f"The kernel reads the special register {register}, which depends on where or when it runs. Remove it.",
        )


def _what_it_does(flows: list[dataflow.Flow]) -> Literal["yes", "copies", "fills"]:
    if any(flow.computes for flow in flows):
        return "yes"
    # A kernel that reads may store it by ways that are not followed, so only one that reads nothing is a fill.
    return "copies" if any(flow.reads for flow in flows) else "fills"


def _judge_work(state: _Audit, computes: str, kernels: Sequence[str]) -> None:
    if computes == "copies":
        why = "No kernel computes with what it reads: they only copy. That is right for a transpose or a gather only."
        state.find("copies only", kernels[0], 0, why, "warn")
    elif computes == "fills":
        why = "No kernel computes: they store constants, whatever the inputs are."
        state.find("fills only", kernels[0], 0, why)
