"""Landlock: which files, TCP ports and processes can be reached, as far as the running kernel's version goes."""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from workbench.sandbox import libc
from workbench.sandbox.policy import Policy

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READING = _READ_FILE | _READ_DIR
_WRITING = _READING | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE

SCOPES_FROM_ABI = 6
"""From here on signals and abstract sockets of processes outside are out of reach."""
TSYNC_FROM_ABI = 8
"""From here on one call covers all threads; before, the calling one and those that it starts."""


def abi() -> int:
    """The kernel's Landlock version; 0 where there is none."""
    if not libc.machine():
        return 0
    try:
        return libc.syscall(_CREATE_RULESET, 0, 0, 1)
    except OSError:
        return 0


def handled(version: int) -> tuple[int, int, int]:
    """All file rights, network rights and scopes that a version knows: what is not granted is then refused."""
    files = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    return files, 0b11 if version >= 4 else 0, 0b11 if version >= SCOPES_FROM_ABI else 0


def prepare(policy: Policy, version: int) -> int:
    """A ruleset that grants what the policy names and nothing else; its descriptor.

    Made before the user is changed, since granting a path needs a way to it.

    Raises:
        OSError: the kernel refused the ruleset.
    """
    files, network, scopes = handled(version)
    attributes = struct.pack("<QQQ", files, network, scopes)
    size = 24 if version >= SCOPES_FROM_ABI else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.create_string_buffer(attributes, 24), size, 0)
    try:
        for paths, rights in (
            (policy.read, _READING),
            (policy.write, _WRITING),
            (policy.execute, _READING | _EXECUTE),
        ):
            for path in paths:
                _grant(ruleset, path, rights & files)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def restrict(ruleset: int, version: int) -> None:
    """Confine the calling thread (from ABI 8 on: the process) for good; "no new privileges" must be set.

    Raises:
        OSError: the kernel refused.
    """
    try:
        libc.syscall(_RESTRICT_SELF, ruleset, 1 << 3 if version >= TSYNC_FROM_ABI else 0)
    finally:
        os.close(ruleset)


def _grant(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what cannot be reached need not be granted
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _FILE_RIGHTS
        rule = struct.pack("<Qi", rights, parent)
        libc.syscall(_ADD_RULE, ruleset, 1, ctypes.create_string_buffer(rule, len(rule)), 0)
    finally:
        os.close(parent)
