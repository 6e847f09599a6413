"""Batch normalisation in train mode: the running statistics change with each call."""

import torch
from torch import nn

rows = 512
features = 64
sizes = {"small": {"rows": 40, "features": 12}, "odd": {"rows": 33, "features": 7}}


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        return self.norm(x)


def get_inputs():
    return [torch.randn(rows, features)]


def get_init_inputs():
    return [features]
