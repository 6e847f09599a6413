"""Row sums and products in float64: whoever adds up in float is off by nine digits."""

import torch
from torch import nn

rows = 256
cols = 2048
sizes = {"small": {"rows": 24, "cols": 300}, "odd": {"rows": 7, "cols": 77}}


class Model(nn.Module):
    def forward(self, x, y):
        return (x * y).sum(-1) / x.shape[-1]


def get_inputs():
    return [torch.randn(rows, cols, dtype=torch.float64), torch.randn(rows, cols, dtype=torch.float64)]


def get_init_inputs():
    return []
