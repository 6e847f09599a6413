"""One warm planner for all tests of the dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from dialect_plans import SIZE, Evaluate, source_of

from workbench.core.task import SizeSpec
from workbench.dialect.planner import Planner


@pytest.fixture(scope="session")
def planner() -> Iterator[Planner]:
    with Planner() as planner:
        yield planner


@pytest.fixture
def evaluate(planner: Planner) -> Evaluate:
    """Evaluate a plan at `sizes` (default: the one size, whose answer is then returned alone)."""

    def run(plan: str, sizes: Sequence[SizeSpec] | None = None, **options: Any) -> Any:
        answer = planner.evaluate(source_of(plan), sizes or [SIZE], **options)
        return answer[0] if isinstance(answer, list) and sizes is None else answer

    return run
