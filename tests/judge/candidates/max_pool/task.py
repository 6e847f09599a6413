"""Max pooling with the position of each maximum: two outputs, one of them an index."""

import torch
from torch import nn

n = 64
c = 64
h = 112
w = 112
sizes = {"small": {"n": 2, "c": 3, "h": 9, "w": 12}, "odd": {"n": 1, "c": 2, "h": 14, "w": 7}}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, return_indices=True)

    def forward(self, x):
        return self.pool(x)


def get_inputs():
    return [torch.randn(n, c, h, w)]


def get_init_inputs():
    return []
