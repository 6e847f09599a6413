"""Two recurrences, one for even elements and one for odd ones: long enough to be limited by arithmetic."""

import torch
from torch import nn

n = 1 << 25

sizes = {"small": {"n": 1 << 12}, "full": {"n": 1 << 25}}


class Model(nn.Module):
    def forward(self, x):
        even, odd = x[0::2], x[1::2]
        for _ in range(48):
            even = even * even * 0.25 + 0.125
            odd = odd * 0.5 - odd * odd * 0.125
        return torch.stack((even, odd), dim=1).reshape(-1)


def get_inputs():
    return [torch.rand(n)]


def get_init_inputs():
    return []
