"""Which NVRTC compiles: the installed wheel's, or the one that WORKBENCH_NVRTC names.

A driver loads cubins of its own CUDA version and older ones, so an older driver needs an older NVRTC than the newest
wheel. The variable names a `libnvrtc.so.13`, the folder that holds it, a toolkit's root, or a folder that `pip install
--target` filled; headers that lie beside the library are taken with it.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from workbench.runner.compiler.headers import OWN, Headers, find_headers

VARIABLE = "WORKBENCH_NVRTC"
_LIBRARY = re.compile(r"libnvrtc\.so\.13(\.[\d.]+)?")
_BUILTINS = re.compile(r"libnvrtc-builtins\.so\.13\.\d+")
_BELOW = ("", "lib", "lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "nvidia/cu13/lib")


class BadChoice(ValueError):
    """WORKBENCH_NVRTC names no NVRTC 13; the message says what it names and what it should."""


@dataclass(frozen=True)
class Choice:
    """An NVRTC that was chosen."""

    library: Path
    """With links resolved."""

    @property
    def folder(self) -> Path:
        """Where the library lies, with its builtins."""
        return self.library.parent

    @property
    def identity(self) -> str:
        """Changes when another library lies there; part of a build's name in the cache."""
        status = self.library.stat()
        return f"{self.library}:{status.st_size}:{status.st_mtime_ns}"

    def load(self) -> tuple[int, int]:
        """Load it into this process, so that the bindings find it already there. Its version, (13, 0).

        Raises:
            BadChoice: it cannot be loaded.
        """
        try:
            # First its builtins: it asks for them by name alone, and would find another version's or none.
            for path in sorted(self.folder.iterdir()):
                if _BUILTINS.fullmatch(path.name):
                    ctypes.CDLL(str(path), mode=os.RTLD_GLOBAL | os.RTLD_NOW)
            library = ctypes.CDLL(str(self.library), mode=os.RTLD_GLOBAL | os.RTLD_NOW)
            major, minor = ctypes.c_int(), ctypes.c_int()
            library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        except (OSError, AttributeError) as error:
            raise BadChoice(f"{VARIABLE}={self.library} cannot be loaded: {error}") from None
        return major.value, minor.value


def chosen(named: str | None = None) -> Choice | None:
    """The NVRTC that `named` names (None: WORKBENCH_NVRTC does); None where that is empty.

    Raises:
        BadChoice: it names nothing that could be NVRTC 13.
    """
    if named is None:
        named = os.environ.get(VARIABLE, "")
    if not named:
        return None
    path = Path(named)
    if not path.is_absolute():
        raise BadChoice(f"{VARIABLE}={named} is not an absolute path; name libnvrtc.so.13 or its folder.")
    if path.is_file():
        found = [path] if _LIBRARY.fullmatch(path.name) else []
    else:
        found = [
            entry
            for below in _BELOW
            if (path / below).is_dir()
            for entry in sorted((path / below).iterdir())
            if _LIBRARY.fullmatch(entry.name) and entry.is_file()
        ]
    if not found:
        raise BadChoice(
            f"{VARIABLE}={named} holds no libnvrtc.so.13; name that file, or the folder it lies in."
        )
    return Choice(found[0].resolve())


def nvrtc_headers(named: str | None = None) -> Headers:
    """The headers that lie beside the chosen NVRTC, else those of `find_headers`.

    Args:
        named: as for `chosen`.
    """
    usual = find_headers()
    try:
        choice = chosen(named)
    except BadChoice:
        return usual
    if choice is None:
        return usual
    for include in (choice.folder.parent / "include", *(p / "include" for p in choice.folder.parents[1:3])):
        if not (include / "cuda_fp16.h").is_file():
            continue
        own = [include / "cccl"] if (include / "cccl").is_dir() else []
        # CCCL works with every NVRTC 13, so one that came without it borrows the installed one.
        cccl = [str(p) for p in own] or [f for f in usual.folders if f.endswith("/cccl")]
        return Headers((str(OWN), str(include), *cccl), VARIABLE)
    return usual
