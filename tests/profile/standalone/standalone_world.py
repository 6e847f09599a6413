"""A driver made for the purpose, programs built and run on it, and what a plan says should then have happened."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from workbench.core.build import CudaBuild, Kernel
from workbench.core.plan import Fill, Launch, Plan, PointersArg, ScalarArg, TensorArg, limits_for
from workbench.core.task import SizeSpec
from workbench.dialect.backward import size_of
from workbench.dialect.planner import Planner
from workbench.dialect.source import CandidateSource, split
from workbench.runner.compiler.client import Compiler

HERE = Path(__file__).parent
ARCH = "sm_90a"
UNWRITTEN = 0xCD
"""What the made driver's memory holds when it is new."""


def compilers() -> list[str]:
    """C++ compilers of this machine."""
    return [name for name in ("g++", "clang++") if shutil.which(name)]


def build(
    folder: Path, *, compiler: str = "", flags: str = "-O0 -Wall -Wextra -Wno-unused-variable -Werror"
) -> None:
    """Run the folder's Makefile, as a person would."""
    compiler = compiler or next(iter(compilers()), "")
    if not compiler or shutil.which("make") is None:
        pytest.skip("building the program needs make and a C++ compiler")
    command = ["make", "-s", "-B", "-C", str(folder), f"CXX={compiler}", f"CXXFLAGS={flags}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr


class FakeDriver:
    """libcuda.so.1 in a folder of its own; `run` starts a program on it."""

    def __init__(self, folder: Path, *defines: str) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
        if compiler is None:
            pytest.skip("the made driver needs a C compiler")
        self._folder = folder
        self._log, self._kernels = folder / "log", folder / "kernels"
        self._kernels.write_text("")
        command = [compiler, "-O1", "-w", "-shared", "-fPIC", *(f"-D{d}" for d in defines)]
        subprocess.run([*command, "-o", folder / "libcuda.so.1", HERE / "fake_driver.c"], check=True)

    def knows(
        self, kernels: Mapping[str, Kernel], writes: Mapping[str, set[int]], tables: Mapping[str, set[int]]
    ) -> None:
        """The kernels' symbols and parameters; the places of pointers through which each writes, and of arrays."""
        lines = []
        for name, kernel in kernels.items():
            marks = [
                f"{p.size}{'w' * (n in writes[name])}{'t' * (n in tables[name])}"
                for n, p in enumerate(kernel.parameters)
            ]
            lines.append(" ".join([kernel.symbol, *marks]))
        self._kernels.write_text("\n".join([*lines, ""]))

    def run(
        self, program: Path, *arguments: str, fail: str = "", cwd: Path | None = None
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """The finished process and the driver's log."""
        self._log.write_text("")
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(self._folder),
            "FAKE_CUDA_LOG": str(self._log),
            "FAKE_CUDA_KERNELS": str(self._kernels),
            "FAKE_CUDA_FAIL": fail,
        }
        done = subprocess.run(
            [str(program / "standalone"), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=cwd,
            timeout=100,
        )
        return done, self._log.read_text().splitlines()


@dataclass
class Compiled:
    """A candidate's plan and kernels, by the parts that every verdict uses too."""

    source: CandidateSource
    plan: Plan
    build: CudaBuild

    @property
    def kernels(self) -> dict[str, Kernel]:
        return {kernel.name: kernel for kernel in self.build.kernels}

    def launches(self) -> Iterator[tuple[Plan, Launch]]:
        for half in self.plan.halves:
            yield from ((half, step) for step in half.steps if isinstance(step, Launch))

    def tables(self) -> dict[str, set[int]]:
        """By kernel, the places of arrays of pointers."""
        found: dict[str, set[int]] = {name: set() for name in self.kernels}
        for _, launch in self.launches():
            found[launch.kernel] |= {n for n, a in enumerate(launch.args) if isinstance(a, PointersArg)}
        return found

    def writes(self) -> dict[str, set[int]]:
        """By kernel, the places of pointers that are not const: through them the made driver writes."""
        return {
            name: {
                n
                for n, p in enumerate(kernel.parameters)
                if p.type.endswith("*") and not p.type.startswith("const") and not p.type.endswith("**")
            }
            for name, kernel in self.kernels.items()
        }


def compiled(source: bytes, size: SizeSpec, planner: Planner, compiler: Compiler) -> Compiled:
    """Plan and compile `source` at `size` for sm_90a."""
    parts = split(source)
    assert isinstance(parts, CandidateSource)
    answer = planner.evaluate(parts, [size], limits=limits_for(ARCH))
    assert isinstance(answer, list) and isinstance(answer[0], Plan), answer
    cuda = compiler.build(parts, answer[0].options, answer[0].kernels, arch=ARCH, host=False).cuda
    assert isinstance(cuda, CudaBuild), cuda
    return Compiled(parts, answer[0], cuda)


@dataclass
class Simulation:
    """The plan's calls as the driver should have seen them, worked out from the plan alone."""

    compiled: Compiled
    size: SizeSpec
    values: dict[str, bytes]
    """By path."""
    memory: dict[Any, bytearray] = field(default_factory=dict)
    log: list[tuple[Any, ...]] = field(default_factory=list)
    _launched: int = 0

    def call(self) -> None:
        """One call on fresh inputs: what the plan may write in place is as it was drawn; the rest stays."""
        for parameter in self.size.parameters:
            if parameter.mutable and parameter.path in self.memory:
                self.memory[parameter.path] = bytearray(self.values[parameter.path])
        for half in self.compiled.plan.halves:
            for step in half.steps:
                if isinstance(step, Fill):
                    key = self.key(half, step.tensor)
                    self.memory[key] = bytearray(len(self.memory[key]))
                    self.log.append(("set", key, len(self.memory[key])))
                elif isinstance(step, Launch) and all(step.grid) and all(step.block):
                    self._launch(half, step)

    def key(self, plan: Plan, number: int) -> Any:
        """Which memory a tensor is; made on first sight."""
        while plan.tensors[number].base is not None:
            number = plan.tensors[number].base  # type: ignore[assignment]  # the loop asked
        tensor = plan.tensors[number]
        forward = self.compiled.plan
        if tensor.path is None:
            key: Any = ("forward" if plan is forward else "backward", number)
            self.memory.setdefault(key, bytearray([UNWRITTEN]) * tensor.spec.nbytes)
        elif tensor.path.startswith("saved:"):
            saved = dict(forward.saved)
            key = self.key(forward, saved[tensor.path.removeprefix("saved:")])
        else:
            key = tensor.path
            self.memory.setdefault(key, bytearray(self.values[tensor.path]))
        return key

    def _launch(self, plan: Plan, launch: Launch) -> None:
        kernel = self.compiled.kernels[launch.kernel]
        arguments: list[Any] = []
        written = []
        for place, (argument, parameter) in enumerate(zip(launch.args, kernel.parameters, strict=True)):
            if isinstance(argument, TensorArg):
                key = self.key(plan, argument.tensor)
                arguments.append(("memory", key, zlib.crc32(self.memory[key])))
                if place in self.compiled.writes()[launch.kernel]:
                    written.append(key)
            elif isinstance(argument, PointersArg):
                arguments.append(("table", *(self.key(plan, t) for t in argument.tensors)))
            else:
                arguments.append(packed(argument, parameter.size, parameter.type).hex())
        self.log.append(
            (
                "launch",
                kernel.symbol,
                launch.grid,
                launch.block,
                launch.shared_bytes,
                launch.cluster,
                launch.cooperative,
                arguments,
            )
        )
        for key in written:
            number = self._launched
            self.memory[key] = bytearray((number + b) % 251 for b in range(len(self.memory[key])))
        self._launched += 1


def packed(argument: ScalarArg, size: int, ctype: str) -> bytes:
    """A scalar as C++ holds it, by struct, and not by the workbench's own code."""
    value = argument.value
    if argument.kind in ("float", "f32", "f64"):
        if "bfloat16" in ctype:
            import torch

            return torch.tensor([float(value)]).to(torch.bfloat16).view(torch.uint8).numpy().tobytes()
        return struct.pack({2: "<e", 4: "<f", 8: "<d"}[size], value)
    return (int(value) % (1 << (8 * size))).to_bytes(size, "little")


def understood(log: list[str], simulation: Simulation) -> list[tuple[Any, ...]]:
    """The driver's log in the simulation's words: allocations become the memory that stands in their place there.

    An allocation that stands for two memories, or a memory for two allocations, is no match.
    """
    expected = iter(simulation.log)
    known: dict[int, Any] = {}
    found: list[tuple[Any, ...]] = []
    sizes = {int(w[1]): int(w[2]) for w in map(str.split, log) if w[0] == "allocate"}

    def memory(number: str, there: Any) -> Any:
        key = known.setdefault(int(number), there)
        assert sizes[int(number)] == max(len(simulation.memory[key]), 1), f"{key} has another size"
        assert [k for k in known.values()].count(key) == 1, f"{key} was allocated twice"
        return key

    for line in log:
        words = line.split()
        if words[0] == "set":
            wanted = next(expected)
            found.append(("set", memory(words[1], wanted[1]), int(words[2])))
        elif words[0] == "launch":
            wanted = next(expected)
            head, *shown = line.split(" | ")
            arguments: list[Any] = []
            for said, there in zip(shown, wanted[7], strict=True):
                parts = said.split()
                if parts[0] != "memory":
                    arguments.append(said)
                elif there[0] == "table":
                    held = zip(parts[3:], there[1:], strict=True)
                    arguments.append(("table", *(memory(n, key) for n, key in held)))
                else:
                    arguments.append(("memory", memory(parts[1], there[1]), int(parts[2])))
            found.append((*_head(head), arguments))
    return found


def _head(text: str) -> tuple[Any, ...]:
    words = text.split()
    symbol = words[1]

    def three(name: str) -> tuple[int, ...] | None:
        at = words.index(name) + 1 if name in words else 0
        return tuple(map(int, words[at : at + 3])) if at else None

    shared = int(words[words.index("shared") + 1])
    assert "unknown" not in words
    return ("launch", symbol, three("grid"), three("block"), shared, three("cluster"), "cooperative" in words)


def results(simulation: Simulation) -> list[bytes]:
    """What the output files should hold: forward's outputs, what was written in place, and the gradients."""
    plan, size = simulation.compiled.plan, simulation.size
    found = [(plan, t, o.tensor.nbytes) for t, o in zip(plan.outputs, size.outputs, strict=True)]
    held = [bytes(simulation.memory[simulation.key(p, t)][:n]) for p, t, n in found]
    used = {tensor.path for tensor in plan.tensors}
    held += [
        bytes(simulation.memory[p.path]) for p in size.parameters if p.tensor and p.mutable and p.path in used
    ]
    if plan.backward is not None:
        outputs = size_of(plan, size).outputs
        pairs = zip(plan.backward.outputs, outputs, strict=True)
        held += [
            bytes(simulation.memory[simulation.key(plan.backward, t)][: o.tensor.nbytes]) for t, o in pairs
        ]
    return held
