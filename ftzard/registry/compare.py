"""`ftzard compare A B`: two models on the same rows, each in a process of its own.

Any two of champion, challenger, previous, base and registered versions. The rows are all test rows
of all batches, or a labelled file. What comes out are values; `ftzard.cli.model_tables` and
`evaluation.comparison_page` draw them.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ftzard.config.schema import Config
from ftzard.core import custom_functions
from ftzard.core.text import cleaned_as
from ftzard.data import reading, storage
from ftzard.errors import DataError, ModelError
from ftzard.modeling.spec import INSTRUCTION_TUNING
from ftzard.registry import lookup, seen_rows
from ftzard.registry.lookup import Files
from ftzard.tasks.classification import text_rows
from ftzard.tasks.classification.calibration import scaled
from ftzard.tasks.classification.comparison import (
    SideBySide,
    disagreements,
    side_by_side,
)
from ftzard.tasks.instruction_tuning import comparison as compare_answers
from ftzard.tasks.instruction_tuning.comparison import AnswerComparison
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.tasks.benchmark import Speed


@dataclass(frozen=True)
class Comparison:
    """Two models side by side.

    names: as people call them; asked: as they were asked for; rows: {source, n, batches, rejected
    {reason: rows} and, of a file, learned, as `learned.counted` has it}; result: scores and
    differences (second minus first); speeds: of each; own: the workspace's own metrics, {name:
    {first, second}}; disagreements: as
    `side_by_side.disagreements` returns them, with each row's id and batch.
    """

    names: tuple[str, str]
    asked: tuple[str, str]
    rows: dict
    result: SideBySide
    speeds: "tuple[Speed, Speed]"
    disagreements: pd.DataFrame
    own: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self, examples: int | None = None) -> dict:
        """Return it as plain values; examples: how many rows they disagree on, default all."""
        return {
            "models": [{"name": name, "asked": asked, "speed": asdict(speed)} for
                       name, asked, speed in zip(self.names, self.asked, self.speeds, strict=True)],
            "rows": self.rows,
            **self.result.to_dict(),
            "own_metrics": self.own,
            "disagreements": self.disagreements.head(
                len(self.disagreements) if examples is None else examples).to_dict("records"),
            "disagreements_in_all": len(self.disagreements),
        }

    def verdict(self) -> str:
        """Return in sentences whether one is better, and what it is worth if rows were learned."""
        return self._better() + seen_rows.sentence(self.rows)

    def _better(self) -> str:
        gap, sure = self.result.scores["accuracy"]["difference"], self.result.confidence
        words = (f"a difference of {100 * gap['value']:+.1f} points ({100 * sure:g} % interval "
                 f"{100 * gap['lower']:+.1f} to {100 * gap['upper']:+.1f})").replace("-", "−")
        told = f"On {self.result.n:,} rows {self.names[1]} against {self.names[0]}: {words}."
        if gap["lower"] > 0 and self.result.mcnemar_p < 1 - sure:
            return f"{told} {self.names[1]} is better."
        if gap["upper"] < 0 and self.result.mcnemar_p < 1 - sure:
            return f"{told} {self.names[0]} is better."
        return f"{told} No difference is shown."


def compare(workspace: Workspace, first: str, second: str, *, file: Path | None = None,
            say: Callable[[str], object] = print) -> Comparison | AnswerComparison:
    """Let two models answer the same rows; each is loaded, asked and timed in its own process.

    first, second: 'champion', 'challenger', 'previous', 'base' or NAME@VERSION; file: a labelled
    file with the config's columns, instead of the workspace's test rows; which of its rows either
    has learned is counted. Raises ModelError if both are one model, are not for the same task or do
    not have the same labels, before either is loaded.
    """
    config = workspace.config()
    asked = (first, second)
    models = [lookup.files(workspace, which, labels_of=asked[1 - i])
              for i, which in enumerate(asked)]
    if models[0].name == models[1].name:
        raise ModelError(f"'{first}' and '{second}' are both {models[0].name}; expected two models "
                         "to compare.")
    require_same_task(*models)
    free = models[0].task == INSTRUCTION_TUNING
    if not free:
        require_same_labels(*models)
    if file is None:
        rows, told = test_rows(workspace, config)
    else:
        rows_of = compare_answers.labelled_rows if free else labelled_rows
        rows, told = rows_of(config, file, identity(workspace, config))
        told["learned"] = seen_rows.counted(workspace, models, rows)
    if free:
        return compare_answers.held(models, rows, told, asked=asked, config=config, say=say)
    sources = custom_functions.read(workspace.root) if config.metrics else {}
    own = {short: custom_functions.packed(name, sources, "metrics")
           for short, name in custom_functions.short_names(config.metrics or ()).items()}
    return held(models, rows, told, asked=asked, threads=config.threads, seed=config.seed,
                confidence=config.gate.confidence, resamples=config.gate.resamples, own=own,
                say=say)


def held(models: list[Files], rows: pd.DataFrame, told: Mapping, *, asked: tuple[str, str],
         threads: int, seed: int, confidence: float, resamples: int,
         own: Mapping[str, Mapping] | None = None, say: Callable[[str], object]) -> Comparison:
    """Compare two models on rows (id, batch, text, label).

    own: the workspace's own metrics, as `custom.packed` returns each.
    """
    from ftzard.modeling.spec import BaseSpec
    from ftzard.tasks.benchmark import Subject, measured

    classes, chances, speeds = models[0].labels, [], []
    found = measured(
        [Subject(model.adapter, BaseSpec(**model.base), {"labels": list(model.labels)})
         for model in models],
        [cleaned_as(rows["text"], model.cleaning) for model in models], threads=threads,
        on_start=lambda i: say(f"{models[i].name} answers {len(rows):,} rows"))
    for model, (logits, speed) in zip(models, found, strict=True):
        order = [model.labels.index(label) for label in classes]
        chances.append(scaled(logits[:, order], 1.0))
        speeds.append(speed)
    result = side_by_side(rows["label"], *chances, classes, seed=seed, confidence=confidence,
                          resamples=resamples)
    apart = disagreements(rows["text"].tolist(), rows["label"].tolist(), *chances, classes)
    where = rows[["id", "batch"]].iloc[apart["row"]].reset_index(drop=True)
    return Comparison(
        (models[0].name, models[1].name), asked, dict(told), result, tuple(speeds),
        pd.concat([where, apart.drop(columns="row")], axis=1), _own(own or {}, rows, chances,
                                                                    classes))


def _own(metrics: Mapping[str, Mapping], rows: pd.DataFrame, chances: list, classes: list[str]
         ) -> dict[str, dict[str, float]]:
    """Return {name: {first, second}} of a workspace's own metrics."""
    first, second = (custom_functions.measured(
        metrics, rows["label"], [classes[i] for i in p.argmax(axis=1)],
        pd.DataFrame(p, columns=classes)) for p in chances)
    return {name: {"first": first[name], "second": second[name]} for name in metrics}


