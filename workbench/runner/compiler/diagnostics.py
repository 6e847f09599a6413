"""Compilers' logs as diagnostics at the candidate's own lines, the most telling first.

The log comes from the compiler process and is text that a hostile source may have shaped: it is bounded, and nothing
in it is believed but words and line numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from workbench.core.plan import Diagnostic
from workbench.runner.compiler.messages import FILE_NAME

MAX_DIAGNOSTICS = 20
MAX_MESSAGE = 600

_EDG = re.compile(
    r"^(?P<file>[^\s(][^(\n]*)\((?P<line>\d+)\): (?P<kind>catastrophic error|error|warning)(?: #(?P<code>[\w-]+))?: (?P<text>.*)$"
)
_AT_END = re.compile(r"^At end of source: (?P<kind>error|warning)(?: #[\w-]+)?: (?P<text>.*)$")
_USED_AT = re.compile(rf"at line (\d+) of \"?[^\"\s]*{re.escape(FILE_NAME)}")
_PTXAS = re.compile(
    r"^ptxas .*?(?:, line (?P<line>\d+))?\s*[;:]?\s*(?P<kind>error|fatal|warning)\s*: (?P<text>.*)$"
)
_NAME_MAP = "__nv_name_map"
_PROBED = re.compile(r"workbench_probe_\w+<decltype\((.*)\)>")
_LOC = re.compile(r"^\s*\.loc\s+(\d+)\s+(\d+)\s+(\d+)")
_FILE = re.compile(r"^\s*\.file\s+(\d+)\s+\"([^\"]*)\"")


def nvrtc_diagnostics(log: str, device: str, *, ptx: str = "") -> tuple[Diagnostic, ...]:
    """What NVRTC's log says, errors first.

    Args:
        log: of NVRTC and ptxas.
        device: the candidate's text, for the names of its kernels.
        ptx: of the same compile, to find the source line of an inline-assembly error.
    """
    lines = log.splitlines()
    found: list[Diagnostic] = []
    for number, line in enumerate(lines):
        edg = _EDG.match(line)
        if edg is not None:
            found.append(_from_edg(edg, lines, number, device))
        elif (end := _AT_END.match(line)) is not None:
            found.append(
                Diagnostic(
                    end["text"] + " (at the end of the file)",
                    device.count("\n") + 1,
                    0,
                    _severity(end["kind"]),
                )
            )
        elif (assembler := _PTXAS.match(line)) is not None and "aborted due to errors" not in line:
            found.append(_from_ptxas(assembler, ptx))
    return ordered(d for d in found if d.message)


def _severity(kind: str) -> Literal["error", "warning"]:
    return "warning" if kind == "warning" else "error"


def _from_edg(match: re.Match[str], lines: list[str], number: int, device: str) -> Diagnostic:
    text, line, severity = match["text"].strip(), int(match["line"]), _severity(match["kind"])
    block = _block(lines, number)
    if match["file"] == _NAME_MAP:
        return _about_a_name(text, block, device)
    if "execution space annotations" in text or "memory space annotations" in text:
        text = text.split(". Consider")[0].split(" is considered")[0] + " needs `__device__`."
    linked = re.search(r'more than one instance of overloaded function "(\w+)" has "C" linkage', text)
    if linked:
        text = taken_name(linked[1], device)
    missing = re.search(r'cannot open source file "([^"]*)"', text)
    if missing:
        text = missing_header(missing[1])
    if match["file"].rsplit("/", 1)[-1] != FILE_NAME:
        own = next((u for u in map(_USED_AT.search, block) if u), None)
        header = "/".join(match["file"].split("/")[-2:])
        text = f"{text} (inside <{header}>:{line})"
        return Diagnostic(
            _bounded(text), int(own[1]) if own else _included_at(match["file"], device), 0, severity
        )
    return Diagnostic(_bounded(text), line, _column(block), severity)


def _included_at(path: str, device: str) -> int:
    """The candidate's line that includes a header; 0 where another header does."""
    for number, line in enumerate(device.splitlines(), 1):
        included = re.match(r"\s*#\s*include\s*[<\"]([^>\"]+)[>\"]", line)
        if included and path.endswith("/" + included[1]):
            return number
    return 0


def _block(lines: list[str], number: int) -> list[str]:
    """The lines that belong to the message at `number`: source, caret, where it was instantiated."""
    end = number + 1
    while end < len(lines) and end < number + 60 and not (_EDG.match(lines[end]) or _PTXAS.match(lines[end])):
        end += 1
    return lines[number + 1 : end]


def _column(block: Sequence[str]) -> int:
    for line in block:
        if line.strip() == "^":
            # The excerpt is indented by two.
            return max(line.index("^") - 1, 1)
    return 0


