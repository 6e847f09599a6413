"""What a confined process may still do, and what is known to hold it."""

from __future__ import annotations

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to a process; everything that is not named here is refused.

    Memory that is mapped, threads, signals to itself and descriptors that are open already are always allowed. There
    is no way to allow a network.
    """

    read: tuple[str, ...] = ()
    """Files or folders that stay readable. A path that does not exist is passed over."""
    write: tuple[str, ...] = ()
    """Folders in which files may be made, read and removed."""
    execute: tuple[str, ...] = ()
    """Files or folders that may be executed, and read (toolchains); empty: no exec at all."""
    loads: bool = False
    """May open /proc/self/fd/N of anonymous memory (a memfd), so `dlopen` takes a shared object that was given as a
    descriptor. Implied where `read`, `write` or `execute` name something."""
    processes: bool = False
    """May fork and exec (the compiler's toolchain)."""
    memory_bytes: int
    """Private memory of the process (and of each of its children), in all, bytes; its address space may grow by as
    much from what it is when it is confined."""
    cpu_s: int | None = None
    """Processor time, seconds; then SIGKILL."""
    file_bytes: int = 0
    """Size that a file may grow to, bytes; 0 also keeps a memfd from growing, and makes a standard stream that was
    redirected into a regular file fail: give confined processes pipes or /dev/null."""
    open_files: int = 64
    """Descriptors; those that are open already stay."""
    unprivileged: bool = True
    """Become user and group 65534 where the process is root. It then no longer reads what stands below a folder of
    mode 0700 (a Python below /root): import everything first."""

    @property
    def files(self) -> bool:
        """Whether anything at all can be opened."""
        return self.loads or bool(self.read or self.write or self.execute)


class Evidence(msgspec.Struct, frozen=True):
    """What confines a process, in words that a verdict can quote."""

    means: tuple[str, ...]
    """("Landlock ABI 7", "seccomp allowlist", "no new privileges", "rlimits", "uid 65534")."""
    missing: tuple[str, ...]
    """What the system lacks, and what stands in for it."""

    def __str__(self) -> str:
        text = ", ".join(self.means)
        return f"{text}; missing: {', '.join(self.missing)}" if self.missing else text
