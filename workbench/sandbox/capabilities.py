"""A root process that keeps its user (the compiler reads headers in private folders) keeps none of root's powers."""

from __future__ import annotations

import contextlib
import ctypes
import struct

from workbench.sandbox import libc

_CAP_DAC_READ_SEARCH = 2
_VERSION_3 = 0x20080522
_CAPSET = {"x86_64": 126, "aarch64": 91}


def drop() -> None:
    """Give up every capability but the one to read files whatever their mode (Landlock says which files).

    Acts on the calling thread; call it before others are started.

    Raises:
        OSError: the kernel refused.
    """
    for capability in range(64):
        if capability != _CAP_DAC_READ_SEARCH:
            with contextlib.suppress(OSError):  # EINVAL past the kernel's last one; EPERM without CAP_SETPCAP
                libc.prctl(libc.PR_CAPBSET_DROP, capability)
    with contextlib.suppress(OSError):
        libc.prctl(libc.PR_CAP_AMBIENT, 4)  # PR_CAP_AMBIENT_CLEAR_ALL
    kept = 1 << _CAP_DAC_READ_SEARCH
    header = struct.pack("<Ii", _VERSION_3, 0)
    data = struct.pack("<IIIIII", kept, kept, 0, 0, 0, 0)
    libc.syscall(
        _CAPSET[libc.machine()],
        ctypes.create_string_buffer(header, len(header)),
        ctypes.create_string_buffer(data, len(data)),
    )
