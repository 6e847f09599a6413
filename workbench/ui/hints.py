"""One sentence about the key that a person most likely wants next; a newcomer can work by following it."""

from __future__ import annotations

from workbench.core.candidate import CandidateView
from workbench.ui.view import View


def hint(view: View, chosen: CandidateView | None) -> tuple[str, str]:
    """The key to press next and why; the key is "" where there is only something to wait for."""
    if view.link == "lost" and not view.session:
        return "r", "tries again to open a session"
    if view.link == "lost":
        return "r", "starts the engine again; everything that was shown is on disk"
    if view.link == "connecting":
        return "", "The engine starts; the screen is ready as soon as it answers"
    if view.task_error:
        return "", "Mend the task in your editor and save it: it loads again by itself"
    if view.judge_trouble:
        return "", "The judge is not running; it is started again by itself, and nothing is lost"
    if view.task is None and not view.candidates:
        doing = view.progress.activity or "importing torch"
        return "", f"The judge gets ready ({doing}); read the task meanwhile"
    if not view.candidates:
        return (
            "o",
            "opens your own .cu file as a candidate; shipped kernels come when some fit this signature",
        )
    if chosen is None:
        return "↓", "chooses a candidate"
    return _of_candidate(view, chosen)


def _of_candidate(view: View, chosen: CandidateView) -> tuple[str, str]:
    match chosen.state:
        case "judging":
            return "", f"{chosen.id} is being judged: its gates tick on the right; c cancels"
        case "queued":
            return "n", f"goes to the next candidate; {chosen.id} waits for the judge (c cancels)"
        case "passed" if chosen.mark is None:
            more = "d shows what it changed" if chosen.parents else "n goes on"
            return "a", f"accepts {chosen.id}: it passed every gate that ran; x rejects it, {more}"
        case "passed" if chosen.mark == "accepted":
            if chosen.id in view.with_knobs and not any(
                chosen.id in c.parents for c in view.candidates.values()
            ):
                return "t", f"sweeps the knobs of {chosen.id}; u takes the acceptance back"
            return "e", f"edits a copy of {chosen.id} as its child; u takes the acceptance back"
        case "failed" if chosen.mark is None:
            return "e", f"edits {chosen.id} where the verdict points; the saved copy is judged as its child"
        case "could not judge":
            return "v", f"verifies {chosen.id} again, once what is named on the right is mended"
        case "duplicate":
            return "n", f"goes on; {chosen.id} has the same tokens as {chosen.duplicate_of}"
        case "stale":
            return "v", f"verifies {chosen.id} under the task as it is now"
        case "cancelled":
            return "v", f"has {chosen.id} judged after all"
    if chosen.mark is not None:
        return "u", f"takes the mark back; {chosen.id} is {chosen.mark}"
    return "n", "goes to the next candidate"
