"""A step of decoding: a new row goes into the cache, in place, and the mean over the cache comes out."""

import torch
from torch import nn

steps = 2048
dim = 128
sizes = {"small": {"steps": 12, "dim": 40}, "odd": {"steps": 7, "dim": 33}}


class Model(nn.Module):
    def forward(self, cache, row, position: int):
        cache[position] = row
        return cache.mean(0)


def get_inputs():
    return [torch.randn(steps, dim), torch.randn(dim), 5]


def get_init_inputs():
    return []
