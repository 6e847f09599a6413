"""The seccomp filter: an allowlist of system calls, with the arguments of the dual-use ones checked.

What is not allowed fails with EPERM, so that a plan's error names the line that tried; a foreign calling convention
(32-bit, x32), by which numbers mean other calls, kills the process. `clone3` says ENOSYS, since a filter cannot see
its flags and glibc then falls back to `clone`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from workbench.sandbox import libc
from workbench.sandbox.policy import Policy
from workbench.sandbox.syscalls import AUDIT_ARCH, number

ALWAYS = (
    # Hot ones first: the kernel walks the filter from its start (and caches plain "allow" answers since 5.11).
    "futex read write mmap munmap mprotect madvise mremap brk readv writev pread64 pwrite64 preadv pwritev close "
    "close_range lseek fstat dup dup2 dup3 pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 "
    "epoll_ctl epoll_wait epoll_pwait eventfd2 sendto recvfrom sendmsg recvmsg shutdown getsockopt getsockname "
    "getpeername msync futex_waitv membarrier rseq set_robust_list set_tid_address sched_yield sched_getaffinity "
    "sched_getparam sched_getscheduler getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid "
    "getgroups getpgrp getpgid getsid uname sysinfo getcpu getrandom nanosleep clock_nanosleep clock_gettime "
    "clock_getres gettimeofday time times getrusage getrlimit getpriority rt_sigaction rt_sigprocmask rt_sigreturn "
    "rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack restart_syscall pause alarm setitimer getitimer "
    "exit exit_group"
)
FILES = (
    "newfstatat stat lstat statx readlink readlinkat access faccessat faccessat2 getdents getdents64 getcwd statfs "
    "fstatfs fadvise64 readahead"
)
# No chmod, chown, utimes, link, symlink or truncate by path: Landlock governs none of them, or not in every version.
WRITING = (
    "unlink unlinkat mkdir mkdirat rmdir rename renameat renameat2 ftruncate fallocate fsync fdatasync flock umask "
    "chdir fchdir sendfile copy_file_range creat"
)
PROCESSES = "fork vfork execve wait4 waitid arch_prctl"

# Dup, descriptor flags, status flags, locks, F_GET_SEALS. Not F_SETOWN or F_SETSIG, which send signals to other
# processes, and not F_ADD_SEALS, by which a candidate could freeze memory that the judge still has to write.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1034)
# TCGETS, TIOCGWINSZ, FIONREAD, FIOCLEX, FIONCLEX. Not TIOCSTI, which types into the terminal.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5451, 0x5450)
_PRCTL = (libc.PR_SET_NAME, libc.PR_GET_NAME, libc.PR_SET_VMA, libc.PR_GET_DUMPABLE)

_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020000
_PROT_EXEC = 4
# Also keeps memory that came as a read-only descriptor from being opened again for writing through /proc/self/fd.
_O_CREATING = 0o3 | os.O_CREAT | os.O_TRUNC

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JEQ, _JGE, _JSET = 0x15, 0x35, 0x45
_RET = 0x06
_KILL = 0x80000000
_ALLOW = 0x7FFF0000
_NR_OFFSET, _ARCH_OFFSET, _ARGS_OFFSET = 0, 4, 16

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


def _error(code: int) -> Instruction:
    return (_RET, 0, 0, 0x00050000 | code)


_PERMIT: Instruction = (_RET, 0, 0, _ALLOW)
_REFUSE = _error(errno.EPERM)


def _load_argument(index: int) -> Instruction:
    # The low word: each argument that is checked is an int for the kernel, which ignores the high one.
    return (_LOAD, 0, 0, _ARGS_OFFSET + 8 * index)


def _one_of(argument: int, values: Iterable[int]) -> list[Instruction]:
    """Allow where the argument equals one of the values."""
    block = [_load_argument(argument)]
    for value in values:
        block += [(_JEQ, 0, 1, value), _PERMIT]
    return [*block, _REFUSE]


def _without(argument: int, bits: int) -> list[Instruction]:
    """Allow where the argument has none of these bits."""
    return [_load_argument(argument), (_JSET, 0, 1, bits), _REFUSE, _PERMIT]


def _with(argument: int, bit: int, without: int) -> list[Instruction]:
    """Allow where the argument has this bit and none of `without`."""
    return [
        _load_argument(argument),
        (_JSET, 0, 3, bit),
        (_JSET, 0, 1, without),
        _REFUSE,
        _PERMIT,
        _REFUSE,
    ]


def program(policy: Policy, machine: str, pid: int, *, scoped_signals: bool) -> list[Instruction]:
    """The filter for a policy.

    Args:
        machine: "x86_64" or "aarch64".
        pid: the process that the filter will confine; signals to it alone are allowed.
        scoped_signals: Landlock keeps signals inside; children may then signal each other.
    """
    blocks: dict[str, list[Instruction]] = {name: [_PERMIT] for name in ALWAYS.split()}
    blocks["clone3"] = [_error(errno.ENOSYS)]
    blocks["fcntl"] = _one_of(1, _FCNTL)
    blocks["ioctl"] = _one_of(1, _IOCTL)
    blocks["prctl"] = _one_of(0, _PRCTL)
    blocks["prlimit64"] = _one_of(0, (0,))
    blocks["kill"] = blocks["tgkill"] = _one_of(0, (pid,))
    if policy.files:
        blocks.update({name: [_PERMIT] for name in FILES.split()})
        blocks["open"] = [_PERMIT] if policy.write else _without(1, _O_CREATING)
        blocks["openat"] = [_PERMIT] if policy.write else _without(2, _O_CREATING)
    else:
        blocks["mmap"] = blocks["mprotect"] = _without(2, _PROT_EXEC)
    if policy.write:
        blocks.update({name: [_PERMIT] for name in WRITING.split()})
    if policy.processes:
        blocks.update({name: [_PERMIT] for name in PROCESSES.split()})
        blocks["clone"] = _without(0, _CLONE_NAMESPACES)
        if scoped_signals:
            blocks["kill"] = blocks["tgkill"] = [_PERMIT]
    else:
        blocks["clone"] = _with(0, _CLONE_THREAD, _CLONE_NAMESPACES)

    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_JEQ, 1, 0, AUDIT_ARCH[machine]),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR_OFFSET),
    ]
    if machine == "x86_64":  # x32: the same architecture word, other numbers
        code += [(_JGE, 0, 1, 0x40000000), (_RET, 0, 0, _KILL)]
    for name, block in blocks.items():
        call = number(name, machine)
        if call is not None:
            code += [(_JEQ, 0, len(block), call), *block]
    return [*code, _REFUSE]


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(code: list[Instruction], machine: str) -> bool:
    """Install the filter for all threads of this process; "no new privileges" must be set.

    Returns:
        True: every thread is under it. False: only the calling thread (a kernel without TSYNC).

    Raises:
        OSError: the kernel has no seccomp filters, or another thread has a filter of its own.
    """
    raw = b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    fprog = _Program(len(code), ctypes.cast(buffer, ctypes.c_void_p))
    try:
        # SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_TSYNC.
        thread = libc.syscall({"x86_64": 317, "aarch64": 277}[machine], 1, 1, ctypes.byref(fprog))
        if thread:
            raise OSError(errno.ESRCH, f"thread {thread} cannot be confined: it has a filter of its own")
        return True
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
    libc.prctl(libc.PR_SET_SECCOMP, 2, ctypes.addressof(fprog))
    return False
