"""The order in which a process is confined, and the account of what then holds it."""

from __future__ import annotations

import contextlib
import os
import resource
import sys

from workbench.core.errors import JudgeError
from workbench.sandbox import capabilities, landlock, libc, seccomp
from workbench.sandbox.policy import Evidence, Policy

NOBODY = 65534
THREADS_OF_NOBODY = 4096
"""Processes and threads of user 65534 together, so of all confined processes of this machine."""


def confine(policy: Policy) -> Evidence:
    """Confine the calling process, and whatever it starts, for good.

    Call it after the process's own imports and before anything hostile is touched. With threads running already, those
    are covered by seccomp (and by Landlock from ABI 8 on); what is not covered is named in the evidence.

    Raises:
        JudgeError: this system cannot hold hostile code, or refused to.
    """
    machine = libc.machine()
    if not machine:
        raise JudgeError(
            f"Hostile code cannot be confined on this system ({sys.platform}).",
            do="Run it on Linux, x86-64 or aarch64.",
        )
    means: list[str] = []
    missing: list[str] = []
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    guard = libc.parent_death_signal()
    version = landlock.abi()
    try:
        ruleset = landlock.prepare(policy, version) if version else None
        _limit(policy)
        if policy.unprivileged and os.geteuid() == 0:
            _drop_user()
            means.append(f"uid {NOBODY}")
        elif os.geteuid() == 0:
            capabilities.drop()
            means.append("no capabilities but reading")
        elif policy.unprivileged:
            missing.append("a user of its own (the judge does not run as root)")
        # A change of user cleared both. Without "dumpable" /proc/self belongs to root and /proc/self/fd is closed.
        if policy.files:
            libc.prctl(libc.PR_SET_DUMPABLE, 1)
        if guard:
            libc.prctl(libc.PR_SET_PDEATHSIG, guard)
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        if ruleset is not None:
            landlock.restrict(ruleset, version)
        code = seccomp.program(
            policy, machine, os.getpid(), scoped_signals=version >= landlock.SCOPES_FROM_ABI
        )
        every_thread = seccomp.install(code, machine)
    except OSError as error:
        raise JudgeError(
            f"The sandbox could not be set up: {error.strerror or error}.",
            do="Run `workbench doctor`; in a container, allow seccomp filters and Landlock.",
        ) from error
    means += ["seccomp allowlist", "no new privileges", "rlimits"]
    if version:
        means.insert(0, f"Landlock ABI {version}")
    missing += _missing(policy, version, threads, every_thread)
    return Evidence(tuple(means), tuple(missing))


def _missing(policy: Policy, version: int, threads: int, every_thread: bool) -> list[str]:
    """What the kernel's versions leave open for this policy, in words."""
    missing: list[str] = []
    if not version:
        if policy.files:
            missing.append(
                "Landlock: files are guarded by their permissions and by seccomp (no writing) only"
            )
        else:
            missing.append("Landlock: seccomp refuses to open any file instead")
    elif threads > 1 and version < landlock.TSYNC_FROM_ABI and policy.files:
        missing.append(f"Landlock on {threads - 1} threads that ran already")
    if not every_thread and threads > 1:
        missing.append(f"seccomp on {threads - 1} threads that ran already")
    return missing


def _limit(policy: Policy) -> None:
    """Soft and hard resource limits, so that none can be raised again."""
    limits = {
        resource.RLIMIT_DATA: policy.memory_bytes,
        # What was reserved before is no memory: NVRTC brings the GPU's driver up where there is one, which sets 12 GB
        # of addresses aside.
        resource.RLIMIT_AS: policy.memory_bytes + _address_space(),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: policy.file_bytes,
        resource.RLIMIT_NOFILE: policy.open_files,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if policy.cpu_s is not None:
        limits[resource.RLIMIT_CPU] = policy.cpu_s
    if policy.unprivileged and os.geteuid() == 0:
        limits[resource.RLIMIT_NPROC] = THREADS_OF_NOBODY
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))


def _address_space() -> int:
    """Addresses that this process has mapped or reserved, bytes; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 0


def _drop_user() -> None:
    """Become nobody: groups first, while it is still allowed. glibc carries this to every thread."""
    with contextlib.suppress(
        PermissionError
    ):  # a user namespace may deny setgroups; then there are none to lose
        os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
