"""GELU by its tanh formula after a bias, with a scalar factor."""

import torch
from torch import nn

rows = 4096
cols = 4096
sizes = {"small": {"rows": 6, "cols": 100}, "odd": {"rows": 3, "cols": 41}}


class Model(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.bias = nn.Parameter(0.5 * torch.randn(dim))

    def forward(self, x, factor: float):
        return factor * torch.nn.functional.gelu(x + self.bias, approximate="tanh")


def get_inputs():
    return [torch.randn(rows, cols), 0.75]


def get_init_inputs():
    return [cols]
