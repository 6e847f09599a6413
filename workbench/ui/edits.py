"""Editing a copy of a candidate, in a person's own editor or on the screen; what they wrote is never lost.

Apart from `app`, which owns the link to the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import App, SuspendNotSupported

from workbench.core.candidate import CandidateId
from workbench.core.errors import WorkbenchError
from workbench.core.messages import Answer, SubmitCandidate, ToEngine
from workbench.ui import intents
from workbench.ui.documents import Documents
from workbench.ui.editing import editor_command, run_editor, working_file
from workbench.ui.link import Link
from workbench.ui.screens.bench import BenchScreen
from workbench.ui.text import clean

if TYPE_CHECKING:
    from workbench.ui.screens.editor import EditorScreen

EDITED = ", edited"
"""Ends the name of a child that a person wrote."""


class Edits(App[None]):
    """The app's part that edits; `WorkbenchApp` has what it needs."""

    _bench: BenchScreen | None
    _documents: Documents
    _editor: str | None
    _link: Link | None

    def tell(self, text: str, level: str = "information", *, stays: bool = False) -> None:
        """A toast."""
        raise NotImplementedError

    async def _request(self, request: ToEngine, done: str = "") -> Answer | None:
        raise NotImplementedError

    def _choose(self, candidate: CandidateId | None) -> None:
        raise NotImplementedError

    def leave_editor(self, then: Callable[[], None]) -> bool:
        """Close the uppermost inline editor, where one is open, as its own key does, and call `then` once nothing in it
        is unsaved. There are two where a draft was refused while another was open.

        False where none is open.
        """
        from workbench.ui.screens.editor import EditorScreen

        editor = next((s for s in reversed(self.screen_stack) if isinstance(s, EditorScreen)), None)
        if editor is None:
            return False
        if editor is self.screen:  # else its own question is on the screen already
            editor.leave(then)
        return True

    @on(intents.Edit)
    def _edit(self, event: intents.Edit) -> None:
        event.stop()
        self._edit_copy(event.candidate, event.inline)

    @work(exclusive=True, group="edit")
    async def _edit_copy(self, candidate: CandidateId, inline: bool) -> None:
        try:
            source = await self._documents.source(candidate)
            command = None if inline else editor_command(self._editor)
            if command is None:
                self._edit_inline(candidate, source)
                return
            assert self._link is not None
            path = working_file(self._link.session, candidate, source)
            status = await run_editor(self, command, path)
            edited = path.read_bytes()
        except SuspendNotSupported:
            self._edit_inline(candidate, source)
            return
        except WorkbenchError as error:
            self.tell(str(error), "error")
            return
        except OSError as error:
            self.tell(f"The editor or its file is not there: {error.strerror}.", "error")
            return
        if status != 0:
            self.tell(f"{command[0]} ended with code {status}; {path} keeps what was saved.", "warning")
        elif edited == source:
            self.tell(f"Nothing was changed; {candidate} stays as it is.")
        elif not await self._submit_child(candidate, edited, str(path)):
            self.tell(f"{path} keeps what you wrote; open it with o.", "error")

    def _edit_inline(self, candidate: CandidateId, source: bytes) -> None:
        from workbench.ui.screens.editor import EditorScreen

        text = source.decode("utf-8", "replace")
        if clean(text) != text or text.encode() != source:
            # A text area would send control characters to the terminal, and saving would change them.
            self.tell(
                f"{candidate} is no clean text; edit it in your own editor and open that file with o.",
                "error",
            )
            return
        if self._bench is not None and candidate in self._bench.view.candidates:
            name = self._bench.view.candidates[candidate].name
            self.push_screen(EditorScreen(candidate, name, text))

    @work(group="requests")
    async def on_editor_screen_saved(self, event: EditorScreen.Saved) -> None:
        """Submit what was written on the screen; where it is not taken, the editor comes back with it."""
        from workbench.ui.screens.editor import EditorScreen

        event.stop()
        if not await self._submit_child(event.parent, event.text.encode(), None):
            await self.push_screen(EditorScreen(event.parent, event.name, event.original, draft=event))

    async def _submit_child(self, parent: CandidateId, source: bytes, path: str | None) -> bool:
        """The engine has it now; where it has not, it was said why."""
        view = self._bench.view.candidates.get(parent) if self._bench else None
        name = view.name if view is not None else parent
        name = name if name.endswith(EDITED) else name + EDITED
        request = SubmitCandidate(source=source, name=name, parents=(parent,), origin_path=path)
        answer = await self._request(request)
        if answer is None or not answer.ok:
            return False
        self._choose(answer.candidate)
        return True
