"""The sum of all elements, as one number."""

import torch
from torch import nn

n = 1 << 17

sizes = {"small": {"n": 1 << 12}, "full": {"n": 1 << 17}}


class Model(nn.Module):
    def forward(self, x):
        return x.sum()


def get_inputs():
    return [torch.rand(n)]


def get_init_inputs():
    return []
