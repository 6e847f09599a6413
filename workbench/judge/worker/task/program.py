"""One task at one size: the module executed, the model made, its inputs drawn, and a way to call it."""

from __future__ import annotations

import contextlib
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from workbench.core.errors import TaskError
from workbench.judge.worker.task import signature
from workbench.judge.worker.task.files import TaskFiles
from workbench.judge.worker.task.imports import TaskFile, describe, line_of
from workbench.judge.worker.task.limits import TooLarge
from workbench.judge.worker.task.literals import argument_defaults, arguments_of, bound_names, literals
from workbench.judge.worker.task.redirect import Redirect, redirected, wants_cuda
from workbench.judge.worker.task.signature import Leaf

Where = Literal["cpu", "meta"]
MODEL_SEED = 0
"""Parameters are the same in every process that loads a task: a verdict must be reproducible."""


RUNNING = threading.RLock()
"""Held while a task's own code runs: modules keep their state in place, and redirection patches torch."""


class Program:
    """A task file and how it is run, whatever the size."""

    def __init__(self, file: TaskFile, *, device: str = "cpu") -> None:
        self.file = file
        self.device = device
        self.files = TaskFiles(file.file.parent)
        self.training = True
        self.autocast: torch.dtype | None = None
        self.mentions_cuda = "cuda" in file.source
        self._sources_read = 0
        self.redirected = False
        """Something asked for CUDA and ran on the CPU."""
        self.defaults: dict[str, int] = {}
        """The integers that the module's globals hold as it stands."""

    def literal_values(self) -> dict[str, int]:
        """The integers of the text as they stand (`literals`)."""
        return {literal.label: literal.value for literal in literals(self.file.tree)}

    def default_of(self, name: str) -> int | None:
        """What a size's key is where no size sets it."""
        return self.defaults.get(name, argument_defaults(self.file.tree, "get_inputs").get(name))

    @contextlib.contextmanager
    def running(self, where: Where = "cpu", *, call: bool = False, gradients: bool = False) -> Iterator[None]:
        """What the task's own code runs in; `call`: the forward pass, under autocast where the task has it; `gradients`:
        recorded by autograd."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(RUNNING)
            stack.enter_context(torch.enable_grad() if gradients else torch.no_grad())
            if where == "meta" or (self.device == "cpu" and self.mentions_cuda):
                mode = Redirect(where)
                stack.callback(lambda: setattr(self, "redirected", self.redirected or mode.used))
                stack.enter_context(redirected(mode))
            if call and self.autocast is not None and where == "cpu":
                stack.enter_context(torch.autocast("cpu", dtype=self.autocast))
            yield

    def module(self, values: Mapping[str, int], where: Where = "cpu") -> types.ModuleType:
        """The task's module with the size's globals in place.

        Raises:
            TaskError: it raises, wants CUDA, or the size overrides a name that it lacks.
        """
        provided = {"inputs": self.files.inputs, "weights_file": self.files.weights_file}
        globals_only = {k: v for k, v in values.items() if k not in self._only_arguments(values)}
        try:
            with self.running(where):
                module = self.file.execute(globals_only, provided)
        except TaskError as error:
            raise self._cuda_or(error.__cause__ or error.__context__ or error, error) from None
        sources = self.file.sources()
        if not self.mentions_cuda and len(sources) != self._sources_read:
            self._sources_read = len(sources)
            self.mentions_cuda = any("cuda" in _text(s) for s in sources)
        return module

    def _only_arguments(self, values: Mapping[str, int]) -> set[str]:
        """Keys of a size that get_inputs() takes and that the module does not bind."""
        taken = arguments_of(self.file.tree, "get_inputs")
        return {k for k in values if k in taken and k not in bound_names(self.file.tree)}

    def instantiate(
        self, values: Mapping[str, int], where: Where = "cpu", module: types.ModuleType | None = None
    ) -> Instance:
        """Make the model and draw inputs once.

        Raises:
            TaskError: the task lacks `Model` or `get_inputs`, or one of them raises.
        """
        return Instance(self, dict(values), where, module or self.module(values, where))

    def failure(self, what: str, error: BaseException, do: str = "Correct the task.") -> TaskError:
        """`what` raised: one sentence, with the task's own line."""
        if isinstance(error, TaskError):
            return error
        if isinstance(error, KeyboardInterrupt | TooLarge):
            raise error
        place = line_of(error, self.file.file)
        return self._cuda_or(
            error, TaskError(f"{what} of {self.file.file.name} raises {describe(error)}{place}.", do=do)
        )

    def _cuda_or(self, error: BaseException, otherwise: TaskError) -> TaskError:
        if self.device != "cpu" or not (wants_cuda(error) or wants_cuda(RuntimeError(otherwise.what))):
            return otherwise
        return TaskError(
            f"The task {self.file.file.name} wants CUDA and cannot be redirected to the CPU: {describe(error)}"
            f"{line_of(error, self.file.file)}.",
            do="Load it on a machine with a GPU (--target cuda), or let it take its device from its inputs.",
        )


