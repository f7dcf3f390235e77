"""The doctor: problems of a workspace, the commands that solve them, and automatic fixes.

A list of checks, each from the workspace to findings. Checks change nothing. A check that fails is
a finding, so a broken workspace is described and does not crash the doctor. `mend` does only what
loses nothing: it finishes or removes what a killed process left.
"""

from collections.abc import Callable
from contextlib import ExitStack

from ftzard.core.locks import locked
from ftzard.doctor import credentials, dropped, leftovers, machine, records, registered, versioned
from ftzard.doctor.finding import OK, WARNING, WRONG, Finding, settings
from ftzard.errors import FtzardError
from ftzard.workspace.workspace import Workspace

__all__ = ["CHECKS", "OK", "WARNING", "WRONG", "Finding", "cure", "examine", "lines", "mend",
           "settings"]

Check = Callable[[Workspace], list[Finding]]

#: Every check under the name of its area, in the order in which `mend` goes through what they
#: find: files and locks before git, the registry before the commit of its records, pushing last.
CHECKS: tuple[tuple[str, Check], ...] = (
    ("config", machine.config),
    ("init", leftovers.unfinished_init),
    ("locks", leftovers.locks),
    ("files", leftovers.half_written),
    ("restore", leftovers.unfinished_restore),
    ("worktrees", leftovers.worktrees),
    ("git", versioned.repository),
    ("ignored", versioned.ignored),
    ("MLflow", records.store),
    ("Dagster", records.dagster),
    ("runs", records.open_runs),
    ("models", registered.models),
    ("DVC", versioned.dvc),
    ("data", versioned.data),
    ("dropped", dropped.files),
    ("versions", versioned.uncommitted),
    ("code", versioned.code),
    ("git remote", versioned.git_remote),
    ("pushed", versioned.unpushed),
    ("disk", machine.disk),
    ("GPU", machine.gpu),
    ("packages", machine.packages),
    ("notebooks", machine.notebooks),
    ("secrets", credentials.secrets),
    ("notices", credentials.undelivered_notices),
)


def examine(place: Workspace) -> list[Finding]:
    """Return the findings of all checks; nothing is changed and nothing is raised."""
    findings: list[Finding] = []
    for area, check in CHECKS:
        try:
            findings += check(place)
        except FtzardError as error:
            findings.append(Finding(area, WRONG, str(error)))
        except Exception as error:  # a broken workspace may raise anything
            findings.append(Finding(
                area, WRONG, f"could not be looked at: {type(error).__name__}: "
                             f"{' '.join(str(error).split())[:300]}"))
    return findings


def mend(place: Workspace, findings: list[Finding], say: Callable[[str], object]) -> int:
    """Apply the fixes of findings; return their number. A failing fix is reported, not raised.

    Nothing is touched while a run works in the workspace.
    """
    wanted = [finding for finding in findings if finding.mend is not None]
    holder = leftovers.at_work(place)
    if wanted and holder:
        say(f"nothing is mended while {holder}; try again when it has ended")
        return 0
    mended = 0
    with ExitStack() as stack:
        if wanted:
            stack.enter_context(locked(place.state / "run.lock", leftovers.holder("doctor --fix")))
        for finding in wanted:
            try:
                say(f"mended    {finding.area:<10} {finding.mend()}")
                mended += 1
            except Exception as error:  # what one cannot mend must not keep the others from it
                kind = "" if isinstance(error, FtzardError) else f"{type(error).__name__}: "
                say(f"not mended {finding.area:<9} {kind}{error}")
    return mended


def cure(place: Workspace, say: Callable[[str], object], rounds: int = 3) -> list[Finding]:
    """Apply fixes and check again until nothing more can be fixed; return the last findings.

    A round may uncover the next one's work: a version that is committed is then to be pushed.
    """
    findings = examine(place)
    for _ in range(rounds):
        if not mend(place, findings, say):
            break
        findings = examine(place)
    return findings


def lines(findings: list[Finding]) -> list[str]:
    """Return findings as text: a line each, and the command below it."""
    shown = []
    for finding in findings:
        mark = {OK: "✓", WARNING: "!", WRONG: "✗"}[finding.state]
        shown.append(f"{mark} {finding.area:<10} {finding.sentence}")
        if finding.command:
            shown.append(f"{'':12} → {finding.command}")
    return shown
