"""Layer norm as the module makes it: a weight of ones and a bias of zeros, until they are redrawn."""

import torch
from torch import nn

rows = 512
cols = 1024
sizes = {"small": {"rows": 10, "cols": 96}, "odd": {"rows": 3, "cols": 203}}


class Model(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        return self.norm(x)


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return [cols]
