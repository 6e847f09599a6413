"""The two themes of the workbench, and the colours of a person's marks for every other theme."""

from __future__ import annotations

from textual.theme import Theme

_MARKS_DARK = {"mark-accepted": "#c4a7ff", "mark-rejected": "#f29fd6", "mark-shelved": "#8fa3bf"}
_MARKS_LIGHT = {"mark-accepted": "#6a35b8", "mark-rejected": "#a8327f", "mark-shelved": "#5b6b82"}

DARK = Theme(
    name="workbench-dark",
    primary="#7aa2f7",
    secondary="#7dcfff",
    accent="#73daca",
    success="#9ece6a",
    warning="#e0af68",
    error="#f7768e",
    foreground="#c8d3f0",
    background="#11141d",
    surface="#161a26",
    panel="#1f2535",
    dark=True,
    variables={
        **_MARKS_DARK,
        "code-comment": "#6b7799",
        "code-keyword": "#bb9af7",
        "code-type": "#5cc8d7",
        "code-builtin": "#7dcfff",
        "code-function": "#7aa2f7",
        "code-number": "#ff9e64",
        "code-string": "#9ece6a",
        "code-preprocessor": "#e0af68",
        "code-operator": "#a9b8de",
    },
)

LIGHT = Theme(
    name="workbench-light",
    primary="#2e5cbf",
    secondary="#1f6f9c",
    accent="#0f766e",
    success="#2f7d32",
    warning="#8f5e00",
    error="#b3263a",
    foreground="#232a3b",
    background="#eef0f5",
    surface="#fafbfd",
    panel="#dfe4ee",
    dark=False,
    variables={
        **_MARKS_LIGHT,
        "code-comment": "#6d778c",
        "code-keyword": "#7a3fb8",
        "code-type": "#0b6f86",
        "code-builtin": "#1b6aa8",
        "code-function": "#2e5cbf",
        "code-number": "#a8501c",
        "code-string": "#3f7a2a",
        "code-preprocessor": "#8a5a00",
        "code-operator": "#4a556e",
    },
)

THEMES: dict[str, Theme] = {"dark": DARK, "light": LIGHT}


def defaults(*, dark: bool) -> dict[str, str]:
    """Values of our own variables under a theme that does not define them."""
    return dict((DARK if dark else LIGHT).variables)
