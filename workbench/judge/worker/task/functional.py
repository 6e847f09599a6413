"""Stage 1: the module as a function with explicit parameters, written as readable Python.

torch.export gives the graph; `spelling` writes each step as a person would, where that is the same operation. The
text is then executed and compared with the module on drawn inputs, so what is shown is what was run.
"""

from __future__ import annotations

import keyword
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from workbench.core.errors import TaskError
from workbench.core.task import FunctionalForm
from workbench.judge.worker.task.imports import describe
from workbench.judge.worker.task.reference import Reference, Values
from workbench.judge.worker.task.signature import identifier, output_leaves, spec_of
from workbench.judge.worker.task.spelling import Step, plain, spelled, value_text

_HEADER = "import torch\nimport torch.nn.functional as F\n\n\n"
_MAX_LITERAL = 64
"""Elements of a constant tensor that may stand in the text."""


class NotWritable(Exception):
    """The graph has something that no plain function can say; the text is the note."""


def functional_form(
    reference: Reference, name: str, draws: Callable[[], list[Values]], size: str
) -> FunctionalForm:
    """The functional form at the reference's size.

    Args:
        name: of the task; the function is called so.
        draws: values to validate on, by path.
        size: the size's name, for the heading.
    """
    try:
        program = _export(reference)
    except Exception as error:
        return FunctionalForm(None, False, f"torch.export does not take this module ({describe(error)}).")
    samples = draws()
    why = ""
    for spell in (spelled, plain):
        try:
            source, parameters = _write(program, reference, name, size, spell)
        except NotWritable as error:
            return FunctionalForm(
                None, False, f"The exported graph cannot be written as a function: {error}."
            )
        why = _disagreement(source, parameters, reference, samples, identifier(name.lower()))
        if not why:
            note = f"Validated against the module on {len(samples)} draws at size {size}."
            return FunctionalForm(source, True, note)
    return FunctionalForm(source, False, f"Not validated: {why}.")


class _Flat(nn.Module):
    """The module with flat tensors in and out, so that any pytree can be exported."""

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self.model = reference.untouched
        self._inputs = reference.instance.inputs
        self._rebuild = reference.instance.rebuild
        self.train(self.model.training)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given: Iterator[torch.Tensor] = iter(tensors)
        leaves = [
            next(given) if isinstance(leaf.value, torch.Tensor) else leaf.value for leaf in self._inputs
        ]
        args, kwargs = self._rebuild(iter(leaves))
        found = output_leaves(self.model(*args, **kwargs))
        return tuple(leaf.value for leaf in found if isinstance(leaf.value, torch.Tensor))


