"""A product with a bias and a ReLU."""

import torch
from torch import nn

n = 512
sizes = {"small": {"n": 24}, "odd": {"n": 19}}


class Model(nn.Module):
    def forward(self, a, b, bias):
        return torch.relu(a @ b + bias)


def get_inputs():
    return [torch.randn(n, n), torch.randn(n, n), torch.randn(n)]


def get_init_inputs():
    return []
