"""A product of two matrices, all three extents different."""

import torch
from torch import nn

m = 2048
k = 4096
n = 1024
sizes = {"small": {"m": 24, "k": 48, "n": 40}, "odd": {"m": 17, "k": 29, "n": 23}}


class Model(nn.Module):
    def forward(self, a, b):
        return a @ b


def get_inputs():
    return [torch.randn(m, k), torch.randn(k, n)]


def get_init_inputs():
    return []
