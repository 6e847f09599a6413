"""The words of a plan: what stands in its namespace while it is evaluated.

Runs in the sandboxed process next to hostile code. Nothing here is a defence: a plan that reaches behind these
objects is still in a process that can do nothing, and its answer is checked again outside.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn

from workbench.core.plan import Argument, PointersArg, ScalarArg, TensorArg
from workbench.core.task import Parameter
from workbench.core.tensors import ITEMSIZE
from workbench.dialect import signature
from workbench.dialect.builder import PlanBuilder
from workbench.dialect.dtypes import ALIASES, DType, canonical
from workbench.dialect.ops import normal_name
from workbench.dialect.values import PlanError

PLAN_FILE = "<plan>"
"""The name under which a plan is compiled; frames of it are the candidate's own lines."""


class NotCoveredError(Exception):
    """`require` excluded this size."""


def line() -> int:
    """The line of the plan that called, in the candidate's own file; 0 outside of a plan."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != PLAN_FILE:
        frame = frame.f_back
    return frame.f_lineno if frame is not None else 0


class Tensor:
    """A tensor in a plan: its shape, dtype and strides; never data."""

    __slots__ = ("_builder", "_number")

    def __init__(self, builder: PlanBuilder, number: int) -> None:
        self._builder = builder
        self._number = number

    @property
    def shape(self) -> tuple[int, ...]:
        return self._builder.spec(self._number).shape

    @property
    def dtype(self) -> DType:
        return DType(self._builder.spec(self._number).dtype)

    @property
    def strides(self) -> tuple[int, ...]:
        return self._builder.spec(self._number).strides

    @property
    def numel(self) -> int:
        return self._builder.spec(self._number).numel

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return self._builder.spec(self._number).nbytes

    @property
    def is_contiguous(self) -> bool:
        return self._builder.spec(self._number).is_contiguous

    def __repr__(self) -> str:
        return str(self._builder.spec(self._number))

    def __getattr__(self, name: str) -> NoReturn:
        known = "shape, dtype, strides, numel, ndim, nbytes, is_contiguous"
        fixes = {
            "size": "t.shape (t.shape[0] for one extent)",
            "stride": "t.strides",
            "dim": "t.ndim",
            "device": "nothing: everything is on the one device",
            "element_size": "t.dtype.itemsize",
            "view": "view(t, shape)",
            "reshape": "view(t, shape)",
            "T": "t.strides in the kernel",
            "data_ptr": "the tensor itself as an argument of launch",
        }
        hint = f" Use {fixes[name]}." if name in fixes else f" It has {known}."
        raise PlanError(f"A plan's tensor has no {name}.{hint}")

    def _no_data(self, *_: object) -> NoReturn:
        raise PlanError("A plan names tensors and sees no data: compute on them in a kernel (launch).")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _no_data
    __matmul__ = __rmatmul__ = __pow__ = __neg__ = __bool__ = __float__ = __int__ = __index__ = _no_data
    __lt__ = __le__ = __gt__ = __ge__ = __floordiv__ = __mod__ = _no_data

    def __getitem__(self, _: object) -> NoReturn:
        raise PlanError(
            "A plan's tensor cannot be indexed; t.shape[i] is an extent, offsets belong in the kernel."
        )

    def __len__(self) -> NoReturn:
        raise PlanError("A plan's tensor has no len(); use t.shape[0] or t.numel.")

    def __iter__(self) -> NoReturn:
        raise PlanError("A plan's tensor cannot be unpacked; use t.shape.")


class Typed:
    """A scalar whose type is forced: f32(x), i64(n)."""

    __slots__ = ("kind", "value")

    def __init__(self, kind: str, value: int | float) -> None:
        self.kind = kind
        self.value = value


class Pointers:
    """The addresses of several tensors, as an array."""

    __slots__ = ("tensors",)

    def __init__(self, tensors: tuple[int, ...]) -> None:
        self.tensors = tensors


class Parameters:
    """`params["layers.0.weight"]`: any name of the signature."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def __getitem__(self, key: object) -> Any:
        if not isinstance(key, str):
            raise PlanError(f"params[{key!r:.60}]: names are strings.")
        return self._words.value(signature.find_key(self._words.builder.size, key))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and isinstance(
            signature.find_key(self._words.builder.size, key), Parameter
        )

    def __getattr__(self, name: str) -> NoReturn:
        raise PlanError(f'params is read by name: params["{name}"].')


