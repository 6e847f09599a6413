import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.table = nn.Embedding(vocab, dim, padding_idx=0)

    def forward(self, ids, lengths):
        mask = torch.arange(ids.shape[1], device=ids.device)[None, :] < lengths[:, None]
        return (self.table(ids) * mask[..., None]).sum(1) / lengths[:, None]


vocab = 50000
dim = 512
batch_size = 256
seq = 1024


def get_inputs():
    return [torch.randint(0, vocab, (batch_size, seq)), torch.randint(1, seq + 1, (batch_size,))]


def get_init_inputs():
    return [vocab, dim]
