"""The direction of each row, of which the sign is anybody's choice, as an eigenvector's is; the task checks it itself."""

import torch
from torch import nn

rows, cols = 4096, 1024
sizes = {"small": {"rows": 24, "cols": 96}, "odd": {"rows": 7, "cols": 33}}


class Model(nn.Module):
    def forward(self, x):
        return x / x.norm(dim=-1, keepdim=True)


def get_inputs():
    return [torch.randn(rows, cols)]


def get_init_inputs():
    return []


def check(expected, actual):
    along = (expected * actual).sum(-1, keepdim=True)
    turned = torch.where(along < 0, -actual, actual)
    assert torch.allclose(expected, turned, rtol=1e-3, atol=1e-5, equal_nan=True), "another direction"
