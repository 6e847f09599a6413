"""Shapes of LSTM, GRU and RNN layers on the meta device.

torch unrolls them in Python there, step by step: 20 s for 512 steps of six layers. Their shapes and their matrix
products are known without that.
"""

from __future__ import annotations

from typing import Any

import torch

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def is_recurrent(function: Any, args: tuple[Any, ...]) -> bool:
    """Whether this is a call of a whole recurrent layer on a padded batch (not on a packed sequence)."""
    return (
        getattr(function, "__name__", "") in _GATES and len(args) == 9 and isinstance(args[2], list | tuple)
    )


def recurrent(function: Any, args: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
    """What the layer returns, as tensors without data; its products are done so that they are counted."""
    x, state, weights, _, layers, _, _, bidirectional, _ = args
    hidden = state[0] if isinstance(state, list | tuple) else state
    directions = 2 if bidirectional else 1
    steps = x.numel() // max(x.shape[-1], 1)
    recurrent_width = hidden.shape[-1]
    layer_in = x.reshape(steps, x.shape[-1])
    per_cell = len(weights) // (layers * directions)
    for layer in range(layers):
        for direction in range(directions):
            first = (layer * directions + direction) * per_cell
            torch.mm(layer_in, weights[first].t())
            torch.mm(x.new_empty(steps, recurrent_width), weights[first + 1].t())
            if per_cell in (3, 5):  # a projection
                inner = weights[first + 1].shape[0] // _GATES[function.__name__]
                torch.mm(x.new_empty(steps, inner), weights[first + per_cell - 1].t())
        layer_in = x.new_empty(steps, recurrent_width * directions)
    out = x.new_empty(*x.shape[:-1], recurrent_width * directions)
    if function.__name__ == "lstm":
        return out, torch.empty_like(state[0]), torch.empty_like(state[1])
    return out, torch.empty_like(hidden)