def require_same_task(first: Files, second: Files) -> None:
    """Raise ModelError, naming both, if two models are not for the same task."""
    if first.task != second.task:
        raise ModelError(f"{first.name} is for {first.task} and {second.name} for {second.task}; "
                         "expected two of one task to compare.")


def require_same_labels(first: Files, second: Files) -> None:
    """Raise ModelError, naming both, if two models do not have the same labels."""
    if set(first.labels) != set(second.labels):
        raise ModelError(
            f"{first.name} knows the labels {first.labels} and {second.name} {second.labels}; "
            "expected the same of both, since they are to answer the same rows.")


def test_rows(workspace: Workspace, config: Config) -> tuple[pd.DataFrame, dict]:
    """Return the test rows of all batches (id, batch, text, label), and what they are.

    Those of instructions have their messages, too.
    """
    path = workspace.root / config.paths.tokenized
    if not path.is_file():
        raise DataError(
            f"there are no test rows: {workspace.relative(path)} does not exist. Run 'ftzard run "
            "preprocessing_job', bring it back with 'dvc pull', or name a file with --file.")
    rows = storage.read_parquet(path)
    rows = rows[rows["split"] == "test"].reset_index(drop=True)
    if rows.empty:
        raise DataError(f"{workspace.relative(path)} has no test rows; name a labelled file with "
                        "--file.")
    told = {"source": workspace.relative(path), "n": len(rows),
            "batches": {str(b): int(n) for b, n in rows["batch"].value_counts(sort=False).items()},
            "rejected": {}}
    return rows.filter(["id", "batch", "text", "label", "messages"]), told


def labelled_rows(config: Config, file: Path, identity: int) -> tuple[pd.DataFrame, dict]:
    """Return the usable rows of a labelled file, cleaned as a delivery is, and what they are.

    identity: version of the rules by which texts and names are the same.
    """
    data = config.data
    raw = reading.read_raw(file, text_column=data.text_column, label_column=data.label_column,
                           **reading.layout(data))
    rows, rejected = text_rows.clean(
        raw, batch=reading.batch_of(file), labels=data.labels, mention=data.mention,
        link=data.link, max_characters=data.max_characters, identity=identity)
    reasons = {str(r): int(n) for r, n in rejected["reason"].value_counts().items()}
    if rows.empty:
        raise DataError(f"{file} has no row that can be used: {reasons}.")
    told = {"source": str(file), "n": len(rows), "rejected": reasons,
            "batches": {str(rows["batch"].iloc[0]): len(rows)}}
    return rows[["id", "batch", "text", "label"]].reset_index(drop=True), told


def report(comparison: Comparison | AnswerComparison, path: Path, examples: int = 50) -> Path:
    """Write the comparison as one page that needs no other file; return its path."""
    from ftzard.core.artifacts import write_atomically
    from ftzard.tasks.classification import comparison_page
    from ftzard.tasks.instruction_tuning import (
        comparison_page as answer_comparison_page,
    )

    chosen = comparison_page if isinstance(comparison, Comparison) else answer_comparison_page
    text = chosen.render(comparison.to_dict(examples), comparison.verdict())
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
