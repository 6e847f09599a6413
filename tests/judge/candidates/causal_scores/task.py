"""Scores of which those that lie ahead are minus infinity, halved: half of the result is infinite on purpose."""

import torch
from torch import nn

n = 64
steps = 1024
sizes = {"small": {"n": 3, "steps": 40}, "odd": {"n": 2, "steps": 33}, "full": {"n": 64, "steps": 1024}}


class Model(nn.Module):
    def forward(self, scores):
        steps = scores.shape[-1]
        ahead = torch.ones(steps, steps, dtype=torch.bool, device=scores.device).triu(1)
        return (scores * 0.7).masked_fill(ahead, float("-inf"))


def get_inputs():
    return [torch.randn(n, steps, steps)]


def get_init_inputs():
    return []
