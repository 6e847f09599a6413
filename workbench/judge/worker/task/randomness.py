"""Seeds of every generator that a task's own code may draw from."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from unittest import mock

import torch


def seed_everything(seed: int) -> None:
    """Seed torch, Python's random and, where the task imported it, numpy."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed & 0xFFFFFFFF)


@contextlib.contextmanager
def reseeded(offset: int) -> Iterator[None]:
    """A get_inputs() that seeds itself gets other numbers: its seeds are moved by `offset`."""
    original = torch.manual_seed
    with mock.patch.object(torch, "manual_seed", lambda seed: original(int(seed) + offset)):
        yield
