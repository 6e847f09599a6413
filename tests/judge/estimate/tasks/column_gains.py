"""Each column times a gain that takes some arithmetic to compute."""

import torch
from torch import nn

rows = 16384
cols = 4096

sizes = {"small": {"rows": 128, "cols": 128}, "full": {"rows": 16384, "cols": 4096}}


class Model(nn.Module):
    def forward(self, x, w):
        base = w * w + 1
        return x * (base**1.3 * (base + 1) ** -0.7)


def get_inputs():
    return [torch.randn(rows, cols), torch.randn(cols)]


def get_init_inputs():
    return []
