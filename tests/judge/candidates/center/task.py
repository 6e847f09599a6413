"""Subtracts the mean of all elements: every block needs what all the others found."""

import torch
from torch import nn

n = 1 << 22
sizes = {"small": {"n": 900}, "odd": {"n": 130}}


class Model(nn.Module):
    def forward(self, x):
        return x - x.mean()


def get_inputs():
    return [torch.randn(n)]


def get_init_inputs():
    return []
