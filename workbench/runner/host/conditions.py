"""What a candidate asks about the compiler that compiles it: code that can tell the two targets apart is not one
program, and what runs on the host then says nothing about what runs on a GPU.

The compiler's own preprocessor answers which macros were tested or expanded (`-dU`), so that names pasted together
are seen too, and which of the compilers' become strings (g++; of clang++ the names in the text are all that is seen).
What can be told at run time or from types (rounding, addresses, sizes) is beyond this; a verdict names that.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.core.plan import Diagnostic
from workbench.runner.compiler.includes import directives
from workbench.runner.host.headers import alike
from workbench.runner.host.rewrite import tokens

TIMEOUT_S = 10
MACROS = "macros.txt"
"""In the prepared folder: the names of all macros that the compiler, the host target's headers, those of the C++
library that it reads and NVIDIA's define."""
FOREIGN = "foreign.txt"
"""In the prepared folder: those of `MACROS` that NVRTC does not know, or that mean something else to it."""

_SAME = frozenset(
    [
        "__CUDACC__",
        "__CUDA_ARCH__",
        "__cplusplus",
        "NULL",
        # Of the prelude: the same value and type here, so that `#ifndef M_PI` asks nothing. Their text is another, which
        # only a string tells (`_stringized`).
        "INFINITY",
        "NAN",
        "HUGE_VALF",
        "CHAR_BIT",
        *(f"INT{bits}_{end}" for bits in (8, 16, 32) for end in ("MIN", "MAX")),
        *(f"UINT{bits}_MAX" for bits in (8, 16, 32)),
        "INT_MIN",
        "INT_MAX",
        "UINT_MAX",
        *(f"{kind}_{what}" for kind in ("FLT", "DBL") for what in ("MAX", "MIN", "EPSILON", "MANT_DIG")),
        *(
            f"M_{what}"
            for what in ("E", "LOG2E", "LOG10E", "LN2", "LN10", "PI", "PI_2", "PI_4", "1_PI", "2_PI")
        ),
        *(f"M_{what}" for what in ("2_SQRTPI", "SQRT2", "SQRT1_2")),
    ]
)
"""Defined on both targets, and alike; `__CUDA_ARCH__` is that of the architecture that is judged."""
_ONLY_CUDA = [
    "__CUDACC_RTC__",
    "__CUDACC_RDC__",
    "__CUDACC_VER_BUILD__",
    "__CUDA_API_VER_MAJOR__",
    "__CUDA_API_VER_MINOR__",
    "__NVCC__",
    "__NVRTC__",
    "__EDG__",
    "__EDG_VERSION__",
    "__CUDA_ARCH_LIST__",
    "__CUDA_ARCH_SPECIFIC__",
    "__CUDA_ARCH_FAMILY_SPECIFIC__",
    "__CUDA_ARCH_FEAT_SM90_ALL",
    "__CUDA_ARCH_HAS_FEATURE__",
    "__CUDA_PREC_DIV",
    "__CUDA_PREC_SQRT",
    "__CUDA_FTZ",
    "__USE_FAST_MATH__",
    "__CUDACC_EWP__",
    "__CUDACC_EXTENDED_LAMBDA__",
    "__NV_BUILTIN_ATOMIC_TEMPLATE",
    "__WINT_MAX__",
]
_MENTIONED = re.compile(r"^#(?:define|undef) (\w+)(?:\([^)\n]*\))?[ ]?(.*)", re.MULTILINE)
_NAME = re.compile(r"\b[A-Za-z_]\w*")
_RESERVED = re.compile(r"_[A-Z_]\w*")
_CONSTANT = re.compile(r"_[A-Z0-9_]+")
"""A reserved name that is no keyword of CUDA's, such as `__shared__`."""
_SPLICE = re.compile(r"\\[ \t]*\r?\n")
_MARK = "wb_known"
"""What macros of the host's stand for while it is asked whether they are expanded."""
_LONG_DOUBLE = re.compile(r"(?!0[xX])[\d.'eE+-]*[.eE][\d.'eE+-]*[lL]|0[xX].*[pP].*[lL]")
_ELSEWHERE = re.compile(
    r"\blong\s+double\b|\b__PRETTY_FUNCTION__\b|\b__builtin_constant_p\b|\b__COUNTER__\b|\b__INCLUDE_LEVEL__\b|\b__has_\w+"
)
_BUILT_IN = frozenset(
    [
        "__BASE_FILE__",
        "__FILE_NAME__",
        "__TIMESTAMP__",
        "__DATE__",
        "__TIME__",
        "__COUNTER__",
        "__INCLUDE_LEVEL__",
        "__builtin_FILE",
        "__builtin_FUNCTION",
        "__builtin_COLUMN",
    ]
)
"""What a preprocessor knows without listing it (`-dM`, `-dU`), and what differs between compilers or with the time."""
_STRINGIZES = re.compile(r"(?:#|%:)[ \t]*define\b[^\n]*[^#:\n](?:#|%:)[ \t]*[A-Za-z_]")


