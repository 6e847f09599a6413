"""A bias, a rectifier at the end of a fused step and a residual: a kink, a gradient that is the incoming one, a sum over rows."""

import torch
from torch import nn

rows, cols = 24, 160
sizes = {"small": {"rows": 24, "cols": 160}, "other": {"rows": 9, "cols": 257}}
backward = True


class Model(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(0.5 * torch.randn(dim))

    def forward(self, x: torch.Tensor, residual: torch.Tensor):
        return torch.nn.functional.gelu(x + self.bias) + residual, torch.relu(residual)


def get_inputs():
    return [torch.randn(rows, cols), torch.randn(rows, cols)]


def get_init_inputs():
    return [cols]
