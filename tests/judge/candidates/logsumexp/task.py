"""The logarithm of the sum of exponentials of bfloat16 rows, in float."""

import torch
from torch import nn

rows = 4096
cols = 32000
sizes = {"small": {"rows": 12, "cols": 512}, "odd": {"rows": 3, "cols": 301}}


class Model(nn.Module):
    def forward(self, x):
        return torch.logsumexp(x.float(), -1)


def get_inputs():
    return [torch.randn(rows, cols).bfloat16()]


def get_init_inputs():
    return []
