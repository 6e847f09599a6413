"""Rotary embedding of bfloat16 heads: the halves of each head are turned against each other."""

import torch
from torch import nn

steps = 4096
heads = 32
pairs = 64
sizes = {"small": {"steps": 7, "heads": 3, "pairs": 10}, "odd": {"steps": 5, "heads": 2, "pairs": 3}}


class Model(nn.Module):
    def forward(self, x, angles):
        half = x.shape[-1] // 2
        left, right = x[..., :half].float(), x[..., half:].float()
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([left * cos - right * sin, right * cos + left * sin], -1).to(x.dtype)


def get_inputs():
    return [torch.randn(steps, heads, 2 * pairs).bfloat16(), torch.rand(steps, pairs) * 6]


def get_init_inputs():
    return []
