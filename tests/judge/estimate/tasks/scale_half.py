"""Half-precision elements, each used once: two bytes at a time or sixteen."""

import torch
from torch import nn

n = 1 << 27

sizes = {"small": {"n": 1 << 15}, "full": {"n": 1 << 27}}


class Model(nn.Module):
    def forward(self, x):
        return x * 2 + 1


def get_inputs():
    return [torch.randn(n, dtype=torch.float16)]


def get_init_inputs():
    return []
