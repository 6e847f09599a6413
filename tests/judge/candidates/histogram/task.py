"""How often each of a few classes comes: an integer task, of which there are no hard cases."""

import torch
from torch import nn

n = 1 << 22
bins = 37
sizes = {"small": {"n": 1000}, "odd": {"n": 333}}


class Model(nn.Module):
    def forward(self, labels):
        return torch.zeros(bins, dtype=torch.int64, device=labels.device).index_add_(
            0, labels, torch.ones_like(labels)
        )


def get_inputs():
    return [torch.randint(0, bins, (n,))]


def get_init_inputs():
    return []
