"""Where the largest element so far stands in each row: the same place again and again, the last of equals for torch."""

import torch
from torch import nn

rows, cols = 1024, 4096
sizes = {"small": {"rows": 16, "cols": 64}, "odd": {"rows": 5, "cols": 37}}


class Model(nn.Module):
    def forward(self, x):
        return torch.cummax(x, -1).indices


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return []
