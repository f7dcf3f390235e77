"""What lies in the drop folders: files that wait, and files that nobody will take."""

from ftzard import drop_folders
from ftzard.doctor.finding import OK, WARNING, Finding, counted, listed, settings
from ftzard.workspace import Workspace


def files(place: Workspace) -> list[Finding]:
    """Files in data/raw_incoming that are not trained on yet; files of a kind no sensor takes."""
    found = []
    passed = drop_folders.passed_over(place)
    if passed:
        found.append(Finding(
            "dropped", WARNING,
            f"{counted(len(passed), 'file')} that no sensor takes: {listed(passed)}; expected "
            f"{', '.join(drop_folders.SUFFIXES)}. Give it the ending of what it holds, or move it "
            "away."))
    waiting = drop_folders.not_in_table(place, place.root / settings(place).paths.cleaned)
    if waiting:
        found.append(Finding(
            "dropped", OK,
            f"{counted(len(waiting), 'file')} in data/raw_incoming not in the table yet: "
            f"{listed(waiting)}; 'ftzard ui' takes what is new there, or name one.",
            f"ftzard run training_pipeline_job -w {place.in_shell} "
            f"'data.source=\"data/raw_incoming/{waiting[0]}\"'"))
    return found or [Finding("dropped", OK, "no file waits in data/raw_incoming.")]
