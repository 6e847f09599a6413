"""Theoretical occupancy: how many blocks of a kernel fit on an SM, and what keeps more from fitting.

The formulas are those of NVIDIA's `cuda_occupancy.h` (a test compares the two); the table is the CUDA C++ Programming
Guide's, compute capabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from workbench.core.plan import limits_for

WARP = 32
_SIDES = 4
"""Parts of an SM that registers are allocated in."""
_REGISTERS = 65_536
_REGISTER_UNIT = 256
"""Registers a warp is given in units of this."""


@dataclass(frozen=True)
class Multiprocessor:
    """What an SM of an architecture holds."""

    warps: int
    blocks: int
    shared_bytes: int
    shared_unit: int = 128
    reserved_bytes: int = 1024
    """Shared memory that the system takes of each block."""


MULTIPROCESSORS: dict[str, Multiprocessor] = {
    "sm_75": Multiprocessor(32, 16, 65_536, shared_unit=256, reserved_bytes=0),
    "sm_80": Multiprocessor(64, 32, 167_936),
    "sm_86": Multiprocessor(48, 16, 102_400),
    "sm_87": Multiprocessor(48, 16, 167_936),
    "sm_89": Multiprocessor(48, 24, 102_400),
    "sm_90": Multiprocessor(64, 32, 233_472),
    "sm_100": Multiprocessor(64, 32, 233_472),
    "sm_103": Multiprocessor(64, 32, 233_472),
    "sm_120": Multiprocessor(48, 24, 102_400),
    "sm_121": Multiprocessor(48, 24, 102_400),
}
"""By architecture without its `a` or `f` suffix."""
MOST_PROCESSORS = {
    "sm_75": 72,
    "sm_80": 108,
    "sm_86": 84,
    "sm_89": 142,
    "sm_90": 132,
    "sm_100": 160,
    "sm_120": 188,
}
"""Multiprocessors of the largest device that NVIDIA sells of an architecture (sm_100: of its two dies together, unlocked)."""


class Occupancy(msgspec.Struct, frozen=True):
    """How full an SM can be of one kernel."""

    ratio: float
    """Active warps over the most that an SM holds, 0 to 1."""
    blocks: int
    """Blocks that an SM holds at once; 0: the kernel cannot be launched so."""
    limiter: str
    """What keeps another block out: "registers", "shared memory", "warps" or "blocks"."""
    warps: int = 0
    """Active warps an SM."""


def multiprocessor(arch: str) -> Multiprocessor:
    """Of "sm_90a"; an unknown architecture gets that of sm_90, as `core.plan.limits_for` does."""
    return MULTIPROCESSORS.get(arch.rstrip("af"), MULTIPROCESSORS["sm_90"])


def occupancy(arch: str, threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """The theoretical occupancy of a launch.

    Args:
        threads: a block, all dimensions together.
        registers: a thread, as ptxas reports them.
        shared_bytes: a block, static plus dynamic, without what the system reserves.
    """
    sm = multiprocessor(arch)
    warps = -(-max(threads, 1) // WARP)
    fits = {
        "warps": sm.warps // warps,
        "blocks": sm.blocks,
        "registers": _by_registers(registers, warps),
        "shared memory": _by_shared(sm, arch, shared_bytes),
    }
    blocks = min(fits.values())
    limiter = next(name for name, count in fits.items() if count == blocks)
    return Occupancy(blocks * warps / sm.warps, blocks, limiter, blocks * warps)


def _by_registers(registers: int, warps: int) -> int:
    if registers <= 0:
        return 1 << 16
    per_warp = -(-registers * WARP // _REGISTER_UNIT) * _REGISTER_UNIT
    if per_warp * (-(-warps // _SIDES) * _SIDES) > _REGISTERS:
        return 0
    return _REGISTERS // _SIDES // per_warp * _SIDES // warps


def _by_shared(sm: Multiprocessor, arch: str, shared_bytes: int) -> int:
    if shared_bytes > limits_for(arch).shared_bytes:
        return 0
    per_block = -(-(shared_bytes + sm.reserved_bytes) // sm.shared_unit) * sm.shared_unit
    return sm.shared_bytes // per_block if per_block else 1 << 16
