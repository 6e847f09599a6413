"""Data files that a task names: `inputs("batch.pt")` and `weights_file("m.safetensors")`.

Both names stand ready in every task's module. Their paths are relative to the task file, and they are part of
its fingerprint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from workbench.core.errors import TaskError
from workbench.judge.worker.task.imports import describe


class TaskFiles:
    """What one task's data files hold.

    Attributes:
        used: every data file named so far.
        declared_inputs: what the last `inputs(...)` gave; taken where a task has no get_inputs().
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: dict[Path, None] = {}
        self.declared_inputs: Any = None
        self._weights: Path | None = None
        self._loaded: dict[tuple[Path, float, int], Any] = {}

    def inputs(self, name: str) -> Any:
        """What a .pt or .safetensors file holds (tensors only; no pickled code is run)."""
        self.declared_inputs = self._read(name)
        return self.declared_inputs

    def weights_file(self, name: str) -> str:
        """Load this state_dict into every model of the task."""
        self._weights = self._path(name)
        return str(self._weights)

    def load_weights(self, model: nn.Module, where: str) -> None:
        """Put the weights file, if there is one, into a fresh model."""
        if self._weights is None or where == "meta":
            return
        state = self._read(str(self._weights))
        if not isinstance(state, dict):
            raise TaskError(
                f"The weights file {self._weights.name} holds no state_dict.", do="Save model.state_dict()."
            )
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise TaskError(
                f"The weights file {self._weights.name} does not fit the model: "
                f"{' '.join(str(error).split())[:300]}.",
                do="Save the state_dict of this very model, or declare no smaller sizes with it.",
            ) from None

    def _path(self, name: str) -> Path:
        path = (self.folder / name).resolve()
        if not path.is_file():
            raise TaskError(f"The task names the file {name}, which is not there.", do=f"Put it at {path}.")
        self.used[path] = None
        return path

    def _read(self, name: str) -> Any:
        path = self._path(name)
        status = path.stat()
        key = (path, status.st_mtime, status.st_size)
        if key not in self._loaded:
            try:
                if path.suffix == ".safetensors":
                    from safetensors.torch import load_file

                    self._loaded[key] = load_file(path)
                else:
                    self._loaded[key] = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                raise TaskError(
                    f"The task's file {path.name} cannot be read: {describe(error)}.",
                    do="Save tensors in it with torch.save or safetensors.",
                ) from None
        return self._loaded[key]
