"""An inclusive prefix sum of one long row; one size is a single element, one is longer than a block."""

import torch
from torch import nn

n = 1 << 22
sizes = {"small": {"n": 700}, "long": {"n": 1500}, "one": {"n": 1}}


class Model(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 0)


def get_inputs():
    return [torch.randn(n)]


def get_init_inputs():
    return []