def _about_a_name(text: str, block: Sequence[str], device: str) -> Diagnostic:
    """An error about a kernel's name, which stands in the plan and not in the device code."""
    asked = next((b.split("nv_mangled_name", 1)[1].strip() for b in block if "nv_mangled_name" in b), "")
    # NVRTC says "undefined" only at the first of its names, in alphabetical order, that needs the kernel: for a kernel
    # beyond "workbench_probe_" that is our own probe of it.
    probed = _PROBED.fullmatch(asked)
    asked = probed[1] if probed else asked
    unresolved = "Name expression cannot form address" in text
    if "Error in parsing name expression" in text or not asked or (probed and unresolved):
        return Diagnostic("")
    names = kernel_names(device)
    have = f" The file's kernels: {', '.join(names)}." if names else " The file has no `__global__` function."
    if "cannot determine which instance of function template" in text:
        return Diagnostic(
            f'The kernel "{asked}" is a template: name its arguments, as in "{asked}<float, 256>".'
        )
    if "which instance of overloaded function" in text:
        return Diagnostic(taken_name(asked, device), _line_of(asked, device))
    if "is undefined" in text:
        return Diagnostic(f'There is no kernel "{asked}" for the plan to launch: {text}.{have}')
    return Diagnostic(_bounded(f'The plan\'s kernel "{asked}" cannot be resolved: {text}.{have}'))


def taken_name(name: str, device: str) -> str:
    """What to do about a kernel whose name several functions have; most often CUDA's own math has one, as of `norm`."""
    if kernel_definitions(device).count(name) > 1:
        return f'The file has several functions "{name}": give each kernel a name of its own.'
    return f'CUDA has a function "{name}" of its own: name the kernel otherwise, as in "{name}_kernel", here and in the plan.'


def _line_of(kernel: str, device: str) -> int:
    """The line in which a kernel's name first stands after `__global__`; 0 where a simple look does not find it."""
    found = re.search(rf"__global__[^;{{}}]*?\b(?={re.escape(kernel)}\s*\()", device)
    return device.count("\n", 0, found.end()) + 1 if found else 0


def kernel_names(device: str) -> list[str]:
    """Names of the `__global__` functions in a text, each once, as far as a simple look finds them."""
    return list(dict.fromkeys(kernel_definitions(device)))[:12]


def kernel_definitions(device: str) -> list[str]:
    """The same in the file's order, a name as often as it is declared."""
    pattern = r"__global__\s+(?:(?:__launch_bounds__|__cluster_dims__|__block_size__)\s*\([^)]*\)\s*|static\s+|inline\s+)*void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)"
    return re.findall(pattern, device)


def missing_header(name: str) -> str:
    """What to do about a header that is not there."""
    fixes = {
        "cub/cub.cuh": "NVRTC takes CUB's single headers, as in `#include <cub/block/block_reduce.cuh>`",
        "torch/extension.h": "a candidate has no host code: remove the include and the bindings",
        "iostream": "a candidate has no host code: remove the include",
        "vector": "a candidate has no host code: remove the include",
        "mma.h": "install nvidia-cuda-crt",
    }
    fix = fixes.get(name, "")
    if not fix and name.startswith(("torch/", "ATen/", "c10/")):
        fix = fixes["torch/extension.h"]
    if not fix and name.startswith(("cute/", "cutlass/")):
        fix = "CUTLASS is not installed here"
    fix = (
        fix
        or "only CUDA's device headers (fp16, bf16, fp8, mma, cooperative groups, libcu++, CUB) may be included"
    )
    return f"There is no header <{name}> for device code; {fix}."


def _from_ptxas(match: re.Match[str], ptx: str) -> Diagnostic:
    text = match["text"].strip()
    line = source_line(ptx, int(match["line"])) if match["line"] else 0
    if "uses too much" in text:
        return Diagnostic(_bounded(f"{text}. Use less, or smaller tiles."), 0, 0, "error")
    return Diagnostic(_bounded(f"In the assembly: {text}"), line, 0, _severity(match["kind"]))


def source_line(ptx: str, number: int) -> int:
    """The candidate's line that line `number` of the PTX came from; 0 where unknown."""
    lines = ptx.splitlines()
    own = {m[1] for m in map(_FILE.match, lines) if m and m[2].rsplit("/", 1)[-1] == FILE_NAME}
    for text in reversed(lines[:number]):
        place = _LOC.match(text)
        if place and place[1] in own:
            return int(place[2])
        if ".entry" in text:
            break
    return 0


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def ordered(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Errors before warnings, each once, those at a line first, in the file's order, at most twenty."""
    unique: dict[tuple[int, str], Diagnostic] = {}
    for diagnostic in found:
        unique.setdefault((diagnostic.line, diagnostic.message), diagnostic)
    ranks = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(unique.values(), key=lambda d: (ranks[d.severity], d.line == 0)))[:MAX_DIAGNOSTICS]


def merged(cuda: Sequence[Diagnostic], host: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The diagnostics of both compilers, those of the host's dropped that NVRTC already gave at the same place.

    Two compilers word the same error differently; what they share is the line, and usually the quoted name.
    """
    seen = {(d.line, d.severity) for d in cuda if d.line}
    return ordered([*cuda, *(d for d in host if (d.line, d.severity) not in seen)])
