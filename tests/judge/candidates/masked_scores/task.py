"""Scaled scores, the padding at the end masked as most models do it: filled in, or added."""

import torch
from torch import nn

rows, cols, padding = 4096, 4096, 256
sizes = {
    "small": {"rows": 24, "cols": 128, "padding": 8},
    "odd": {"rows": 7, "cols": 45, "padding": 5},
}


class Model(nn.Module):
    def __init__(self, cols, padding):
        super().__init__()
        self.register_buffer("pad", torch.arange(cols) >= cols - padding)

    def forward(self, x):
        scores = x * 0.125
        return scores.masked_fill(self.pad, -1e9), scores + self.pad * -1e4


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return [cols, padding]
