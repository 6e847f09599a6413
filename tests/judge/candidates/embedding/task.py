"""Rows of a table by int64 index, scaled, in bfloat16."""

import torch
from torch import nn

vocabulary = 32000
dim = 1024
n = 8192
sizes = {"small": {"vocabulary": 50, "dim": 24, "n": 70}, "odd": {"vocabulary": 41, "dim": 17, "n": 33}}


class Model(nn.Module):
    def __init__(self, vocabulary, dim):
        super().__init__()
        self.table = nn.Parameter(torch.randn(vocabulary, dim).bfloat16())

    def forward(self, tokens):
        return torch.nn.functional.embedding(tokens, self.table) * 4


def get_inputs():
    return [torch.randint(0, vocabulary, (n,))]


def get_init_inputs():
    return [vocabulary, dim]
