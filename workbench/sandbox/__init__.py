"""Confines a process before it touches anything hostile: plans, device code, shared objects made from it.

Two independent kernel mechanisms do the work where the system has both: Landlock says which files, ports and
processes can be reached, seccomp which system calls exist at all. Resource limits, an unprivileged user and "no new
privileges" stand behind them. `Evidence` says what holds and what is missing; nothing is promised that was not set.
"""

from workbench.sandbox.confine import confine
from workbench.sandbox.guard import popen, spawn_guard
from workbench.sandbox.policy import Evidence, Policy

__all__ = ["Evidence", "Policy", "confine", "popen", "spawn_guard"]
