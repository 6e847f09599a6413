"""A gate whose full size has 2^32 elements: an index of 32 bits is right at every size that a laptop can run."""

import torch
from torch import nn

rows = 1 << 16
cols = 1 << 16
sizes = {
    "small": {"rows": 20, "cols": 320},
    "odd": {"rows": 7, "cols": 75},
    "full": {"rows": 1 << 16, "cols": 1 << 16},
}


class Model(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return torch.sigmoid(x) * self.weight


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return [cols]
