"""The drop folders: files that wait, that failed, and that are never taken."""

import shlex

from ftzard.doctor.finding import OK, WARNING, Finding, counted, listed, settings
from ftzard.workspace import drop_folders, drop_tally
from ftzard.workspace.workspace import Workspace


def files(place: Workspace) -> list[Finding]:
    """Files that wait, whose runs failed, that are not trained on yet, or that no sensor takes."""
    findings = [*_passed_over(place), *_failed(place)]
    waiting = drop_tally.not_in_table(place, place.root / settings(place).paths.cleaned)
    if waiting:
        findings.append(Finding(
            "dropped", OK,
            f"{counted(len(waiting), 'file')} in data/raw_incoming not in the table yet: "
            f"{listed(waiting)}; 'ftzard ui' takes what is new there, or name one.",
            f"ftzard run training_pipeline_job -w {place.in_shell} "
            f"'data.source=\"data/raw_incoming/{waiting[0]}\"'"))
    return findings or [Finding("dropped", OK, "no file waits in data/raw_incoming.")]


def _passed_over(place: Workspace) -> list[Finding]:
    passed = drop_folders.passed_over(place)
    if not passed:
        return []
    return [Finding(
        "dropped", WARNING,
        f"{counted(len(passed), 'thing')} that no sensor takes: {listed(passed)}. "
        f"Expected files ({', '.join(drop_folders.SUFFIXES)}): put one there, or move it away.")]


def _failed(place: Workspace) -> list[Finding]:
    """Files that wait or whose runs failed, by folder."""
    findings = []
    for name, tally in (drop_tally.of(place) or {}).items():
        folder = f"data/{name}"
        if tally.failed:
            file, run = next(iter(tally.failed.items()))
            key = {"raw_incoming": "source"}.get(name, name)
            value = shlex.quote(f"data.{key}={folder}/{file}")
            findings.append(Finding(
                "dropped", WARNING,
                f"{counted(len(tally.failed), 'file')} in {folder} whose run failed, which no "
                f"sensor tries again: {listed(list(tally.failed))}. Why is in Dagster (run {run}); "
                "put the file there anew, or run its job.",
                f"ftzard run {drop_tally.JOBS[name]} -w {place.in_shell} {value}"))
        here = len(tally.waiting) + len(tally.queued)
        if here and name != "raw_incoming":
            when = ("they are taken once they hold enough new labels" if name == "labelled" else
                    "'ftzard ui' takes them")
            findings.append(Finding(
                "dropped", OK, f"{counted(here, 'file')} in {folder} not taken yet, "
                               f"{len(tally.queued)} of them in the queue; {when}.",
                f"ftzard ui -w {place.in_shell}"))
    return findings