def list_macros(command: Sequence[str], folder: Path, environment: dict[str, str]) -> frozenset[str]:
    """Names of the macros that `command` (a compiler with its flags, and a header) defines.

    Raises:
        subprocess.SubprocessError: the compiler failed.
    """
    done = subprocess.run(
        [*command, "-E", "-dM"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S * 6,
        check=True,
    )
    return frozenset(name for name, _ in _MENTIONED.findall(done.stdout))


@dataclass(frozen=True)
class Preprocessor:
    """The host's compiler, asked for nothing but its preprocessor."""

    known: frozenset[str]
    """Names of `MACROS`."""
    foreign: frozenset[str]
    """Names of `FOREIGN`."""
    headers: tuple[str, ...]
    """Folders with NVIDIA's headers."""
    command: tuple[str, ...] | None
    """A compiler that knows `-dU`; None: names are only looked for in the text, where pasted ones are not seen."""
    folder: Path
    """For its files."""
    environment: dict[str, str]
    cuda_arch: int = 900
    """`__CUDA_ARCH__` as the candidate finds it."""

    def mentioned(self, text: str, name: str) -> list[str]:
        """Macros that `text` tests or expands, in order.

        Raises:
            subprocess.TimeoutExpired: it was not done after `TIMEOUT_S`.
        """
        return list(self.expansions(text, name))

    def expansions(self, text: str, name: str) -> dict[str, str]:
        """Macros that `text` tests or expands, in order, and what each stands for there ("" where it is not defined).

        Raises:
            subprocess.TimeoutExpired: it was not done after `TIMEOUT_S`.
        """
        if self.command is None:
            defined = dict(_MENTIONED.findall(text))
            return {n: defined.get(n, "") for n in _NAME.findall(text)}
        (self.folder / name).write_text(text)
        done = subprocess.run(
            [*self.command, "-std=c++17", "-nostdinc", "-E", "-dU", "-P", "-w", name],
            cwd=self.folder,
            env=self.environment,
            # No DEVNULL: a confined process may not open it on every machine.
            capture_output=True,
            timeout=TIMEOUT_S,
        )
        # An error is the real compilation's to report; what was asked until then counts.
        found: dict[str, str] = {}
        for macro, body in _MENTIONED.findall(done.stdout.decode(errors="replace")):
            found[macro] = body if found.get(macro) != _MARK else _MARK
        return found

    def expanded(self, text: str, name: str) -> str:
        """`text` with its macros expanded and without its includes; as it is where the preprocessor cannot be asked.

        Raises:
            subprocess.TimeoutExpired: it was not done after `TIMEOUT_S`.
        """
        if self.command is None:
            return text
        (self.folder / name).write_text(_INCLUDE.sub("", text))
        done = subprocess.run(
            [
                *self.command,
                *(
                    "-std=c++17",
                    "-nostdinc",
                    "-E",
                    "-P",
                    "-w",
                    "-D__CUDACC__",
                    f"-D__CUDA_ARCH__={self.cuda_arch}",
                ),
                name,
            ],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
        return done.stdout.decode(errors="replace")


def asks_for_compiler(
    text: str, defines: Sequence[tuple[str, str]], preprocessor: Preprocessor
) -> Diagnostic | None:
    """The first thing in `text` that differs between the two targets by definition; None where nothing does.

    A conditional that chooses nothing but headers, as around `#include <cuda_runtime.h>`, asks for nothing.

    Raises:
        subprocess.TimeoutExpired: the preprocessor was not done in time.
    """
    reduced = _without_headers(text, preprocessor.headers)
    found = [body for _, _, body in directives(reduced)]
    chosen = [body for body in found if _word(body) not in ("include", "pragma", "error", "warning")]
    given = [f"define {name} {value}" for name, value in defines]
    own = {
        name[0] for body in (*found, *given) if _word(body) == "define" and (name := _NAME.findall(body)[1:2])
    }
    known = (preprocessor.known | set(_ONLY_CUDA)) - _SAME
    names: list[str] = []
    if any(_word(body) not in ("define", "undef") for body in chosen):
        lines = [
            "define __CUDACC__ 1",
            f"define __CUDA_ARCH__ {preprocessor.cuda_arch}",
            *(f"define {n} 1" for n in known),
            *given,
            *chosen,
        ]
        asked = preprocessor.mentioned("".join(f"#{body}\n" for body in lines), "asked.cpp")
        if preprocessor.command is None:
            asked = [
                name for name in asked if any(name in body for body in chosen if _word(body) != "define")
            ]
        plain = [n for body in chosen if _word(body) not in ("define", "undef") for n in _NAME.findall(body)]
        names += [n for n in asked if n in known or (_RESERVED.fullmatch(n) and n not in own)]
        names += [n for n in plain if _RESERVED.fullmatch(n) and n not in own]
    code = _SPLICE.sub("", reduced)
    pasted = "##" in code or "%:%:" in code
    words = [token.text for token in tokens(code)]
    foreign = preprocessor.foreign - _SAME if pasted else preprocessor.foreign & set(words) - _SAME
    if pasted or foreign or any(_CONSTANT.fullmatch(word) for word in words):
        marked = sorted(foreign | (_BUILT_IN if pasted else frozenset()))
        marks = "".join(f"#define {name} {_MARK}\n" for name in marked)
        lines = [f"#{body}\n" for body in given]
        used = preprocessor.expansions("".join([marks, *lines, reduced]), "used.cpp")
        names += [n for n, body in used.items() if body == _MARK or (n in known and _CONSTANT.fullmatch(n))]
    names += [word for word in words if _LONG_DOUBLE.fullmatch(word)]
    names += [match[0] for match in _ELSEWHERE.finditer(code)]
    names += [word for word in words if word in _BUILT_IN]
    if _STRINGIZES.search(code) and (named := _stringized(reduced, given, words, pasted, preprocessor)):
        return _needs_cuda(named, text)
    return next((_needs_cuda(name, text) for name in names if name not in _SAME), None)


def _stringized(
    text: str, given: Sequence[str], words: Sequence[str], pasted: bool, preprocessor: Preprocessor
) -> str | None:
    """A macro that is not the candidate's own and becomes part of a string: what it stands for differs, and so do the
    string's length and letters. None where there is none, or where only the arguments' own text does (`#x`)."""
    known = preprocessor.known - {"__CUDA_ARCH__", "__cplusplus"}
    marked = sorted(known if pasted else known & set(words))
    lines = [f"#define {name} {_MARK}{i}_\n" for i, name in enumerate(marked)]
    lines += [f"#{body}\n" for body in given]
    expanded = preprocessor.expanded("".join([*lines, text]), "strings.cpp")
    for token in tokens(expanded):
        if token.kind in ("string", "raw") and (found := re.search(rf"{_MARK}(\d+)_", token.text)):
            return marked[int(found[1])]
    return None


def _word(body: str) -> str:
    match = re.match(r"\s*(\w*)", body)
    return match[1] if match is not None else ""


_NEUTRAL = re.compile(r"\s*(?:#\s*include\s*<([\w./]+)>\s*|#\s*pragma\s+once\s*|#\s*else\s*|)(?://[^\\]*)?")
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b[^\n]*", re.MULTILINE)


def _without_headers(text: str, folders: Sequence[str]) -> str:
    """`text` without includes, and without the conditionals that choose nothing but headers that both targets have
    anyway, or neither."""
    lines = text.split("\n")
    opened: list[int] = []
    choosing = 0  # so many of the open conditionals, from the outermost, choose more than includes
    for number, line in enumerate(lines):
        if re.match(r"\s*#\s*if", line) and not line.rstrip().endswith("\\") and "/*" not in line:
            opened.append(number)
        elif opened and re.fullmatch(r"\s*#\s*endif\s*(?://[^\\]*)?", line):
            start = opened.pop()
            if len(opened) >= choosing:
                lines[start : number + 1] = [""] * (number + 1 - start)
            choosing = min(choosing, len(opened))
        elif opened and not ((neutral := _NEUTRAL.fullmatch(line)) and alike(neutral[1] or "", folders)):
            choosing = len(opened)
    return _INCLUDE.sub("", "\n".join(lines))


def _needs_cuda(name: str, text: str) -> Diagnostic:
    at = text.find(name)
    line = text.count("\n", 0, at) + 1 if at >= 0 else 0
    return Diagnostic(
        f"`{name}` differs between NVRTC and the host's compiler, so what runs here would not be what runs there; "
        "this needs cuda",
        line,
        at - text.rfind("\n", 0, at) if at >= 0 else 0,
    )
