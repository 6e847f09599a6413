"""Noise mixed in by a mask: where it is one, nothing of x stays, and the least more than one has no root."""

import torch
from torch import nn

rows, cols = 4096, 4096
sizes = {"small": {"rows": 24, "cols": 64}, "odd": {"rows": 7, "cols": 33}}


class Model(nn.Module):
    def forward(self, x, mask):
        left = 1 - mask
        return x * left * torch.sqrt(left)


def get_inputs():
    return [torch.randn(rows, cols), (torch.rand(rows, cols) < 0.5).float()]


def get_init_inputs():
    return []
