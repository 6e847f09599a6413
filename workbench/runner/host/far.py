"""Following a few blocks of a plan at a size that no machine here could hold, to see where their indices lead.

A tensor of 16 GiB is address space over a few megabytes of a file that repeat: reads and writes work, what is read is
not real, and no more memory is touched than the file has. The gaps between tensors are as wide as what an index can
be off by that lost a bit, so that each stray address is known to belong to one of them. Two such runs on different
contents tell an index that was computed from one that was read.
"""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from workbench.core.build import HostBuild, Kernel
from workbench.core.plan import Launch, Plan
from workbench.runner.host import messages as m
from workbench.runner.host.accesses import AccessFinding
from workbench.runner.host.client import HostRunner
from workbench.runner.host.faults import CallReport, Placed
from workbench.runner.host.steps import Layout, pack_steps

PERIOD = 8 << 20
"""Bytes that stand for a whole tensor."""
GAP = 1 << 36
"""Between tensors: 2^31 elements of 16 bytes on either side."""
LOWEST = 0x1000_0000_0000
HIGHEST = 0x6000_0000_0000
PER_BLOCK = 200_000
"""Accesses after which a block is given up."""
IN_ALL = 2_000_000
"""Accesses of one run: a tenth of a second, where each is to another page."""
MOST_BLOCKS = 48
_LIMITS = (1 << 31, 1 << 32)


class FarSpec(msgspec.Struct, frozen=True):
    """One tensor of a far size."""

    name: str
    nbytes: int
    itemsize: int
    writable: bool


class FarMemory:
    """Address space for a plan's tensors, and the few bytes behind it. A context manager.

    Raises:
        OSError: there is not enough address space.
    """

    def __init__(self, specs: Sequence[FarSpec]) -> None:
        self.buffers: list[m.FarBuffer] = []
        address, offset = LOWEST, 0
        for spec in specs:
            address += GAP
            span = -(-max(spec.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
            period = min(span, PERIOD)
            self.buffers.append(
                m.FarBuffer(
                    address,
                    spec.nbytes,
                    address - GAP // 2,
                    address + span + GAP // 2,
                    spec.itemsize,
                    offset,
                    period,
                    spec.writable,
                )
            )
            address, offset = address + span, offset + period
        if address + GAP > HIGHEST:
            raise OSError("the tensors are too large for the address space")
        self.span = sum(b.nbytes + mmap.PAGESIZE for b in self.buffers)
        self.placed = tuple(
            Placed(s.name, b.address, s.nbytes, b.low, b.high, s.writable, s.itemsize)
            for s, b in zip(specs, self.buffers, strict=True)
        )
        self.file = os.memfd_create("workbench-far", os.MFD_CLOEXEC)
        os.ftruncate(self.file, max(offset, 1))
        self._map = mmap.mmap(self.file, max(offset, 1))
        self._bytes = np.frombuffer(self._map, np.uint8)

    def fill(self, number: int, data: np.ndarray) -> None:
        """Let tensor `number` hold `data` (uint8, one-dimensional), again and again; nothing: zeros."""
        b = self.buffers[number]
        to = self._bytes[b.file_offset : b.file_offset + b.period]
        if data.size == 0:
            to[:] = 0
        elif data.size >= to.size:
            to[:] = data[: to.size]
        else:
            whole = to.size // data.size * data.size
            to[:whole].reshape(-1, data.size)[:] = data
            to[whole:] = data[: to.size - whole]

    def close(self) -> None:
        """Give it back."""
        del self._bytes
        self._map.close()
        os.close(self.file)

    def __enter__(self) -> FarMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _FarLayout(Layout):
    def __init__(self, memory: FarMemory) -> None:
        self.addresses = [b.address for b in memory.buffers]
        self.placed = memory.placed
        self.mappings = ()


def needs_following(plan: Plan) -> bool:
    """Whether a 32-bit index could be too narrow: a tensor of 2^31 bytes, or a launch of 2^31 threads."""
    if any(t.spec.nbytes >= _LIMITS[0] for t in plan.tensors):
        return True
    return any(_threads(s) >= _LIMITS[0] for s in plan.steps if isinstance(s, Launch))


def _threads(launch: Launch) -> int:
    (x, y, z), (a, b, c) = launch.grid, launch.block
    return x * y * z * a * b * c


def choose_blocks(launch: Launch, sizes: Sequence[int], rng: random.Random) -> tuple[int, ...]:
    """Numbers (x first) of the blocks that say most: the last, and along each axis the first three, the last two,
    those just past 2^31 and 2^32 elements or bytes of a tensor, and a few at random.

    Args:
        sizes: elements and bytes of the plan's large tensors.
    """
    grid = launch.grid
    total = grid[0] * grid[1] * grid[2]
    strides = (1, grid[0], grid[0] * grid[1])
    past = {(limit, size) for limit in _LIMITS for size in sizes if size > limit}
    chosen = [total - 1]
    for limit, size in sorted(past):
        chosen += [total * limit // size + k for k in (0, 1)]
    for extent, stride in zip(grid, strides, strict=True):
        places = [0, 1, 2, extent - 2, extent - 1]
        for limit, size in sorted(past):
            places += [extent * limit // size + k for k in (0, 1, 2)]
        chosen += [p * stride for p in places if 0 <= p < extent]
    chosen += [rng.randrange(total) for _ in range(4)]
    return tuple(dict.fromkeys(b for b in chosen if 0 <= b < total))[:MOST_BLOCKS]


def follow(
    runner: HostRunner,
    build: HostBuild,
    plan: Plan,
    kernels: Mapping[str, Kernel],
    memory: FarMemory,
    bindings: Mapping[int, int],
    *,
    seed: int,
    timeout_s: float,
) -> CallReport:
    """Run the chosen blocks of every launch once. Cooperative launches are left out.

    Args:
        runner: holds the instrumented build, with address space for `memory.span`.
        bindings: tensor number in the plan to buffer number in `memory`.

    Raises:
        JudgeError: no runner can be started here.
        LaunchError: a launch cannot be packed.
    """
    rng = random.Random(seed)
    steps, names = pack_steps(plan, kernels, build, _FarLayout(memory), bindings, random.Random(seed))
    sizes = sorted({n for t in plan.tensors for n in (t.spec.numel, t.spec.nbytes) if n > _LIMITS[0]})
    launches = iter([s for s in plan.steps if isinstance(s, Launch) and all(s.grid) and all(s.block)])
    by_address = {b.address: b for b in memory.buffers}
    prepared: list[m.RunStep] = []
    for step in steps:
        if isinstance(step, m.LaunchStep):
            launch = next(launches)
            blocks = () if launch.cooperative else choose_blocks(launch, sizes, rng)
            step = msgspec.structs.replace(step, blocks=blocks)
        elif isinstance(step, m.FillStep):
            buffer = by_address[step.address]
            step = msgspec.structs.replace(step, nbytes=min(step.nbytes, buffer.period))
        prepared.append(step)
    request = m.FarCall(tuple(memory.buffers), tuple(prepared), PER_BLOCK, IN_ALL)
    return runner.execute(request, [memory.file], names, memory.placed, timeout_s=timeout_s)


def agreed(one: Sequence[AccessFinding], two: Sequence[AccessFinding]) -> tuple[AccessFinding, ...]:
    """What both runs found at the same place in the same block and thread, whatever memory held."""

    def key(f: AccessFinding) -> tuple[object, ...]:
        return f.kind, f.kernel, f.block, f.thread, f.line, f.buffer, f.index, f.nbytes

    other = {key(f) for f in two}
    return tuple(f for f in one if f.kind == "index overflow" and key(f) in other)
