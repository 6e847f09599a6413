"""Group norm and SiLU of half precision images."""

import torch
from torch import nn

n = 16
c = 64
h = 64
sizes = {"small": {"n": 2, "c": 8, "h": 6}, "odd": {"n": 1, "c": 12, "h": 5}}


class Model(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(4, channels).half()

    def forward(self, x):
        return torch.nn.functional.silu(self.norm(x))


def get_inputs():
    return [torch.randn(n, c, h, h).half()]


def get_init_inputs():
    return [c]
