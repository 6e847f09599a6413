"""One NVRTC compile: from a candidate's text to cubin, PTX, log and the kernels' mangled names.

Runs in a child of the compiler process, which dies with it. The text is compiled behind a preamble: the prelude, the
toolkit headers that may be precompiled, the plan's defines, and an empty probe template whose mangled name over a
kernel's function type tells the parameters' C++ types.
"""

from __future__ import annotations

import ctypes
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuda.bindings import nvrtc

from workbench.core.plan import CompileOptions
from workbench.runner.compiler.chosen import VARIABLE, BadChoice, chosen
from workbench.runner.compiler.headers import Headers, heavy_includes
from workbench.runner.compiler.messages import FILE_NAME, CudaAnswer, Probe

MAX_LOG_BYTES = 1 << 20
PCH_HEAP_BYTES = 1 << 30
"""Without a heap of this size NVRTC runs out of room for CUB's headers and precompiles nothing."""
_SUCCESS = nvrtc.nvrtcResult.NVRTC_SUCCESS
_OUT_OF_MEMORY = nvrtc.nvrtcResult.NVRTC_ERROR_OUT_OF_MEMORY


class NvrtcError(RuntimeError):
    """NVRTC itself could not work; not a fault of the source."""


@dataclass(frozen=True)
class Preamble:
    """What stands before the candidate's first line."""

    lifted: tuple[str, ...]
    """Toolkit headers in it."""
    head: str
    """Up to the point where a precompiled header may stop."""
    rest: str
    """Defines and the probe, and the `#line` that makes line numbers the file's own."""
    probe: str
    """Name of the probe template; derived from the source, so that the source cannot name it."""


def head_text(lifted: tuple[str, ...]) -> str:
    """The part that a precompiled header covers; made of trusted names only."""
    lines = [
        "#include <workbench_prelude.h>",
        *(f"#include <{name}>" for name in lifted),
        "#pragma nv_hdrstop",
        "",
    ]
    return "\n".join(lines)


def preamble(device: str, options: CompileOptions, headers: Headers, *, debug: bool) -> Preamble:
    """The preamble for a candidate's text."""
    lifted = heavy_includes(device, options.defines, headers)
    defines = [f"#define {name} {text}" for name, text in options.defines]
    if debug:
        defines.append("#define WORKBENCH_DEBUG 1")
    digest = hashlib.sha256(repr((device, options)).encode()).hexdigest()[:24]
    probe = f"workbench_probe_{digest}"
    # Not the candidate's file: the audit looks for the candidate's lines by name.
    rest = [
        '#line 1 "workbench_preamble"',
        *defines,
        f"template <class> __global__ void {probe}() {{}}",
        f'#line 1 "{FILE_NAME}"',
        "",
    ]
    return Preamble(lifted, head_text(lifted), "\n".join(rest), probe)


def flags(arch: str, options: CompileOptions, headers: Headers) -> list[str]:
    """NVRTC's options; the plan's defines are no part of them, so that precompiled headers fit every knob."""
    chosen = [
        f"-arch={arch}",
        "-std=c++17",
        "-lineinfo",
        # All of a candidate is device code: what carries no annotation is too.
        "-default-device",
        # 20054: each `cuda::barrier` in shared memory; 47: limits that libcu++ defines again.
        "-diag-suppress=20054,47",
        "--ptxas-options=-v",
        *(f"-I{folder}" for folder in headers.folders),
    ]
    if options.fast_math:
        chosen.append("-use_fast_math")
    if options.max_registers:
        chosen.append(f"-maxrregcount={options.max_registers}")
    return chosen


def warm_up() -> str:
    """Load NVRTC and its builtins, reserve the heap of precompiled headers. Returns "NVRTC 13.5".

    Raises:
        NvrtcError: NVRTC is not installed or does not work, or WORKBENCH_NVRTC names none.
    """
    try:
        choice = chosen()
        wanted = choice.load() if choice is not None else None
    except BadChoice as error:
        raise NvrtcError(str(error)) from None
    try:
        nvrtc.nvrtcSetPCHHeapSize(PCH_HEAP_BYTES)
        status, major, minor = nvrtc.nvrtcVersion()
    except Exception as error:  # the bindings raise several kinds when the library is not there
        raise NvrtcError(f"NVRTC cannot be loaded: {error}") from None
    if status != _SUCCESS:
        raise NvrtcError(f"NVRTC cannot be loaded: {status.name}")
    if wanted is not None and wanted != (major, minor):
        raise NvrtcError(
            f"{VARIABLE} names NVRTC {wanted[0]}.{wanted[1]}, but {major}.{minor} was loaded before it; unset the other."
        )
    program = _Program('extern "C" __global__ void warm(float *x) { x[0] = 1; }', ())
    if program.compile(["-arch=sm_75", "-lineinfo"]) != _SUCCESS:
        raise NvrtcError(f"NVRTC cannot compile: {program.log()}")
    program.close()
    return f"NVRTC {major}.{minor}"


