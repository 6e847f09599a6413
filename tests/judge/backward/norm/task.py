"""RMS normalisation with a weight, to be trained: the gradients are part of the task."""

import torch
from torch import nn

rows, cols = 24, 160
sizes = {"small": {"rows": 24, "cols": 160}, "other": {"rows": 7, "cols": 331}}
backward = True


class Model(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.weight = nn.Parameter(1.0 + 0.1 * torch.randn(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + self.eps) * self.weight


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return [cols]
