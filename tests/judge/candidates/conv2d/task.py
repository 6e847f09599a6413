"""A small convolution with padding and a bias."""

import torch
from torch import nn

n = 32
h = 64
w = 64
sizes = {"small": {"n": 1, "h": 10, "w": 9}, "odd": {"n": 2, "h": 5, "w": 8}}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def get_inputs():
    return [torch.randn(n, 3, h, w)]


def get_init_inputs():
    return []
