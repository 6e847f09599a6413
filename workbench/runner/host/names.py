"""Kernels that have the name of a function of the C library, which the host's compiler knows and CUDA does not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.core.plan import CompileOptions, Diagnostic
from workbench.runner.host.conditions import Preprocessor
from workbench.runner.host.rewrite import tokens

LIBRARY_NAMES = frozenset(
    [
        "div",
        "ldiv",
        "lldiv",
        "index",
        "rindex",
        "remove",
        "rename",
        "select",
        "time",
        "read",
        "write",
        "open",
        "close",
        "signal",
        "abs",
        "labs",
        "rand",
        "random",
        "exp",
        "log",
        "pow",
        "sin",
        "cos",
        "tan",
        "sqrt",
        "floor",
        "ceil",
        "round",
        "gamma",
        "y0",
        "y1",
        "yn",
        "j0",
        "j1",
        "jn",
        "link",
        "sync",
        "swab",
        "sleep",
        "dup",
        "pipe",
        "memcpy",
        "memset",
        "memmove",
        "exit",
        "abort",
        "system",
        "bsearch",
        "qsort",
        "copysign",
        "fmax",
        "fmin",
        "fma",
        "bzero",
        "bcopy",
        "bcmp",
        "finite",
        "scalb",
        "drem",
        "significand",
        "ffs",
        "basename",
        "strsep",
        "mempcpy",
        "gammaf",
        "signgam",
        "strcat",
        "memchr",
    ]
)
"""Functions of the C library, for which an `extern "C"` kernel of such a name would be taken: it gets another one."""
_CONFLICTS = re.compile(
    r"conflicting declaration of C function|redeclared as different kind|different language linkage"
    r"|ambiguates (?:old|built-in) declaration|conflicting types for|differ only in their return type"
)
"""What the compilers say of a kernel that has the name of another function of the C library."""
_OWN_NAME = frozenset({"__func__", "__FUNCTION__"})


def tells_its_name(
    text: str, kernel: str, options: CompileOptions, preprocessor: Preprocessor
) -> Diagnostic | None:
    """Where the code asks for the name of the function that it is in: a renamed kernel's is another one here."""
    given = "".join(f"#define {name} {value}\n" for name, value in options.defines)
    stream = [
        *tokens(text),
        *(tokens(preprocessor.expanded(given + text, "named.cpp")) if "##" in text else ()),
    ]
    found = next((token for token in stream if token.text in _OWN_NAME), None)
    if found is None:
        return None
    said = f"`{found.text}` in a file whose kernel `{kernel}` has the name of a function of the C library; give the "
    return Diagnostic(
        said + "kernel another name, or judge it on a GPU: this needs cuda", found.line, found.column
    )


def conflicting(diagnostics: Sequence[Diagnostic], kernels: Sequence[str], text: str) -> Diagnostic | None:
    """A kernel with the name of a function of the C library, which CUDA does not have: nobody is to blame."""
    lines = text.split("\n")
    for found in diagnostics:
        if found.severity == "error" and _CONFLICTS.search(found.message):
            # clang++ does not always say which function it speaks of.
            where = f"{found.message} {lines[found.line - 1] if found.line else ''}"
            for kernel in kernels:
                if re.search(rf"\b{re.escape(kernel)}\b", where):
                    said = f"`{kernel}` is a function of the C library; give the kernel another name, or judge it on a GPU"
                    return Diagnostic(f"{said}: this needs cuda", found.line, found.column)
    return None
