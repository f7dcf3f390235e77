"""The progress of a run on the terminal: a line per step, and the output of its notebook."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ftzard.config.pipeline import BY_NAME, JOBS
from ftzard.core.durations import duration_text
from ftzard.errors import FtzardError
from ftzard.workspace.workspace import Workspace

#: Beginnings of papermill's own log messages.
PAPERMILL_MESSAGES = ("Executing Cell", "Ending Cell", "Input Notebook:", "Output Notebook:",
                      "Executing notebook with kernel")


@dataclass
class RunProgress:
    """Prints a line for the start and the end of each step of a run.

    Attributes:
        say: prints a line.
        order: the job's ops in their order.
        usual: seconds that a step took when it last succeeded, by step.
        seconds: that each finished step took.
        failure: the message of the failed step or run.
    """

    say: Callable[[str], None]
    order: Sequence[str] = ()
    usual: Mapping[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failure: str | None = None
    failed_step: str | None = None

    def event(self, kind: str, step: str | None, when: float, message: str = "") -> None:
        """Print what an event of Dagster's log means.

        Args:
            kind: the event's type.
            step: its step.
            when: its time in seconds since 1970.
            message: the failure's message.
        """
        if kind == "STEP_START":
            self.started[step] = when
            about = BY_NAME[step].about if step in BY_NAME else "Version what it wrote."
            self.say(f"▸ {step:<28} {self._position(step)}{about}")
        elif kind in ("STEP_SUCCESS", "STEP_FAILURE"):
            self.seconds[step] = when - self.started.get(step, when)
            mark = "✓" if kind == "STEP_SUCCESS" else "✗"
            self.say(f"{mark} {step:<28} {self.seconds[step]:6.1f} s")
            if kind == "STEP_FAILURE":
                self.failure, self.failed_step = message, step
        elif kind in ("PIPELINE_FAILURE", "PIPELINE_CANCELED") and self.failure is None:
            self.failure = message

    def _position(self, step: str) -> str:
        """Return the step's number, its notebook and the usual time left, if that is known."""
        if step not in self.order:
            return ""
        number = self.order.index(step)
        notebook = BY_NAME[step].notebook if step in BY_NAME else "Git_Dvc"
        ahead = [name for name in self.order[number:] if name in BY_NAME]
        left = ""
        if ahead and all(name in self.usual for name in ahead):
            left = f", about {duration_text(sum(self.usual[name] for name in ahead))} left"
        return f"step {number + 1} of {len(self.order)}: {notebook}{left}. "


def ops_of(job: str) -> list[str]:
    """Return the ops of a job in their order: its steps, each with its Git_Dvc."""
    return [op for name in JOBS[job] for op in (
        (name, f"Git_Dvc_{name}") if BY_NAME[name].versioned else (name,))]


def usual_seconds(workspace: Workspace, steps: Iterable[str]) -> dict[str, float]:
    """Return the seconds that each step took when it last succeeded, of those that did."""
    from ftzard.tracking import sqlite_reading

    seconds = {}
    with suppress(FtzardError):
        store = sqlite_reading.of_workspace(workspace, workspace.config())
        for name in steps:
            last = next((run for run in store.executions(BY_NAME[name].run_name)
                         if run.status == "FINISHED" and run.ended), None)
            if last is not None:
                seconds[name] = (last.ended - last.began) / 1000
    return seconds


class PrintedLines(logging.Handler):
    """A log handler that prints a notebook's output without papermill's own messages."""

    def __init__(self, say: Callable[[str], None]):
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            print_cell_output(record.getMessage(), self.say)


def print_cell_output(text: str, say: Callable[[str], None]) -> None:
    """Print the first twelve lines of a cell's output, indented."""
    text = text.strip()
    if text and not text.startswith(PAPERMILL_MESSAGES):
        for line in text.splitlines()[:12]:
            say(f"    {line}")


def failure_sentence(event) -> str:
    """Return the message of a failed step or run, without traceback and class names."""
    data = event.event_specific_data
    if event.event_type_value == "STEP_FAILURE":
        if data.user_failure_data is not None and data.user_failure_data.description:
            return data.user_failure_data.description
        return _innermost(data.error)
    if event.event_type_value in ("PIPELINE_FAILURE", "PIPELINE_CANCELED"):
        error = getattr(data, "error", None)
        return _innermost(error) if error else (event.message or "")
    return ""


def was_interrupted(event) -> bool:
    """Return whether an event ends a run because of a signal, such as that of Ctrl-C."""
    reason = getattr(event.event_specific_data, "failure_reason", None)
    return getattr(reason, "name", "") == "UNEXPECTED_TERMINATION"


def _innermost(error) -> str:
    ours = {kind.__name__ for kind in FtzardError.__subclasses__()}
    while error.cause is not None and error.cls_name not in ours:
        error = error.cause
    name, _, rest = error.message.strip().partition(": ")
    return rest if rest and "." in name and " " not in name else error.message.strip()
