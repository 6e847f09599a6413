import torch
import torch.nn as nn

sizes = {
    "small": {"rows": 24, "cols": 96},
    "full": {"rows": 65536, "cols": 8192},
    "decode": {"rows": 1, "cols": 8192},
}
weights = {"full": 3.0, "decode": 1.0}
tolerance = 1e-3
own_kernels_only = True


class Model(nn.Module):
    def forward(self, x):
        return torch.nn.functional.layer_norm(x, x.shape[-1:])


def get_inputs(rows=65536, cols=8192):
    return [torch.randn(rows, cols)]
