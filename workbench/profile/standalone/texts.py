"""What lies beside main.cpp: the Makefile, README.txt with the tools' command lines, and the text that nvcc -G compiles."""

from __future__ import annotations

import re

from workbench.profile.standalone.program import LaunchStep, Program
from workbench.profile.standalone.quoting import words

BINARY = "standalone"
CUBIN = "candidate.cubin"
DEBUG_CUBIN = "candidate.debug.cubin"
SOURCE = "candidate.cu"
"""The name that the cubin's line information gives, so that the tools find it."""
NVCC_SOURCE = "for_nvcc.cu"
INPUTS = "inputs"
OUTPUTS = "outputs"

_KERNELS_NAMED = 12
_ARCH = re.compile(r"sm_\d{2,3}[af]?")
_SIMPLE = re.compile(r"\w+", re.ASCII)
_EXPRESSION = re.compile(r"[A-Za-z_:][\w:<>,. ()*&+\-']*", re.ASCII)
"""A name as the dialect takes it. It may say what it likes in C++: device code can too."""


def makefile(program: Program) -> str:
    """The Makefile. Nothing of a candidate stands in it: numbers, one known word and names of our own."""
    if not _ARCH.fullmatch(program.arch):
        raise ValueError(f"{program.arch!r} is not an architecture")
    options = program.options
    further = " --use_fast_math" if options.fast_math else ""
    further += f" -maxrregcount={int(options.max_registers)}" if options.max_registers else ""
    return f"""\
# make: the program. make run: run it once. make debug: a cubin for cuda-gdb, which needs nvcc.
CXX ?= g++
CXXFLAGS ?= -O2 -g
NVCC ?= nvcc

{BINARY}: main.cpp driver.h
	$(CXX) -std=c++17 $(CXXFLAGS) -o $@ main.cpp -ldl

run: {BINARY}
	./{BINARY}

debug: {BINARY} {DEBUG_CUBIN}

{DEBUG_CUBIN}: {NVCC_SOURCE} {SOURCE}
	$(NVCC) -G -cubin -arch={program.arch} -std=c++17{further} -o $@ {NVCC_SOURCE}

clean:
	rm -f {BINARY} {DEBUG_CUBIN}

.PHONY: run debug clean
"""


def nvcc_source(program: Program) -> str:
    """What nvcc -G compiles: the candidate behind what NVRTC gives it, and each template that the plan launches."""
    defines = [f"#define {name} {text}" for name, text in program.options.defines]
    kept = [
        f"template struct workbench_launched<&{kernel.name}>;"
        for kernel in program.kernels
        if _EXPRESSION.fullmatch(kernel.name) and not _SIMPLE.fullmatch(kernel.name)
    ]
    if kept:
        kept = ["// Templates exist where they are asked for.", *_KEEP, *kept]
    return "\n".join(
        [
            f"// For `make debug` alone: {CUBIN} was compiled by NVRTC.",
            "#include <cfloat>",
            "#include <climits>",
            "#include <cmath>",
            "#include <cstddef>",
            "#include <cstdint>",
            *defines,
            f'#include "{SOURCE}"',
            *kept,
            "",
        ]
    )


_KEEP = (
    "template <auto kernel> struct workbench_launched {",
    "    void *address() { return (void *)kernel; }",
    "};",
)


def readme(program: Program) -> str:
    """README.txt: what this is, how to build it, and each tool's command line for this candidate."""
    values = ", ".join(f"{name}={value}" for name, value in program.values.items())
    at = f"{program.size} ({values})" if values else program.size
    sections = [
        f"{words(program.candidate)} of the task {words(program.task)}, as a program of its own",
        "",
        "It needs an NVIDIA driver, and no CUDA toolkit, no Python and no PyTorch.",
        "",
        f"  size          {words(at, 400)}",
        f"  inputs        case {words(program.case)}, seed {program.seed}",
        f"  compiled for  {program.arch} by {words(program.compiler)}, with line numbers of {SOURCE}",
        f"  candidate     sha256 {program.sha256}",
        f"  made by       workbench {program.workbench}",
        "",
        "Build and run, in this folder:",
        "",
        "  make                  (or: g++ -std=c++17 -O2 -o standalone main.cpp -ldl; clang++ takes the same)",
        f"  ./{BINARY}          every step once; the results go to {OUTPUTS}/",
        f"  ./{BINARY} --repeat 100",
        "",
        "It exits with 0 when all went well, 1 when the driver refuses something or a kernel fails, 2 for the command",
        "line, a file or a missing driver. The kernels are the candidate's, unjudged, and run with your rights on your",
        "GPU. Speed is judged by `workbench verify` alone: here nothing is checked, flushed or repeated as there.",
        "",
        *_steps(program),
        "",
        *_ncu(program),
        "",
        *_sanitizer(program),
        "",
        *_gdb(program),
        "",
        "Files",
        "",
        "  main.cpp, driver.h    the program: a statement for each buffer and each step",
        f"  {CUBIN}       the device code",
        f"  {SOURCE}          its source, the plan blanked; plan.txt is the plan",
        f"  {NVCC_SOURCE}           the same for nvcc -G",
        f"  {INPUTS}/               the bytes of inputs and parameters",
        "  standalone.json       what workbench wrote here, by which it knows the folder",
        "",
    ]
    return "\n".join(sections)


