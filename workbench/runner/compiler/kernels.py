"""A compiled kernel's parameters and costs, put together from its cubin, its PTX, the probe and ptxas's report."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workbench.core.build import Kernel, KernelParameter
from workbench.profile.cubin import BadCubin, Cubin, CubinKernel, read_cubin
from workbench.profile.ptx import PtxParameter, entry_parameters, entry_shared_bytes
from workbench.profile.types import Kind, kind_of, parameter_types
from workbench.runner.compiler.messages import CudaAnswer, Probe

_INSTRUCTION_BYTES = 16
_RESERVED_SHARED = 1024
"""The system's own part of `.nv.shared.<kernel>` on sm_90 and later."""
_ENTRY = re.compile(r"Compiling entry function '([^']+)'")
_SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass
class Report:
    """What `ptxas -v` prints of one kernel."""

    spill_bytes: int | None = None
    shared_bytes: int | None = None


def ptxas_report(log: str) -> dict[str, Report]:
    """By symbol; empty where ptxas printed nothing."""
    found: dict[str, Report] = {}
    entry, last = None, ""
    for line in log.splitlines():
        if (match := _ENTRY.search(line)) is not None:
            last = match[1]
            entry = found.setdefault(last, Report())
        elif "Function properties for " in line:
            # Device functions that were not inlined have properties of their own.
            entry = found.get(line.rsplit(" ", 1)[1].strip("'"))
        elif (spill := _SPILL.search(line)) is not None and entry is not None:
            entry.spill_bytes = max(int(spill[2]), int(spill[3]))
        elif "Used " in line and last in found:
            shared = _SHARED.search(line)
            found[last].shared_bytes = int(shared[1]) if shared else 0
    return found


def read_kernels(answer: CudaAnswer, names: tuple[str, ...]) -> tuple[Kernel, ...]:
    """The kernels that a plan launches, under the plan's names.

    Raises:
        BadCubin: the answer does not hold what it says: a kernel without code, an unreadable cubin.
    """
    cubin = read_cubin(answer.cubin)
    parameters, shared = entry_parameters(answer.ptx), entry_shared_bytes(answer.ptx)
    reports = ptxas_report(answer.log)
    probes = {probe.name: probe for probe in answer.probes}
    found: list[Kernel] = []
    for name in names:
        probe = probes.get(name)
        kernel = cubin.kernels.get(probe.symbol) if probe is not None else None
        if probe is None or kernel is None or kernel.code_bytes == 0:
            raise BadCubin(f"the cubin has no kernel for {name}")
        report = reports.get(probe.symbol, Report())
        found.append(
            Kernel(
                name=name,
                symbol=probe.symbol,
                parameters=_parameters(kernel, probe, parameters.get(probe.symbol, ())),
                registers=kernel.registers,
                spill_bytes=report.spill_bytes or 0,
                stack_bytes=kernel.stack_bytes,
                shared_bytes=_shared(cubin, kernel, report, shared.get(probe.symbol, 0)),
                constant_bytes=cubin.constant_bytes(probe.symbol),
                max_threads=kernel.max_threads,
                instructions=kernel.code_bytes // _INSTRUCTION_BYTES,
            )
        )
    return tuple(found)


def _shared(cubin: Cubin, kernel: CubinKernel, report: Report, declared: int) -> int:
    """Static shared memory, bytes a block, without what the system reserves."""
    section = kernel.shared_section_bytes
    if section and int(re.sub(r"\D", "", cubin.arch) or 0) >= 90:
        section = max(section - _RESERVED_SHARED, 0)
    if report.shared_bytes is not None:
        return report.shared_bytes
    return section or declared


def _parameters(
    kernel: CubinKernel, probe: Probe, declared: tuple[PtxParameter, ...]
) -> tuple[KernelParameter, ...]:
    types = parameter_types(probe.type)
    if types is not None and len(types) != len(kernel.parameters):
        types = None
    found = []
    for number, place in enumerate(kernel.parameters):
        type_ = types[number] if types is not None else ""
        ptx = declared[number] if len(declared) == len(kernel.parameters) else None
        found.append(KernelParameter(place.offset, place.size, _kind(type_, ptx, place.size), type_))
    return tuple(found)


def _kind(type_: str, ptx: PtxParameter | None, size: int) -> Kind:
    if type_:
        kind = kind_of(type_)
        # An enum demangles as its name: PTX knows that it is a number.
        if kind == "struct" and ptx is not None and not ptx.is_struct and ptx.type[0] in "us":
            return "int"
        return kind
    if ptx is None:
        return "unknown"
    if ptx.is_struct:
        return "float" if size == 2 and ptx.align == 2 else "struct"
    # Without the C++ type eight bytes may be a pointer or an integer.
    return "float" if ptx.type[0] == "f" else "unknown" if size == 8 else "int"