class Instance:
    """The task at one size. With `where` "meta" nothing is allocated and only shapes are true."""

    def __init__(
        self, program: Program, values: dict[str, int], where: Where, module: types.ModuleType
    ) -> None:
        self.program = program
        self.values = values
        self.where = where
        self.module = module
        self.model = self._make_model()
        self.args, self.kwargs = self.get_inputs(0)
        self.inputs, self.rebuild = signature.bind_inputs(self.model.forward, self.args, self.kwargs)

    def _make_model(self) -> nn.Module:
        program, file = self.program, self.program.file
        cls = getattr(self.module, file.class_name, None)
        if cls is None:
            others = [
                n
                for n, v in vars(self.module).items()
                if isinstance(v, type) and issubclass(v, nn.Module) and v.__module__ == self.module.__name__
            ]
            hint = f"Name the class: {file.file}:{others[0]}." if others else "Define it as KernelBench does."
            raise TaskError(f"The task {file.file.name} has no class `{file.class_name}`.", do=hint)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            raise TaskError(
                f"`{file.class_name}` of {file.file.name} is not a torch.nn.Module.",
                do="Derive it from nn.Module.",
            )
        args, kwargs = self._init_inputs()
        try:
            with program.running(self.where):
                torch.manual_seed(
                    MODEL_SEED
                )  # under the lock: no other thread draws between this and the model
                model = cls(*args, **kwargs)
                program.files.load_weights(model, self.where)
        except BaseException as error:
            raise program.failure(f"The constructor `{file.class_name}(...)`", error) from None
        self.frozen = {k for k, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
        """Keys of the parameters for which the task itself wants no gradient."""
        model.requires_grad_(False)
        return model.train(program.training)

    def _init_inputs(self) -> tuple[list[Any], dict[str, Any]]:
        function = getattr(self.module, "get_init_inputs", None)
        if function is None:
            return [], {}
        result = self._drawn(function, "get_init_inputs()")
        if isinstance(result, dict):
            return [], result
        items = list(result) if isinstance(result, list | tuple) else [result]
        if len(items) == 2 and isinstance(items[0], list | tuple) and isinstance(items[1], dict):
            # KernelBench's other form, [args, kwargs]; only where the constructor would not take them as they are.
            takes = signature.binds(getattr(self.module, self.program.file.class_name, None), items)
            if not takes or not items[0]:
                return list(items[0]), items[1]
        return items, {}

    def get_inputs(self, seed: int) -> tuple[list[Any], dict[str, Any]]:
        """Draw inputs: positional arguments and keyword arguments of forward.

        Raises:
            TaskError: there is no get_inputs, or it raises, or gives nothing that can be passed on.
        """
        function = getattr(self.module, "get_inputs", None)
        name = self.program.file.file.name
        if function is None:
            if self.program.files.declared_inputs is None:
                raise TaskError(
                    f"The task {name} has no get_inputs().",
                    do="Define it to return the list of forward's inputs.",
                )
            result = self.program.files.declared_inputs
        else:
            result = self._drawn(function, "get_inputs()", seed)
        if isinstance(result, torch.Tensor):
            return [result], {}
        if isinstance(result, dict):
            return [], result
        if isinstance(result, list | tuple):
            return list(result), {}
        raise TaskError(
            f"get_inputs() of {name} returns {type(result).__name__}.",
            do="Return a list of forward's inputs.",
        )

    def _drawn(self, function: Callable, what: str, seed: int | None = None) -> Any:
        taken = signature.accepts(function)
        try:
            with self.program.running(self.where):
                if seed is not None:
                    torch.manual_seed(seed)  # under the lock, as for the model
                return function(**{k: v for k, v in self.values.items() if k in taken})
        except BaseException as error:
            raise self.program.failure(what, error) from None

    def call(self, model: nn.Module, leaves: Iterator[Any], *, gradients: bool = False) -> Any:
        """`forward` on new leaves in the inputs' places, tensors as they are (the caller copies).

        Raises:
            whatever the module raises.
        """
        args, kwargs = self.rebuild(leaves)
        with self.program.running(self.where, call=True, gradients=gradients):
            return model(*args, **kwargs)

    def run(self) -> Any:
        """`forward` on the first draw, as it is.

        Raises:
            TaskError: it raises.
        """
        try:
            return self.call(self.model, iter([leaf.value for leaf in self.inputs]))
        except BaseException as error:
            raise self.program.failure(f"`{self.program.file.class_name}.forward`", error) from None

    def tensors(self) -> list[Leaf]:
        return [leaf for leaf in self.inputs if isinstance(leaf.value, torch.Tensor)]

    def release(self) -> None:
        """Forget the module of a size that was only tried."""
        self.program.file.release(self.module)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
