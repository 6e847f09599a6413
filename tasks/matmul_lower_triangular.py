"""The product of two lower triangular matrices, which is lower triangular again.

c[i, j] is zero for j > i, and only k from j to i contribute to the rest: one sixth of the multiplications of a dense
product. Which tiles are skipped, and how the remaining long and short ones are spread over the multiprocessors, decides
how much of that factor of six is left.
"""

import torch
from torch import nn

n = 4096

sizes = {
    "small": {"n": 96},
    "full": {"n": 4096},
    "odd": {"n": 75},
}


class Model(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.tril(torch.matmul(a, b))


def get_inputs():
    return [torch.tril(torch.randn(n, n)), torch.tril(torch.randn(n, n))]


def get_init_inputs():
    return []
