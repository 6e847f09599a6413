"""The product of two lower triangular matrices."""

import torch
from torch import nn

n = 2048
sizes = {"small": {"n": 40}, "odd": {"n": 27}}


class Model(nn.Module):
    def forward(self, a, b):
        return torch.tril(a @ b)


def get_inputs():
    return [torch.randn(n, n).tril(), torch.randn(n, n).tril()]


def get_init_inputs():
    return []
