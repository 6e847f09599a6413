"""What a person asks for on a screen; the app carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from workbench.core.candidate import CandidateId
from workbench.core.messages import ToEngine


@dataclass
class Ask(Message):
    """A request to the engine."""

    request: ToEngine


@dataclass
class OpenFile(Message):
    """A file to add as a candidate and to watch."""

    path: str


@dataclass
class Edit(Message):
    """A copy of a candidate to edit; what changed is its child."""

    candidate: CandidateId
    inline: bool
    """In a pane of this screen rather than in $EDITOR."""


@dataclass
class Restart(Message):
    """Start the engine again."""


@dataclass
class Leave(Message, namespace="workbench"):
    """Close the screen. In a namespace, since Textual's own Leave (the mouse's) has a handler of that name everywhere."""

    stop_engine: bool = False
    """Stop the engine too."""


@dataclass
class Tell(Message):
    """Words for the person, as a toast."""

    words: str
    level: str = "information"
