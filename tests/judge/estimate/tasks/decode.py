"""A few rows scaled and shifted: so little work that launches are most of it."""

import torch
from torch import nn

rows = 64
cols = 1024

sizes = {"small": {"rows": 32, "cols": 256}, "full": {"rows": 64, "cols": 1024}}


class Model(nn.Module):
    def forward(self, x, w):
        return x * w + 1


def get_inputs():
    return [torch.randn(rows, cols), torch.randn(cols)]


def get_init_inputs():
    return []