class Words:
    """The functions of a plan, bound to the plan that is being built."""

    def __init__(self, builder: PlanBuilder, knobs: Mapping[str, Any]) -> None:
        self.builder = builder
        self.chosen = knobs
        self.params = Parameters(self)

    def namespace(self) -> dict[str, Any]:
        """The globals of a plan, without Python's own."""
        names: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                *("empty", "empty_like", "zeros", "zeros_like", "view", "pointers", "launch", "tensor_map"),
                *("torch_op", "tune", "require", "compile", "save", "f32", "f64", "i32", "i64", "params"),
            )
        }
        names.update({name: DType(name) for name in ITEMSIZE if name != "bool"})
        names.update({alias: DType(full) for alias, full in ALIASES.items() if alias not in ("int", "float")})
        names.update(cdiv=cdiv, ceil_div=cdiv, round_up=round_up, next_power_of_2=next_power_of_2, math=math)
        names.update({name: getattr(math, name) for name in _MATH})
        return names

    def value(self, found: Parameter | str) -> Any:
        """What a plan sees of a parameter: a Tensor, or the scalar itself."""
        if isinstance(found, str):
            raise PlanError(f"{found}\nThe task's signature: {self.builder.signature_text()}")
        if found.tensor is None:
            return found.value
        return Tensor(self.builder, self.builder.signature(found.path, line()))

    # --- tensors ---------------------------------------------------------------------------------------------

    def empty(self, shape: Any, dtype: Any) -> Tensor:
        return Tensor(self.builder, self.builder.allocate(shape, dtype, line()))

    def empty_like(self, t: Any, dtype: Any = None) -> Tensor:
        tensor = self._tensor(t, "empty_like")
        return self.empty(tensor.shape, tensor.dtype if dtype is None else dtype)

    def zeros(self, shape: Any, dtype: Any) -> Tensor:
        return Tensor(self.builder, self.builder.allocate(shape, dtype, line(), zeros=True))

    def zeros_like(self, t: Any, dtype: Any = None) -> Tensor:
        tensor = self._tensor(t, "zeros_like")
        return self.zeros(tensor.shape, tensor.dtype if dtype is None else dtype)

    def view(self, t: Any, *shape: Any) -> Tensor:
        extents = shape[0] if len(shape) == 1 else shape
        return Tensor(self.builder, self.builder.view(self._number(t, "view"), extents, line()))

    def pointers(self, tensors: Any) -> Pointers:
        if not isinstance(tensors, list | tuple):
            raise PlanError("pointers: a list of tensors is meant, pointers([a, b]).")
        return Pointers(tuple(self._number(t, "pointers") for t in tensors))

    def _tensor(self, t: Any, where: str) -> Tensor:
        if not isinstance(t, Tensor):
            raise PlanError(f"{where}: {kind(t)} should be a tensor.")
        if t._builder is not self.builder:
            raise PlanError(
                f"{where}: a tensor of forward is gone in backward: save(t) hands it on, by name."
            )
        return t

    def _number(self, t: Any, where: str) -> int:
        return self._tensor(t, where)._number

    # --- steps -----------------------------------------------------------------------------------------------

    def launch(
        self,
        kernel: Any,
        grid: Any,
        block: Any,
        args: Any = (),
        shared: Any = 0,
        cluster: Any = None,
        cooperative: Any = False,
    ) -> None:
        if not isinstance(args, list | tuple):
            raise PlanError(f"launch {kernel!s:.60}: args should be a list, args=[x, y, n].")
        arguments = [self._argument(a, f"launch {kernel!s:.60}: argument {i}") for i, a in enumerate(args, 1)]
        self.builder.launch(kernel, grid, block, arguments, shared, cluster, cooperative, line())

    def _argument(self, value: Any, where: str) -> Argument:
        if isinstance(value, Tensor):
            return TensorArg(self._number(value, where))
        if isinstance(value, Pointers):
            return PointersArg(value.tensors)
        if isinstance(value, Typed):
            return ScalarArg(value.kind, value.value)  # type: ignore[arg-type]  # `Typed` checked its kind
        if isinstance(value, bool):
            return ScalarArg("bool", value)
        if isinstance(value, int):
            return ScalarArg("int", int(value))
        if isinstance(value, float):
            return ScalarArg("float", float(value))
        fix = ""
        if isinstance(value, list | tuple):
            fix = " Pass the elements one by one (*t.shape), or pointers([...]) for tensors."
        elif value is None:
            fix = " Branch on it in the plan (if bias is not None)."
        elif isinstance(value, str):
            fix = " Pass it through compile(defines=...) or in the kernel's name."
        raise PlanError(f"{where} is {kind(value)}; a kernel takes tensors and numbers.{fix}")

    def tensor_map(self, *_: Any, **__: Any) -> NoReturn:
        raise PlanError(
            "tensor_map: TMA descriptors are not yet on this target; load through pointers instead."
        )

    def torch_op(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(op, str):
            raise PlanError(f'torch_op: {kind(op)} should be the name of an operator, "aten.mm".')
        flat: list[Any] = []
        for position, value in enumerate(args, 1):
            if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
                flat += [self._library(v, op, position) for v in value]
            else:
                flat.append(self._library(value, op, position))
        named = [(str(k), self._library(v, op, k)) for k, v in kwargs.items()]
        numbers = self.builder.library(normal_name(op), flat, named, line())
        made = tuple(Tensor(self.builder, n) for n in numbers)
        return made[0] if len(made) == 1 else made

    def _library(self, value: Any, op: str, which: object) -> Any:
        if isinstance(value, Tensor):
            return TensorArg(self._number(value, f"torch_op {op}: argument {which}"))
        if isinstance(value, list | tuple) and all(isinstance(v, int) for v in value):
            return tuple(int(v) for v in value)
        if value is None:
            return None
        if isinstance(value, str):
            return canonical(value) or str(value)
        if isinstance(value, bool | int | float | Typed):
            return self._argument(value, f"torch_op {op}: argument {which}")
        raise PlanError(
            f"torch_op {op}: argument {which} is {kind(value)}; tensors, numbers and names are taken."
        )

    # --- options ---------------------------------------------------------------------------------------------

    def tune(self, default: Any, choices: Any, name: Any = None) -> Any:
        return self.builder.tune(
            name, default, choices, self.chosen.get(name) if isinstance(name, str) else None
        )

    def require(self, condition: Any, why: Any = "") -> None:
        if isinstance(condition, Tensor):
            raise PlanError("require: the condition is a tensor; a plan sees no data.")
        if not condition:
            raise NotCoveredError(str(why)[:1000] or "the plan's require() excludes it")

    def compile(self, defines: Any = None, fast_math: Any = None, max_registers: Any = None) -> None:
        if defines is not None and not isinstance(defines, dict):
            raise PlanError('compile: defines should be a dict, {"BLOCK": 256}.')
        self.builder.compile(defines, fast_math, max_registers)

    def save(self, t: Any, name: Any = None) -> Any:
        self.builder.save(name, self._number(t, "save"))
        return t

    def f32(self, value: Any) -> Typed:
        return _typed("f32", value, float)

    def f64(self, value: Any) -> Typed:
        return _typed("f64", value, float)

    def i32(self, value: Any) -> Typed:
        return _typed("i32", value, int)

    def i64(self, value: Any) -> Typed:
        return _typed("i64", value, int)


def _typed(type_: str, value: Any, make: Callable[[Any], Any]) -> Typed:
    value = value.value if isinstance(value, Typed) else value
    whole = not isinstance(value, float) or value.is_integer()
    if not isinstance(value, bool | int | float) or (make is int and not whole):
        raise PlanError(f"{type_}({kind(value)}): a {'whole ' if make is int else ''}number is meant.")
    return Typed(type_, make(value))


def kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, str | int | float):
        return f"{value!r:.60}"
    name = type(value).__name__[:60]
    return "a tensor" if isinstance(value, Tensor) else f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def cdiv(a: int, b: int) -> int:
    """The quotient rounded up: blocks that cover `a` elements at `b` each."""
    for n in (a, b):
        if isinstance(n, bool) or not isinstance(n, int):
            raise PlanError(f"cdiv: {kind(n)} should be an int.")
    if b == 0:
        raise PlanError("cdiv: division by zero.")
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    """`a` rounded up to a multiple of `b`."""
    return cdiv(a, b) * b


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << max(int(n) - 1, 0).bit_length()


_MATH = (
    *("ceil", "floor", "sqrt", "log2", "log", "exp", "gcd", "lcm", "prod", "isqrt", "inf", "nan", "pi", "e"),
    *("trunc", "isinf", "isnan", "copysign", "hypot", "fsum"),
)
