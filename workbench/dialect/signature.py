"""A task's signature in words, and the names by which a plan reaches it."""

from __future__ import annotations

import difflib
import re

from workbench.core.task import Parameter, SizeSpec

SHOWN = 60
"""Parameters that a printed signature lists; a language model's state_dict has hundreds."""


def identifier(key: str) -> str:
    """A raw name as plans write it: "layers.0.weight" is layers_0_weight."""
    return re.sub(r"\W", "_", key)


def signature_text(size: SizeSpec) -> str:
    """The signature at one size, over several lines where it is long."""
    own = ("gradient", "saved")  # backward's own come first in a long signature's place
    parameters = (
        sorted(size.parameters, key=lambda p: p.role not in own) if is_backward(size) else size.parameters
    )
    shown = [str(p) for p in parameters[:SHOWN]]
    if len(parameters) > SHOWN:
        shown.append(f"... and {len(parameters) - SHOWN} more")
    outputs = (
        ", ".join(f"{o.name}: {o.tensor}" for o in size.outputs) or "nothing (inputs are written in place)"
    )
    inside = ", ".join(shown)
    if len(inside) > 90:
        inside = "\n    " + ",\n    ".join(shown) + "\n"
    return f"{'backward' if is_backward(size) else 'forward'}({inside}) -> {outputs}"


def is_backward(size: SizeSpec) -> bool:
    """Whether this is a signature that `backward` is written against."""
    return any(p.role == "gradient" for p in size.parameters)


def find(size: SizeSpec, name: str) -> Parameter | str:
    """The parameter that a plan's `forward` means by `name`, or what is wrong with the name.

    A plan names an input, a state_dict key with `.` written `_`, or an attribute by its own name or its module's
    (`eps`, `norm_eps`).
    """
    exact = [p for p in size.parameters if name in (p.name, p.key, identifier(p.key))]
    found = exact or [
        p for p in size.parameters if p.role == "attribute" and name == p.key.rpartition(".")[2]
    ]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(f'params["{p.path}"]' for p in found[:8])
        return f"{name} is ambiguous: it may be {keys}. Use one of these."
    missing = f"The task has no {name}."
    if is_backward(size):
        missing = f"backward is given no {name}: the task has none, and forward does not save it."
    return f"{missing}{_did_you_mean(size, name)}"


def find_key(size: SizeSpec, key: str) -> Parameter | str:
    """What `params[key]` means: a path ("input:x"), a raw name, or a name as `forward` takes it."""
    by_path = size.by_path()
    if key in by_path:
        return by_path[key]
    exact = [p for p in size.parameters if p.key == key]
    return exact[0] if len(exact) == 1 else find(size, key)


def _did_you_mean(size: SizeSpec, name: str) -> str:
    names = [n for p in size.parameters for n in (p.name, p.key)]
    close = difflib.get_close_matches(name[:80], dict.fromkeys(n for n in names if len(n) <= 200), 1)
    return f" Did you mean {close[0]}?" if close else ""
