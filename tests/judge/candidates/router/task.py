"""A router of experts: the two likeliest for each token and how likely they are, chosen from what is computed inside."""

import torch
from torch import nn

tokens, hidden, experts, k = 8192, 2048, 64, 2
sizes = {
    "small": {"tokens": 48, "hidden": 96, "experts": 24},
    "odd": {"tokens": 7, "hidden": 33, "experts": 9},
}


class Model(nn.Module):
    def __init__(self, hidden, experts, k):
        super().__init__()
        self.gate = nn.Linear(hidden, experts, bias=False)
        self.k = k

    def forward(self, x):
        return torch.topk(torch.softmax(self.gate(x), dim=-1), self.k, dim=-1)


def get_inputs():
    return [torch.randn(tokens, hidden)]


def get_init_inputs():
    return [hidden, experts, k]
