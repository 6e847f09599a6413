"""Single-precision elements, each used once."""

import torch
from torch import nn

n = 1 << 26

sizes = {"small": {"n": 1 << 13}, "full": {"n": 1 << 26}}


class Model(nn.Module):
    def forward(self, x):
        return x * 2 + 1


def get_inputs():
    return [torch.randn(n)]


def get_init_inputs():
    return []
