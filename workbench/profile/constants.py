"""Which words of constant bank 0 and which special registers code may read, by architecture.

Bank 0 holds what the driver writes for each launch: dimensions, the parameters, and much else (grid and graph ids)
that would tell a timed launch from another. The offsets were found by compiling one PTX special register at a time
with NVRTC 13.5; what is not listed is refused, whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass

SPECIAL_REGISTERS = frozenset(
    f"SR_{name}"
    for name in (
        *("TID.X", "TID.Y", "TID.Z", "CTAID.X", "CTAID.Y", "CTAID.Z", "LANEID"),
        *("EQMASK", "LTMASK", "LEMASK", "GTMASK", "GEMASK"),
        # Place in a cluster, size of a cluster, window and size of shared memory.
        *("CgaCtaId", "CgaSize", "SWINHI", "SWINLO", "SMEMSZ"),
    )
) | {"SRZ"}
"""Everything else is refused: clocks, timers, %smid, %warpid, %pm, %gridid and what a later architecture adds."""

TIMERS = ("SR_CLOCK", "SR_GLOBALTIMER")


@dataclass(frozen=True)
class ConstantLayout:
    """Words of bank 0 below the parameters that code may read, byte offsets."""

    plain: frozenset[int]
    grid_sync: frozenset[int]
    """%envreg1 and %envreg2: the workspace of `grid.sync()`; the toolkit's own code alone may read them."""
    in_cluster: frozenset[int]
    """Read at an index that follows from the size of the cluster (sm_100 and later)."""
    parameter_address: int
    """Where the parameters' own address stands, as a TMA descriptor needs it."""


def _words(*ranges: tuple[int, int]) -> frozenset[int]:
    return frozenset(offset for first, last in ranges for offset in range(first, last + 1, 4))


_AMPERE = ConstantLayout(
    # Dimensions, shared and local window, stack, dynamic shared size; reserved shared memory; the memory descriptor.
    plain=_words((0x0, 0x2C), (0x114, 0x114), (0x118, 0x11C), (0x120, 0x124)),
    grid_sync=_words((0x8C, 0x90)),
    in_cluster=frozenset(),
    parameter_address=0x40,
)
_HOPPER = ConstantLayout(
    plain=_words((0x0, 0x2C), (0x114, 0x114), (0x13C, 0x164), (0x188, 0x188), (0x208, 0x20C)),
    grid_sync=_words((0x44, 0x48)),
    in_cluster=frozenset(),
    parameter_address=0x198,
)
_BLACKWELL = ConstantLayout(
    plain=_words((0x16C, 0x16C), (0x2F8, 0x2FC), (0x358, 0x37C)),
    grid_sync=_words((0x254, 0x258)),
    in_cluster=_words((0x254, 0x258), (0x2A0, 0x2CC)),
    parameter_address=0x348,
)


def constant_layout(arch: str) -> ConstantLayout | None:
    """Of "sm_90a"; None for an architecture that was not looked into."""
    number = int("".join(c for c in arch if c.isdigit()) or 0)
    if 75 <= number < 90:
        return _AMPERE
    if number == 90:
        return _HOPPER
    if number in (100, 101, 103, 110, 120, 121):
        return _BLACKWELL
    return None
