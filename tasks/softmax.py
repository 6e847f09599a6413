"""Softmax over the last axis of a matrix: the first reduction that everybody writes.

Each row needs its maximum (for stability), the sum of the exponentials, and then a second look at each element. The
interesting choice is how often a row travels from memory: two or three times when every pass reads it again, once when
it is kept in registers or shared memory. At the full size the matrix is 256 MiB, far over any L2 cache, so memory
traffic is all that counts; 0.06 ms is about what an H200 needs to read it once.
"""

import torch
from torch import nn

rows = 4096
cols = 16384

sizes = {
    "small": {"rows": 64, "cols": 512},
    "full": {"rows": 4096, "cols": 16384},
    "odd": {"rows": 29, "cols": 1003},
}
"""`odd` has rows that do not start on 16 bytes: vector loads must notice."""


class Model(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, dim=-1)


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return []
