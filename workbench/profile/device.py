"""Which architecture is compiled for where nobody names one: that of this machine's GPU, else sm_90a.

The driver is asked in a child process: one that is broken may crash or hang whoever starts it, and no process here
wants a driver's threads before it forks or is confined. Without a driver's library no child is started.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

from workbench.core.plan import LIMITS

FALLBACK = "sm_90a"
"""Compiled for where there is no GPU, or none that is known here."""
DRIVER = "libcuda.so.1"
LIMIT_S = 15.0
"""A driver takes 0.1 to 3 s to start; a machine with many GPUs and no persistence mode is slowest."""

_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", f"/usr/lib/{os.uname().machine}-linux-gnu")

_asking = threading.Lock()

_ASK = """
import ctypes, sys
driver = ctypes.CDLL(sys.argv[1])
device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # compute capability, major
failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)  # and minor
if failed:
    sys.exit(1)
print(major.value, minor.value, flush=True)
"""


def default_arch() -> str:
    """The architecture of the first GPU that may be used here, "sm_90a" style; `FALLBACK` where none is known.

    Asked once a process: without a driver it takes less than a millisecond, with one as long as the driver needs to
    start. From any thread; never raises, never takes longer than `LIMIT_S`.
    """
    with _asking:  # a second thread waits for the first one's answer
        return _answer()


@functools.cache
def _answer() -> str:
    found = device_arch()
    return found if found is not None else FALLBACK


def device_arch(library: str = DRIVER, *, limit_s: float = LIMIT_S) -> str | None:
    """The architecture of the first visible device of the driver `library`; None where it tells none known here."""
    capability = _capability(library, limit_s)
    return arch_of(*capability) if capability is not None else None


def arch_of(major: int, minor: int) -> str | None:
    """Of a compute capability: (9, 0) is "sm_90a"; None for one whose limits are not known here.

    From 9.0 on with the `a`, without which an architecture's own instructions (wgmma) do not compile.
    """
    name = f"sm_{major}{minor}"
    if name not in LIMITS:
        return None
    return f"{name}a" if major >= 9 else name


def _capability(library: str, limit_s: float) -> tuple[int, int] | None:
    if not _is_there(library):
        return None
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ASK, library],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError):
        return None
    try:
        child.wait(limit_s)  # the answer is a few bytes: it fits the pipe
        assert child.stdout is not None
        words = child.stdout.read(64).split() if child.returncode == 0 else []
        return (int(words[0]), int(words[1])) if len(words) == 2 else None
    except (subprocess.TimeoutExpired, ValueError):
        child.kill()  # and no wait: a process that waits inside a driver may not even die
        return None
    finally:
        if child.stdout is not None:
            child.stdout.close()


def _is_there(library: str) -> bool:
    """Whether the loader would find it, as its cache and its folders say; nothing of it is loaded, since a library's
    constructors run at that."""
    if "/" in library:
        return os.path.exists(library)
    with contextlib.suppress(OSError):
        if library.encode() in Path("/etc/ld.so.cache").read_bytes():
            return True
    named = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return any(os.path.exists(os.path.join(folder, library)) for folder in (*named, *_FOLDERS) if folder)
