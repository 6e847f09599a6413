"""The host target's estimate in one line for people; wherever it is shown it must not look like a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def estimate_line(found: Mapping[str, Any] | None) -> str:
    """What was counted, and the rank, to stand behind the word "estimate"; "" where there is none, or none of ours."""
    cost = _number(found, "relative_cost")
    if found is None or cost is None:
        return ""
    parts = [f"{cost:.3g} times the least traffic"]
    if isinstance(found.get("limit"), str):
        parts[0] += f", limited by {found['limit']}"
    for way in ("load", "store"):
        share = _number(found, f"{way}_efficiency")
        if share is not None and _number(found, f"{way}_sectors"):
            parts.append(f"{way}s use {100 * share:.0f} % of their sectors")
    conflicts, lanes = _number(found, "bank_conflicts"), _number(found, "active_lanes")
    if conflicts:
        parts.append(f"{conflicts:,.0f} bank conflicts")
    if lanes is not None:
        parts.append(f"{100 * lanes:.0f} % of lanes active")
    if len(parts) == 1:
        parts.append("nothing counted")
    return "; ".join(parts)


def worst_lines(found: Mapping[str, Any] | None) -> list[str]:
    """ "line 12: loads use 4 of the 32 bytes of each sector", the worst first."""
    rows = (found or {}).get("worst_lines")
    if not isinstance(rows, list | tuple):
        return []
    return [
        f"line {r['line']}: {r['what']}"
        for r in rows
        if isinstance(r, Mapping) and {"line", "what"} <= set(r)
    ]


def _number(found: Mapping[str, Any] | None, name: str) -> float | None:
    value = (found or {}).get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
