"""What an answer of the compiler process means: a build or a failure in words, and under which key it is kept.

The answer is as hostile as the source that was compiled: it is decoded by msgspec, and kernels are read out of the cubin.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from workbench.core.build import BuildFailure, CudaBuild, HostBuild
from workbench.core.plan import CompileOptions, Diagnostic
from workbench.profile.cubin import BadCubin
from workbench.runner.compiler.cache import BuildCache, Stored
from workbench.runner.compiler.chosen import BadChoice, chosen, nvrtc_headers
from workbench.runner.compiler.diagnostics import nvrtc_diagnostics
from workbench.runner.compiler.fingerprint import cuda_parts, host_parts
from workbench.runner.compiler.kernels import read_kernels
from workbench.runner.compiler.messages import BuildAnswer, CudaResult, Ended, Hello, HostResult

Asked = tuple[str, CompileOptions, tuple[str, ...], bool]
"""What both keys hold: the device code, its options, the kernels, and whether it is for `--debug`."""


def decode(answer: BuildAnswer, part: Literal["cuda", "host"], type_: Any) -> Any:
    """One compiler's part of an answer, as `type_` (a union with `Ended`); what cannot be read has died."""
    raw = getattr(answer, part)
    try:
        return msgspec.msgpack.decode(raw if raw is not None else b"", type=type_)
    except msgspec.MsgspecError as error:
        return Ended(cause="died", detail=f"its answer cannot be read ({error})")


def cuda_build(
    result: CudaResult, device: str, kernels: tuple[str, ...], arch: str
) -> CudaBuild | BuildFailure:
    """NVRTC's answer, its messages placed in the candidate's lines."""
    if isinstance(result, Ended):
        return _ended(result, "NVRTC")
    if result.missing:
        return BuildFailure(cause="missing", diagnostics=(Diagnostic(result.log),))
    said = nvrtc_diagnostics(result.log, device, ptx=result.ptx)
    version, seconds = result.version, result.seconds
    if not result.ok:
        if result.out_of_memory:
            return _ended(Ended(cause="memory", seconds=result.seconds), "NVRTC")
        said = said or (Diagnostic(f"NVRTC refused it without a reason: {result.log[:300]}"),)
        return BuildFailure(cause="source", diagnostics=said, version=version, seconds=seconds)
    try:
        found = read_kernels(result, kernels)
    except BadCubin as error:
        return BuildFailure(
            cause="died", diagnostics=(Diagnostic(f"NVRTC's answer cannot be read: {error}."),)
        )
    return CudaBuild(
        arch=arch,
        kernels=found,
        cubin=result.cubin,
        ptx=result.ptx,
        diagnostics=said,
        version=version,
        seconds=seconds,
    )


def host_build(result: HostResult) -> HostBuild | BuildFailure:
    """The host compiler's answer."""
    if isinstance(result, Ended):
        return _ended(result, "The host compiler")
    if result.build is not None:
        return result.build
    return result.failure or _ended(Ended(cause="died", detail="an empty answer"), "The host compiler")


def cuda_key(hello: Hello, asked: Asked, arch: str, nvrtc: str) -> str:
    """Where the cache keeps NVRTC's build; `nvrtc` as WORKBENCH_NVRTC names one."""
    folders = nvrtc_headers(nvrtc).folders[1:]
    return BuildCache.key(
        "cuda", *asked, arch, hello.versions["nvrtc"], _chosen_identity(nvrtc), cuda_parts(), folders
    )


def host_key(hello: Hello, asked: Asked, number: int, instrumented: bool) -> str:
    """Where the cache keeps the host compiler's build; `number` is its `__CUDA_ARCH__`."""
    kind = "instrumented" if instrumented else "host"
    return BuildCache.key(kind, *asked, number, hello.versions["host"], hello.host_key, host_parts())


def worth_keeping(result: CudaBuild | HostBuild | BuildFailure) -> Stored | None:
    """What the cache keeps of a result: not a death or a lack of time, which another try may not meet."""
    if isinstance(result, CudaBuild):
        return Stored(cuda=result)
    if isinstance(result, HostBuild):
        return Stored(host=result)
    return Stored(failure=result) if result.cause in ("source", "unsupported") else None


def _chosen_identity(named: str) -> str:
    """Of the NVRTC that was chosen; "" for the installed one."""
    try:
        choice = chosen(named)
        return choice.identity if choice is not None else ""
    except (BadChoice, OSError):
        return ""


def cached(stored: Stored | None) -> CudaBuild | HostBuild | BuildFailure | None:
    """What the cache held, marked as such."""
    if stored is None:
        return None
    found = stored.cuda or stored.host or stored.failure
    return msgspec.structs.replace(found, cached=True) if found is not None else None


def _ended(result: Ended, who: str) -> BuildFailure:
    """What a build that gave no answer means to the candidate's author."""
    words = {
        "timeout": f"{who} did not finish within its time. Look for recursion in templates or huge unrolled loops.",
        "memory": f"{who} needed more memory than a build may use. Look for recursive templates or huge arrays.",
    }
    detail = f" ({result.detail[:300]})" if result.detail else ""
    message = words.get(result.cause, f"{who} died while it compiled this{detail}.")
    causes: dict[str, Literal["timeout", "memory", "crashed", "died"]]
    causes = {"timeout": "timeout", "memory": "memory", "crashed": "crashed"}
    cause = causes.get(result.cause, "died")
    return BuildFailure(cause=cause, diagnostics=(Diagnostic(message),), seconds=result.seconds)
