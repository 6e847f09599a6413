"""A diagonal matrix times a dense one: diag(a) @ b.

Written as a matrix product it costs n*n*m multiplications and an n*n matrix of zeros; what it means is scaling each row
of `b` by one number. The kernel to write moves `b` in and the result out and nothing else. A search should find this
at once; the judge's job is to agree that it computes the same thing.
"""

import torch
from torch import nn

n = 4096
m = 8192

sizes = {
    "small": {"n": 96, "m": 256},
    "full": {"n": 4096, "m": 8192},
    "odd": {"n": 61, "m": 203},
}


class Model(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.diag(a) @ b


def get_inputs():
    return [torch.randn(n), torch.randn(n, m)]


def get_init_inputs():
    return []
