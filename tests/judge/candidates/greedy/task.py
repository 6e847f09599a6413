"""Greedy decoding: of the tokens that are allowed, the likeliest; chosen among all, from what is computed inside."""

import torch
from torch import nn

hidden, vocabulary = 512, 4096
sizes = {
    "small": {"hidden": 32, "vocabulary": 64},
    "odd": {"hidden": 17, "vocabulary": 45},
}


class Model(nn.Module):
    def __init__(self, hidden, vocabulary):
        super().__init__()
        self.head = nn.Linear(hidden, vocabulary, bias=False)
        self.register_buffer("banned", (torch.arange(vocabulary) % 3 == 1).float())

    def forward(self, x):
        return self.head(x).masked_fill(self.banned > 0, -torch.inf).argmax()


def get_inputs():
    return [torch.randn(1, hidden)]


def get_init_inputs():
    return [hidden, vocabulary]
