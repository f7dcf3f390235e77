"""The library: `import ftzard`, then open or create a workspace and call its methods.

The command line is written on these calls. Every import is inside its function, so that
`import ftzard` loads no torch, MLflow, Dagster or pandas.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from ftzard.config.schema import DEFAULT_TASK

if TYPE_CHECKING:
    import pandas as pd

    from ftzard.config.schema import Config
    from ftzard.orchestration.run_job import JobOutcome
    from ftzard.registry.export import Exported
    from ftzard.registry.promote import Promotion
    from ftzard.steps.plan import Plan
    from ftzard.tasks.comparison import Comparison
    from ftzard.workspace import workspace as _workspace

Say: TypeAlias = Callable[[str], None]


def _silent(line: str) -> None:
    """Drop a line of progress."""


class Prediction(TypedDict, total=False):
    """What a model predicts for one text; which keys there are depends on the task.

    text, label and confidence are always there. A classifier adds probabilities (by label),
    calibrated, abstains and cut (tokens beyond the model's length); one of several labels has them
    in labels, and as one text, `anger|joy`, in label; a model that generates answers
    has its answer as label, and adds tokens and finished.
    """

    text: str
    label: Any
    confidence: float
    labels: list[str]
    probabilities: dict[str, float]
    calibrated: bool
    abstains: bool
    cut: int
    tokens: int
    finished: bool


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model.

    Attributes:
        model: name of the registered model.
        version: its number.
        aliases: such as champion, challenger and previous.
        kind: "tuned", or "base" for the bare base model.
        accuracy, lower, upper, macro_f1: scores on the newest test rows, with the interval of the
            accuracy; None where they were never measured.
        measure, score: the task's own measure and its value.
        test_rows: number of test rows.
        measured_on: which rows these are.
        apart: why the version has no score on the newest test rows, if it has none.
        verdict, reasons: the gate's decision and its reasons.
        trial: whether the gate only warned.
        base: name of the base model.
        data_version: commit of the tokenized rows.
        size_bytes: size of its files.
        created: time of registration (UTC, ISO 8601).
    """

    model: str
    version: int
    aliases: list[str]
    kind: str | None
    accuracy: float | None
    lower: float | None
    upper: float | None
    macro_f1: float | None
    measure: str | None
    score: float | None
    test_rows: int | None
    measured_on: str | None
    apart: str | None
    verdict: str | None
    reasons: list[str]
    trial: bool
    base: str | None
    data_version: str | None
    size_bytes: int | None
    created: str | None

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelVersion:
        """Return a version from a line of `ftzard models list --json`."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


class Workspace:
    """A workspace: its config, jobs, models, rows to label and history.

    Models are named as on the command line: "champion", "challenger", "previous", "base",
    NAME@VERSION, or the number of a version of the workspace's own model.
    """

    def __init__(self, paths: _workspace.Workspace) -> None:
        self.paths = paths

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    @property
    def root(self) -> Path:
        """The workspace's folder."""
        return self.paths.root

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """Return the config that a run with these overrides would get.

        Raises:
            ConfigError: a key or value that the schema does not have, one line for each.
        """
        return self.paths.config({"overrides": list(overrides)})

    def run(self, job: str, overrides: Sequence[str] = (), *, launchpad: Path | None = None,
            force: bool = False, check: bool = True, say: Say = _silent) -> JobOutcome:
        """Run a job in this process.

        Args:
            job: such as "training_pipeline_job"; `ftzard run --help` lists them.
            overrides: hydra overrides, such as "training.epochs=1".
            launchpad: a YAML file as Dagster's Launchpad takes it.
            force: run every step, also those whose inputs, config, code and packages are what they
                were at an earlier run.
            check: raise JobError if the run fails; otherwise the outcome says so.
            say: called with each line of progress; `print` shows what `ftzard run` shows.

        Raises:
            WorkspaceError: there is no such job.
            ConfigError: an unknown key or value; nothing was run.
            DataError: the job takes a dropped file, and none or more than one waits.
            JobError: the run failed.
        """
        from ftzard.orchestration.run_job import JobError, run_job

        outcome = run_job(self.paths, job, overrides, launchpad=launchpad, force=force, say=say)
        if check and not outcome.success:
            raise JobError(outcome)
        return outcome

    def plan(self, job: str, overrides: Sequence[str] = (), *, gpu: str | None = None,
             ram: str | None = None, cpus: int | None = None) -> Plan:
        """Return the rows, steps, memory and time that a job would take, and whether it fits.

        Args:
            job: name of the job.
            overrides: hydra overrides.
            gpu: for another machine, the memory of its GPU, as "24GB".
            ram: for another machine without a GPU, its memory.
            cpus: for another machine without a GPU, the cores used for computation.
        """
        from ftzard.config.pipeline import job_named
        from ftzard.steps import machine, plan

        return plan.plan(self.paths, job_named(job), {"overrides": list(overrides)},
                         machine=machine.named(gpu, ram, cpus))

    def status(self) -> dict[str, Any]:
        """Return models, last runs, waiting rows and unpushed commits, as `ftzard status --json`.
        """
        from ftzard.steps import status

        return status.gather(self.paths)

    # Models

    @property
    def champion(self) -> ModelVersion | None:
        """The version in use, or None if none was promoted yet."""
        from ftzard.tracking import model_version, sqlite_reading

        config = self.config()
        registry = sqlite_reading.of_workspace(self.paths, config)
        champion = registry.by_alias(config.tracking.registered_model, model_version.CHAMPION)
        return None if champion is None else self.version(str(champion))

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """Return the versions of one registered model, or of all, newest first.

        Raises:
            TrackingError: no model has that name.
        """
        from ftzard.registry import lookup

        return [ModelVersion.of(line) for line in lookup.listing(self.paths, model)]

    def version(self, which: int | str) -> ModelVersion:
        """Return one version.

        Raises:
            TrackingError: there is no such version; the message lists those there are.
        """
        return ModelVersion.of(self.describe(which))

    def describe(self, which: int | str) -> dict[str, Any]:
        """Return everything on record about a version, as `ftzard models show --json`."""
        from ftzard.registry import lookup

        return lookup.describe(self.paths, self._reference(which))

    def predict(self, texts: str | Sequence[str], model: int | str = "champion", *,
                say: Say = _silent) -> list[Prediction]:
        """Return a prediction for each text, cleaned as the training rows were.

        Args:
            texts: one text or several.
            model: which version predicts.
            say: called with a note if the confidence is not calibrated.

        Raises:
            ModelError: a text is empty, or too long for the model; one line for each.
        """
        from ftzard.registry.predict import Asked, predict_texts

        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        if not texts:
            return []
        rows: list[Any] = predict_texts(self.paths, Asked(self._reference(model), texts), note=say)
        return rows

    def compare(self, first: int | str, second: int | str, *, file: Path | str | None = None,
                say: Say = _silent) -> Comparison:
        """Run two models on the same rows; return scores, differences, disagreements and speed.

        Args:
            first: a version.
            second: another one, of the same task and labels.
            file: a labelled file; the default is the workspace's test rows.
            say: called with each line of progress.
        """
        from ftzard.registry import compare

        return compare.compare(
            self.paths, self._reference(first), self._reference(second),
            file=None if file is None else Path(file), say=say)

    def export(self, model: int | str, folder: Path | str, *, form: str = "adapter",
               tolerance: float | None = None, push: str | None = None, say: Say = _silent
               ) -> Exported:
        """Write a model as transformers and peft load it, with its model card.

        Args:
            model: which version.
            folder: a new or empty folder.
            form: "adapter" for PEFT's adapter, "merged" for one model.
            tolerance: largest difference of the exported model's logits; None for rounding only.
            push: repository of a hub to upload to; the token is read from HF_TOKEN.
            say: called with each line of progress.
        """
        from ftzard.registry import export

        return export.export(self.paths, self._reference(model), Path(folder), form=form,
                             tolerance=tolerance, push=push, say=say)

    def promote(self, version: int, *, reason: str, person: str | None = None, say: Say = _silent
                ) -> Promotion:
        """Make a version the champion by hand, with the reason on record."""
        from ftzard.registry import promote

        return promote.promote(self.paths, version, reason=reason, who=person, say=say)

    def rollback(self, *, reason: str | None = None, person: str | None = None, say: Say = _silent
                 ) -> Promotion:
        """Make the previous champion the champion again."""
        from ftzard.registry import promote

        return promote.rollback(self.paths, reason=reason, who=person, say=say)

    # Data

    def history(self, artifact: str | None = None) -> list[dict[str, Any]]:
        """Return the versions of an artifact, or of all, newest first.

        Args:
            artifact: its name (such as "cleaned" or "adapter") or path.
        """
        from ftzard.registry import lineage

        return lineage.history(self.paths, artifact)

    def lineage(self, model: str | None = None) -> dict[str, Any]:
        """Return the rows, code, config, base, parents and runs that a model was made from."""
        from ftzard.registry import lineage

        return lineage.lineage(self.paths, model)

    def queue(self) -> pd.DataFrame:
        """Return the rows that wait for a label: id, batch, text, …, label."""
        from ftzard.steps.label_submission import waiting_rows

        return waiting_rows(self.paths)

    def submit_labels(self, labels: Mapping[str, str] | pd.DataFrame | Path | str, *,
                      person: str | None = None) -> Path:
        """Hand in labels for rows of the queue; return the file that the retraining job takes.

        Args:
            labels: {id: label}, a table with the columns id and label (such as `queue()` with its
                last column filled in), or a file of labels.
            person: who labelled; the default is the current user.

        Raises:
            DataError: an id that is not in the queue, a label that is none of the task's, two
                labels for one row, or no label at all; nothing was written.
        """
        from ftzard.steps.label_submission import submit

        return submit(self.paths, labels, person=person or getpass.getuser())

    def _reference(self, which: int | str) -> str:
        """Return a model's name as the registry understands it."""
        return which if isinstance(which, str) else (
            f"{self.config().tracking.registered_model}@{which}")


def _quiet() -> None:
    """Switch the telemetry of libraries off, which they look up when they are imported."""
    from ftzard.core.environment import QUIET

    for name, value in QUIET.items():
        if name not in ("TQDM_DISABLE", "PYTHONWARNINGS"):  # these are the caller's
            os.environ.setdefault(name, value)


def open_workspace(folder: Path | str | None = None) -> Workspace:
    """Open the workspace of a folder.

    Args:
        folder: its root; None means FTZARD_WORKSPACE, else the current folder or one above it.

    Raises:
        WorkspaceError: there is none.
    """
    from ftzard.workspace.workspace import find

    _quiet()
    return Workspace(find(folder))


def create_workspace(
    folder: Path | str, *, task: str = DEFAULT_TASK, data: Path | str | None = None,
    text: str | None = None, label: str | None = None, input: str | None = None,
    messages: str | None = None, ignore: Sequence[str] = (), single_label: bool = False,
    sample: bool = False, encoding: str = "utf-8", delimiter: str = ",",
    quoting: str | None = None, git_remote: Path | str | None = None,
    dvc_remote: Path | str | None = None, say: Say = _silent,
) -> Workspace:
    """Make a folder a workspace: git, DVC, notebooks and config. It is whole or unchanged.

    Args:
        folder: the new workspace.
        task: what is learned; `ftzard init --help` lists the tasks.
        data: a labelled file (.csv, .csv.gz, .parquet, .jsonl), checked and stored.
        text: its column with the text or instruction.
        label: its column with the label or answer.
        input: its column with what an instruction is about.
        messages: its column with chats.
        ignore: columns that are left out although they belong to the prompt.
        single_label: labels that look like several labels in a row are names.
        sample: bring sample rows instead of `data`.
        encoding: of a text file.
        delimiter: of a CSV file.
        quoting: "csv" or "none"; the default is what fits the file.
        git_remote: URL or folder of the git remote.
        dvc_remote: URL or folder of the DVC remote.
        say: called with each line on what was read and chosen.

    Raises:
        ConfigError: options that do not go together.
        DataError: the file cannot be used.
        WorkspaceError: the folder is a workspace already, or cannot become one.
    """
    from ftzard.orchestration import create_workspace

    _quiet()
    return Workspace(create_workspace.init(
        folder, task=task, data=None if data is None else Path(data), text=text, label=label,
        input=input, messages=messages, ignore=tuple(ignore), single_label=single_label,
        sample=sample, encoding=encoding, delimiter=delimiter, quoting=quoting, say=say,
        git_remote=git_remote, dvc_remote=dvc_remote))
