"""A transposed copy in half precision; the small size is square, the others are not."""

import torch
from torch import nn

rows = 4096
cols = 4096
sizes = {"small": {"rows": 40, "cols": 40}, "odd": {"rows": 17, "cols": 45}}


class Model(nn.Module):
    def forward(self, x):
        return x.t().contiguous() * 2


def get_inputs():
    return [torch.randn(rows, cols).half()]


def get_init_inputs():
    return []
