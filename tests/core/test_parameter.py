"""A scalar of a task's signature is the same number after the log (JSON) and after a pipe (MessagePack)."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from workbench.core.task import Parameter, Scalar

WAYS = [(msgspec.json.encode, msgspec.json.decode), (msgspec.msgpack.encode, msgspec.msgpack.decode)]


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan, 0.5, -0.0, 7, True, "inf", "nan", "", None], ids=repr
)
@pytest.mark.parametrize(("encode", "decode"), WAYS, ids=["log", "pipe"])
def test_a_scalar_survives(
    value: Scalar, encode: Callable[[object], bytes], decode: Callable[..., Parameter]
) -> None:
    given = Parameter("fill", "fill", "input", value=value)
    found = decode(written := encode(given), type=Parameter)
    assert repr(found.value) == repr(value) and type(found.value) is type(value)
    assert found == given and hash(found) == hash(given)
    assert encode(found) == written
    assert str(found) == str(given) == f"fill = {value!r}"


def test_a_scalar_that_replaces_an_infinite_one_is_its_own() -> None:
    infinite = Parameter("fill", "fill", "input", value=-math.inf)
    for value in (2.0, math.inf, 7):
        replaced = msgspec.structs.replace(infinite, value=value)
        assert replaced == Parameter("fill", "fill", "input", value=value)