def _export(reference: Reference) -> Any:
    from torch.export import export

    values = reference.values()
    tensors = tuple(t for p, t in values.items() if p.startswith("input:") and isinstance(t, torch.Tensor))
    with reference.instance.program.running(call=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about attributes of its own layers (LSTM)
        return export(_Flat(reference), tuple(t.clone() for t in tensors), strict=False)


def _write(
    program: Any, reference: Reference, name: str, size: str, spell: Callable[[Step], str]
) -> tuple[str, list[tuple[str, str]]]:
    """The text, and (name, path) of each of its parameters in order."""
    writer = _Writer(program, reference, spell)
    writer.walk(program.graph_module)
    head = ", ".join(n for n, _ in writer.parameters)
    lines = [f'    """{name} at size {size}, with explicit parameters; shapes are those of this size."""']
    values = reference.values()
    for parameter, path in writer.parameters:
        value = values[path]
        if isinstance(value, torch.Tensor):
            lines.append(f"    # {parameter}: {spec_of(value)}")
    body = "\n".join([*lines, *(f"    {line}" for line in writer.lines)])
    return f"{_HEADER}def {identifier(name.lower())}({head}):\n{body}\n", writer.parameters


class _Writer:
    """Writes one graph, inner graphs of context managers inlined."""

    def __init__(self, program: Any, reference: Reference, spell: Callable[[Step], str]) -> None:
        self._spell = spell
        self._names: dict[Any, str] = {}
        self._taken: set[str] = {"torch", "F"}
        self.lines: list[str] = []
        self.parameters: list[tuple[str, str]] = []
        self._program = program
        self._paths = {s.key: s.path for s in reference.state}
        self._inputs = [leaf.key for leaf in reference.instance.tensors()]
        self._constants: list[str] = []

    def walk(self, module: Any, arguments: list[str] | None = None) -> list[str]:
        """Write a graph module's nodes; its results as texts (the outermost one gets a `return`)."""
        if arguments is None:
            self._outer_placeholders(module)
        inner = iter(arguments or [])
        results: list[str] = []
        for node in module.graph.nodes:
            if node.op == "placeholder":
                if arguments is not None:
                    self._names[node] = next(inner)
            elif node.op == "get_attr":
                self._names[node] = f"<{node.target}>"
            elif node.op == "call_function":
                self._call(node, module)
            elif node.op == "output":
                results = [self._text(value) for value in node.args[0]]
                if arguments is None:
                    count = len([s for s in self._program.graph_signature.output_specs])
                    keep = [
                        text
                        for text, spec in zip(
                            results, self._program.graph_signature.output_specs, strict=True
                        )
                        if spec.kind.name == "USER_OUTPUT"
                    ]
                    self.lines.append(f"return {', '.join(keep) if count else 'None'}")
            else:
                raise NotWritable(f"it calls {node.op}")
        self.lines = [*self._constants, *self.lines] if arguments is None else self.lines
        return results

    def _outer_placeholders(self, module: Any) -> None:
        specs = {s.arg.name: s for s in self._program.graph_signature.input_specs}
        keys = iter(self._inputs)
        state: list[tuple[str, str]] = []
        for node in module.graph.nodes:
            if node.op != "placeholder":
                continue
            spec = specs[node.name]
            if spec.kind.name == "USER_INPUT":
                key = next(keys)
                name = self._fresh(identifier(key))
                self.parameters.append((name, f"input:{key}"))
            else:
                key = (spec.target or "").removeprefix("model.")
                if key in self._paths:
                    name = self._fresh(identifier(key))
                    state.append((name, self._paths[key]))
                else:
                    name = self._constant(node, spec.target)
            self._names[node] = name
        self.parameters += state

    def _constant(self, node: Any, target: str | None) -> str:
        tensor = self._program.constants.get(target)
        if not isinstance(tensor, torch.Tensor) or tensor.numel() > _MAX_LITERAL:
            raise NotWritable("it holds a large constant tensor")
        name = self._fresh(node.name)
        self._constants.append(f"{name} = torch.tensor({tensor.tolist()!r}, dtype={tensor.dtype})")
        return name

    def _call(self, node: Any, module: Any) -> None:
        target = node.target
        if target is operator.getitem:
            source, index = node.args
            self._assign(node, f"{self._text(source)}[{index}]")
            return
        name = getattr(target, "__name__", str(target))
        if isinstance(target, torch._ops.HigherOrderOperator):
            self._inline(node, module)
            return
        if not isinstance(target, torch._ops.OpOverload):
            raise NotWritable(f"it calls {name}")
        if target._schema.name in ("aten::_assert_tensor_metadata", "aten::_assert_scalar"):
            return
        args = [self._text(a) for a in node.args]
        kwargs = {k: self._text(v) for k, v in node.kwargs.items()}
        self._assign(node, self._spell(Step(target, args, kwargs, node.args)))

    def _inline(self, node: Any, module: Any) -> None:
        """`with torch.no_grad():` and autocast that is off: what they hold, in place."""
        name = node.target.__name__ if hasattr(node.target, "__name__") else str(node.target)
        graphs = [a for a in node.args if getattr(a, "op", "") == "get_attr"]
        if len(graphs) != 1 or not name.startswith(("wrap_with_set_grad", "wrap_with_autocast")):
            raise NotWritable(f"it holds {name}")
        if name.startswith("wrap_with_autocast") and not any(a is False for a in node.args):
            raise NotWritable("it runs under autocast")
        place = list(node.args).index(graphs[0])
        inner = getattr(module, str(graphs[0].target))
        results = self.walk(inner, [self._text(a) for a in node.args[place + 1 :]])
        self._names[node] = f"({', '.join(results)},)"

    def _assign(self, node: Any, text: str) -> None:
        if not node.users and not _writes(node):
            return
        name = self._names[node] = self._fresh(node.name)
        shape = node.meta.get("val")
        comment = f"  # {spec_of(shape)}" if isinstance(shape, torch.Tensor) else ""
        self.lines.append(f"{name} = {text}{comment}")

    def _fresh(self, name: str) -> str:
        wanted = name if not keyword.iskeyword(name) else f"{name}_"
        number = 1
        while wanted in self._taken:
            wanted = f"{name}_{number}"
            number += 1
        self._taken.add(wanted)
        return wanted

    def _text(self, value: Any) -> str:
        return value_text(value, self._names)


def _writes(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _disagreement(
    source: str, parameters: list[tuple[str, str]], reference: Reference, samples: list[Values], name: str
) -> str:
    """Why the text does not compute what the module computes, or ""."""
    namespace: dict[str, Any] = {}
    try:
        exec(compile(source, "<functional form>", "exec"), namespace)
        for values in samples:
            expected = reference.eager(values).outputs
            given = [_copied(values[path]) for _, path in parameters]
            with reference.instance.program.running(call=True):
                result = namespace[name](*given)
            found = result if isinstance(result, tuple) else (result,)
            if len(found) != len(expected):
                return f"it gives {len(found)} outputs, the module {len(expected)}"
            for number, (a, b) in enumerate(zip(found, expected, strict=True)):
                if a.shape != b.shape or a.dtype != b.dtype:
                    return f"output {number} has another shape or dtype than the module's"
                if not torch.allclose(
                    a.to(torch.complex128), b.to(torch.complex128), 1e-4, 1e-6, equal_nan=True
                ):
                    return f"output {number} differs from the module's"
    except TaskError as error:
        return error.what
    except Exception as error:
        return f"it raises {describe(error)}"
    return ""


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