def _steps(program: Program) -> list[str]:
    lines = ["Steps, in order:", ""]
    for number, step in enumerate(program.steps, 1):
        if number - 1 == program.backward_from:
            lines.append("  backward:")
        if isinstance(step, LaunchStep):
            said = f"{words(step.kernel, 60)}, grid {step.grid}, block {step.block}"
            said += f", {step.shared_bytes} bytes of dynamic shared memory" if step.shared_bytes else ""
            said += f", clusters of {step.cluster}" if step.cluster else ""
            said += ", cooperative" if step.cooperative else ""
        else:
            said = f"{words(program.buffers[step.buffer].name, 60)} to zero"
        lines.append(f"  {number:>4}  {said}" + (f"  (line {step.line})" if step.line else ""))
        if number == 40 and len(program.steps) > 41:
            lines.append(f"        and {len(program.steps) - 40} more, see main.cpp")
            break
    return lines


def _ncu(program: Program) -> list[str]:
    base = "ncu --clock-control none --set full --import-source yes --source-folders . -f"
    lines = [
        "Profile: ncu",
        "",
        f"  {base} -o profile ./{BINARY}",
        "  ncu --import profile.ncu-rep --page details",
    ]
    if len(program.kernels) > 1:
        lines += ["", "  One kernel alone (at most twelve are named here):", ""]
        for kernel in program.kernels[:_KERNELS_NAMED]:
            lines.append(f"  # {words(kernel.name)}")
            lines.append(
                f"  ncu --clock-control none --set full --kernel-name-base mangled -k '{kernel.symbol}' ./{BINARY}"
            )
    if any(step.cooperative for step in program.launches):
        lines += [
            "",
            "  A launch here is cooperative: ncu runs each kernel alone, which its grid barrier stands.",
        ]
    if any(buffer.restored for buffer in program.buffers):
        lines += ["", "  Inputs are written in place: ncu restores them between its passes of a kernel."]
    lines += [
        "",
        "  ERR_NVGPUCTRPERM: counters are for administrators here; run it with sudo, or load the driver's module with",
        "  NVreg_RestrictProfilingToAdminUsers=0. Clocks are left as they are (--clock-control none): compare no times",
        "  with another run's.",
    ]
    return lines


def _sanitizer(program: Program) -> list[str]:
    shared = any(k.shared_bytes for k in program.kernels) or any(s.shared_bytes for s in program.launches)
    base = "compute-sanitizer --error-exitcode 9 --tool"
    lines = [
        "Check memory and threads: compute-sanitizer (it exits with 9 where it finds something)",
        "",
        f"  {base} memcheck --padding 256 ./{BINARY}",
        f"  {base} racecheck --racecheck-report all ./{BINARY}",
        f"  {base} initcheck ./{BINARY}",
        f"  {base} synccheck ./{BINARY}",
        "",
    ]
    lines.append(
        "  racecheck looks at shared memory alone, not at global memory."
        if shared
        else "  racecheck looks at shared memory alone, and no kernel here has any: it will find nothing."
    )
    scratch = any(b.about.startswith(("output", "scratch")) for b in program.buffers)
    if scratch:
        lines.append(
            "  Outputs and scratch are not set to anything before, so initcheck sees what nobody wrote."
        )
    return lines


def _gdb(program: Program) -> list[str]:
    return [
        "Debug: cuda-gdb",
        "",
        "  nvcc compiles the same source again with -G (variables in place, no optimisation), then:",
        "",
        "  make debug",
        f"  cuda-gdb -ex 'set cuda break_on_launch application' -ex run --args ./{BINARY} --cubin {DEBUG_CUBIN}",
        "",
        "  Then, for a stop in each launch of a kernel:",
        "",
        *(f"  break {kernel.symbol}" for kernel in program.kernels[:_KERNELS_NAMED]),
        "",
        f"  Without nvcc, `--cubin {CUBIN}` (the default) stops at lines too, of optimised code. nvcc wants __device__",
        "  before every function that device code calls, which NVRTC here does not. A -G build may need more registers",
        "  or threads than a launch here leaves it; then the launch is refused by name.",
    ]
