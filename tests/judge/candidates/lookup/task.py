"""Rows of a large table by token: the first and the last token are as good as any."""

import torch
from torch import nn

n = 8192
vocabulary = 50257
sizes = {"small": {"n": 64}, "odd": {"n": 33}, "full": {"n": 8192}}


class Model(nn.Module):
    def forward(self, tokens, table):
        return table[tokens] * 2


def get_inputs():
    return [torch.randint(0, vocabulary, (n,)), torch.randn(vocabulary, 8)]


def get_init_inputs():
    return []
