"""Direct system calls through ctypes: the few that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

PR_SET_PDEATHSIG = 1
PR_GET_PDEATHSIG = 2
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_GET_NAME = 16
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_SET_VMA = 0x53564D41

_libc = ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    """ "x86_64" or "aarch64" for a 64-bit Linux that the sandbox knows, else ""."""
    name = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    known = sys.platform == "linux" and sys.maxsize > 2**32 and sys.byteorder == "little"
    return name if known and name in ("x86_64", "aarch64") else ""


def syscall(number: int, *arguments: object) -> int:
    """One system call. Arguments are ints or ctypes pointers.

    Raises:
        OSError: with the errno that the kernel gave.
    """
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    _libc.syscall.restype = ctypes.c_long
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with unused arguments zero, as newer options demand.

    Raises:
        OSError: with the errno that the kernel gave.
    """
    words = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(ctypes.c_int(option), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def parent_death_signal() -> int:
    """The signal that this process gets when the thread that started it ends; 0 for none."""
    value = ctypes.c_int(0)
    _libc.prctl(ctypes.c_int(PR_GET_PDEATHSIG), ctypes.byref(value), 0, 0, 0)
    return value.value
