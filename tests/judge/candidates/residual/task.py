"""Hands its input on as it is, beside what is computed from it: the first output is the very tensor that went in."""

import torch
from torch import nn

n = 1 << 22
sizes = {"small": {"n": 900}, "odd": {"n": 131}}


class Model(nn.Module):
    def forward(self, x):
        return x, torch.nn.functional.silu(x)


def get_inputs():
    return [torch.randn(n)]


def get_init_inputs():
    return []
