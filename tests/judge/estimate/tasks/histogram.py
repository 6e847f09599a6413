"""How often each of 64 values occurs."""

import torch
from torch import nn

n = 1 << 26

sizes = {"small": {"n": 1 << 14}, "full": {"n": 1 << 26}}


class Model(nn.Module):
    def forward(self, x):
        return x.new_zeros(64).scatter_add(0, x.long(), torch.ones_like(x))


def get_inputs():
    return [torch.randint(0, 64, (n,), dtype=torch.int32)]


def get_init_inputs():
    return []
