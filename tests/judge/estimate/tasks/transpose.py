"""A matrix transposed: nothing but where reads and writes land."""

import torch
from torch import nn

rows = 8192
cols = 8192

sizes = {"small": {"rows": 128, "cols": 96}, "full": {"rows": 8192, "cols": 8192}}


class Model(nn.Module):
    def forward(self, x):
        return x.t().contiguous()


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return []
