"""The four largest elements of each row and where they stand."""

import torch
from torch import nn

rows = 4096
cols = 1024
k = 4
sizes = {"small": {"rows": 9, "cols": 70}, "odd": {"rows": 4, "cols": 33}}


class Model(nn.Module):
    def forward(self, x):
        return torch.topk(x, k)


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return []
