"""RMS norm with a weight of ones, as modules are made: a kernel that ignores the weight is right until it is redrawn."""

import torch
from torch import nn

rows = 1024
cols = 4096
sizes = {
    "small": {"rows": 20, "cols": 320},
    "odd": {"rows": 7, "cols": 75},
    "full": {"rows": 1024, "cols": 4096},
}


class Model(nn.Module):
    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return [cols]
