"""Buffers between canaries and guard pages, as the judge sees them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from workbench.runner.host.arena import PAGE, Arena, BufferSpec

SPECS = [
    BufferSpec("x", 1000, False, "input"),
    BufferSpec("y", 4096, True, "output"),
    BufferSpec("none", 0, True),
    BufferSpec("t", 5001, True),
]


@pytest.mark.parametrize("placement", ["end", "start"])
def test_buffers_hold_what_is_written_and_start_aligned(placement: str) -> None:
    with Arena(SPECS, placement=placement, seed=1) as arena:  # type: ignore[arg-type]  # parametrized
        for i, spec in enumerate(SPECS):
            assert arena.array(i).shape == (spec.nbytes,)
            arena.array(i)[:] = np.random.default_rng(i).integers(0, 256, spec.nbytes, dtype=np.uint8)
            region = arena.regions[i]
            assert region.start % 16 == 0
            if placement == "end":
                assert 0 <= region.span - region.start - region.nbytes < 16
            else:
                assert region.start == 0
        for i, spec in enumerate(SPECS):
            want = np.random.default_rng(i).integers(0, 256, spec.nbytes, dtype=np.uint8)
            np.testing.assert_array_equal(arena.array(i), want)
        assert arena.damaged() == []


def test_a_changed_canary_is_found_with_its_distance() -> None:
    with Arena(SPECS, placement="end", seed=2) as arena:
        region = arena.regions[3]
        whole = arena._bytes[True][region.file_offset : region.file_offset + region.span]
        whole[region.start - 3] ^= 1
        whole[region.start + 5001] ^= 1
        found = [(d.name, d.offset, d.side) for d in arena.damaged()]
        assert found == [("t", -3, "before"), ("t", 5001, "after")]
        arena.reset_canaries()
        assert arena.damaged() == []


def test_canaries_follow_their_seed() -> None:
    def canary(seed: int) -> bytes:
        with Arena(SPECS, seed=seed) as arena:
            return bytes(arena._canaries[0][0])

    assert canary(1) == canary(1)
    assert canary(1) != canary(2)


def test_the_file_of_inputs_cannot_be_mapped_or_written_by_its_descriptor() -> None:
    import mmap

    with Arena(SPECS, seed=3) as arena:
        read_only, writable = arena.descriptors
        with pytest.raises(OSError):
            os.pwrite(read_only, b"x", 0)
        with pytest.raises(OSError):
            mmap.mmap(read_only, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        again = os.open(f"/proc/self/fd/{read_only}", os.O_RDONLY)
        os.close(again)
        with pytest.raises(OSError):  # sealed, also for who may open it again
            mmap.mmap(arena._files[False], PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        os.pwrite(writable, b"x", 0)
        arena.array(0)[:] = 7  # the judge's own mapping stays writable


def test_an_array_outlives_the_arena() -> None:
    arena = Arena(SPECS, seed=4)
    view = arena.array(0)
    view[:] = 9
    arena.close()
    arena.close()
    assert view[999] == 9