def precompile(lifted: tuple[str, ...], options: list[str], path: Path) -> None:
    """Make a precompiled header from trusted names only.

    Raises:
        NvrtcError: it could not be made.
    """
    temporary = path.with_suffix(".part")
    program = _Program(head_text(lifted), ())
    status = program.compile([*options, f"-create-pch={temporary}"])
    if status != _SUCCESS or not temporary.exists():
        raise NvrtcError(program.log())
    temporary.rename(path)


def compile_cuda(
    device: str,
    options: CompileOptions,
    kernels: tuple[str, ...],
    *,
    arch: str,
    headers: Headers,
    debug: bool,
    version: str,
    precompiled: Path | None = None,
) -> CudaAnswer:
    """Compile a candidate; a source that does not compile is an answer with `ok` False and a log.

    Args:
        precompiled: a header made by `precompile` from the same lifted names and flags.
    """
    started = time.perf_counter()
    parts = preamble(device, options, headers, debug=debug)
    chosen = flags(arch, options, headers)
    if precompiled is not None:
        chosen.append(f"-use-pch={precompiled}")
    text = parts.head + parts.rest + device + "\n"
    asked = {name: f"{parts.probe}<decltype({name})>" for name in kernels}
    program = _Program(text, (*kernels, *asked.values()))
    status = program.compile(chosen)
    log = program.log()
    if status != _SUCCESS:
        return CudaAnswer(
            ok=False,
            log=log or status.name,
            ptx=_ptx_of_failure(text, kernels, chosen) if "ptxas" in log else "",
            out_of_memory=status == _OUT_OF_MEMORY,
            version=version,
            seconds=time.perf_counter() - started,
        )
    probes = tuple(_probe(program, name, asked.get(name)) for name in kernels)
    return CudaAnswer(
        ok=True,
        log=log,
        probes=probes,
        cubin=program.cubin(),
        ptx=program.ptx(),
        version=version,
        seconds=time.perf_counter() - started,
    )


def _ptx_of_failure(text: str, names: tuple[str, ...], options: list[str]) -> str:
    """The PTX that ptxas refused, so that its line numbers can be told in the source's."""
    virtual = [option.replace("-arch=sm_", "-arch=compute_") for option in options]
    program = _Program(text, names)
    return program.ptx() if program.compile(virtual) == _SUCCESS else ""


class _Program:
    """An nvrtcProgram."""

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        status, self._handle = nvrtc.nvrtcCreateProgram(text.encode(), FILE_NAME.encode(), 0, [], [])
        _check(status)
        for name in names:
            _check(nvrtc.nvrtcAddNameExpression(self._handle, name.encode())[0])

    def compile(self, options: list[str]) -> Any:
        encoded = [option.encode() for option in options]
        return nvrtc.nvrtcCompileProgram(self._handle, len(encoded), encoded)[0]

    def log(self) -> str:
        status, size = nvrtc.nvrtcGetProgramLogSize(self._handle)
        _check(status)
        text = bytearray(size)
        buffer = bytes(text)
        _check(nvrtc.nvrtcGetProgramLog(self._handle, buffer)[0])
        return buffer.rstrip(b"\0 \n")[:MAX_LOG_BYTES].decode("utf-8", "replace")

    def lowered(self, name: str) -> str:
        status, text = nvrtc.nvrtcGetLoweredName(self._handle, name.encode())
        _check(status)
        return bytes(text).decode()

    def cubin(self) -> bytes:
        status, size = nvrtc.nvrtcGetCUBINSize(self._handle)
        _check(status)
        buffer = bytes(size)
        _check(nvrtc.nvrtcGetCUBIN(self._handle, buffer)[0])
        return buffer

    def ptx(self) -> str:
        status, size = nvrtc.nvrtcGetPTXSize(self._handle)
        _check(status)
        buffer = bytes(size)
        _check(nvrtc.nvrtcGetPTX(self._handle, buffer)[0])
        return buffer.rstrip(b"\0").decode("utf-8", "replace")

    def close(self) -> None:
        nvrtc.nvrtcDestroyProgram(self._handle)


def _check(status: Any) -> None:
    if status != _SUCCESS:
        raise NvrtcError(f"NVRTC answered {status.name}")


def _probe(program: _Program, name: str, asked: str | None) -> Probe:
    symbol = program.lowered(name)
    if asked is None:
        return Probe(name, symbol)
    mangled = program.lowered(asked)
    return Probe(name, symbol, mangled, demangle(mangled))


def demangle(symbol: str) -> str:
    """A symbol as C++ writes it; "" where it cannot be demangled or libstdc++ is missing."""
    try:
        library = ctypes.CDLL("libstdc++.so.6")
        convert, free = library.__cxa_demangle, ctypes.CDLL(None).free
    except (OSError, AttributeError):
        return ""
    convert.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    status = ctypes.c_int()
    found = convert(symbol.encode(), None, None, ctypes.byref(status))
    if not found:
        return ""
    try:
        return ctypes.string_at(found).decode("utf-8", "replace")
    finally:
        free(found)
