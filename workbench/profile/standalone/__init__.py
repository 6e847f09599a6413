"""A candidate as a program of its own, without torch and Python: for ncu, compute-sanitizer and cuda-gdb.

`workbench standalone` leaves it in a folder of the user's; `--sanitize` and `workbench profile` run it in one of theirs.
"""

from workbench.profile.standalone.folder import MANIFEST, replacing, write_files
from workbench.profile.standalone.program import (
    Address,
    Addresses,
    Buffer,
    LaunchStep,
    Program,
    Saved,
    Scalar,
    Zero,
)

__all__ = [
    "MANIFEST",
    "Address",
    "Addresses",
    "Buffer",
    "LaunchStep",
    "Program",
    "Saved",
    "Scalar",
    "Zero",
    "replacing",
    "write_files",
]
