"""The sum of squares of each group of eight elements."""

import torch
from torch import nn

groups = 1 << 23

sizes = {"small": {"groups": 1 << 11}, "full": {"groups": 1 << 23}}


class Model(nn.Module):
    def forward(self, x):
        return (x * x).sum(dim=1)


def get_inputs():
    return [torch.randn(groups, 8)]


def get_init_inputs():
    return []
