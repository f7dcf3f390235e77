"""A batch that waits for labels, as everybody who labels it sees it: who may still answer what.

`LabelingBatch` is a view of the queue's files, read once; the answers are in the store. A row is
asked of one person, or of two, each without the other's answer and without a suggestion, where
`sampling.overlap` draws it. Where people differ, or somebody cannot say, a person settles the row;
until then its answers are not handed in.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ftzard.config.schema import Config
from ftzard.data.labeling import labeling_queue, submissions
from ftzard.data.labeling.answer_store import Answer, AnswerStore, Settlement, now
from ftzard.data.labeling.label_formats import LabelFormat
from ftzard.data.storage import read_parquet
from ftzard.errors import DataError, nearest
from ftzard.tasks.base import task_named
from ftzard.workspace import row_log
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class Case:
    """A row that a person has to settle.

    Attributes:
        id: The row.
        answers: The answers that differ, as far as there are any.
        cannot_say: The answers of those who cannot label it.
    """

    id: str
    answers: list[Answer]
    cannot_say: list[Answer]


@dataclass(frozen=True)
class LabelingBatch:
    """A batch's queue.

    Attributes:
        name: The batch's name.
        queue: All rows that were selected for labeling.
        format: What a label may be; its names are in the order of their keys.
        store: The answers.
        folder: Folder that submissions are written to.
        show: `sampling.show_suggestions`.
        overlap: `sampling.overlap`.
        unlabeled: Ids of the rows that have no accepted label.
        refused: Ids of the rows whose last label was handed in and refused.
        labeled_by: Who gave the accepted label of a row, by id.
        delivered_as: What a person calls the batch.
    """

    name: str
    queue: pd.DataFrame
    format: LabelFormat
    store: AnswerStore
    folder: Path
    show: str
    overlap: float
    unlabeled: Collection[str]
    refused: Collection[str]
    labeled_by: Mapping[str, str] = field(default_factory=dict)

    def needed(self, row_id: str) -> int:
        """Return how many people a row is asked of."""
        return labeling_queue.asked_of(self.name, row_id, self.overlap)

    def counts(self, answer: Answer) -> bool:
        """Return whether an answer holds: one that was handed in and refused is asked for again."""
        return not answer.handed_in or answer.id not in self.refused

    def left(self, person: str, answers: Iterable[Answer], *, twice: bool = False
             ) -> list[tuple[str, int]]:
        """Return the rows that a person may answer, in the queue's order.

        Args:
            person: Who labels.
            answers: Everybody's answers to the batch.
            twice: Also rows that others have labeled.

        Returns:
            Pairs of a row and the number of people who may still answer it.
        """
        done: set[str] = set()
        given: defaultdict[str, int] = defaultdict(int)
        for answer in answers:
            if not self.counts(answer) or not (answer.label or answer.cannot_say):
                continue
            if answer.person == person:
                done.add(answer.id)
            elif answer.label:
                given[answer.id] += 1
        rows = []
        for row_id in self.queue["id"]:
            if row_id in done:
                continue
            if twice:
                if self.labeled_by.get(row_id) != person:
                    rows.append((row_id, len(self.queue)))
            elif row_id in self.unlabeled and given[row_id] < self.needed(row_id):
                rows.append((row_id, self.needed(row_id) - given[row_id]))
        return rows

    def cases(self, answers: Iterable[Answer]) -> list[Case]:
        """Return the rows that have to be settled, in the queue's order."""
        settled = self.store.settlements(self.name)
        by_row: dict[str, list[Answer]] = defaultdict(list)
        for answer in answers:
            if self.counts(answer) and answer.id not in settled and not answer.handed_in:
                by_row[answer.id].append(answer)
        cases = []
        for row_id in self.queue["id"]:
            labeled = [a for a in by_row[row_id] if a.label]
            unsure = [a for a in by_row[row_id] if a.cannot_say]
            differ = len({self.format.agreement_key(a.label) for a in labeled}) > 1
            if differ or (unsure and len(labeled) < self.needed(row_id)):
                cases.append(Case(row_id, labeled, unsure))
        return cases

    def settle(self, row_id: str, label: str, *, person: str, note: str = "") -> None:
        """Let a person decide a row; if nobody has a label for it, it is this person's answer.

        Raises:
            DataError: The row is not one that has to be settled.
        """
        answers = self.store.answers(self.name)
        case = next((case for case in self.cases(answers) if case.id == row_id), None)
        if case is None:
            raise DataError(f"row {row_id} of batch {self.name} needs no decision any more: it was "
                            "settled, or an answer has changed.")
        if case.answers:
            self.store.settle(self.name, Settlement(row_id, label, person, now(), note))
        else:
            self.store.save(self.name, Answer(row_id, person, label, now(), note=note))

    def ready(self, person: str, answers: Collection[Answer], *, alone: bool = False
              ) -> list[Answer]:
        """Return a person's answers that can be handed in, with the labels that were settled.

        Args:
            person: Whose.
            answers: Everybody's answers to the batch.
            alone: Also those that wait for a second person's answer.
        """
        settled = self.store.settlements(self.name)
        disputed = {case.id for case in self.cases(answers)}
        given: defaultdict[str, int] = defaultdict(int)
        for answer in answers:
            given[answer.id] += bool(answer.label and self.counts(answer))
        done = []
        for answer in answers:
            if answer.person != person or answer.handed_in or not answer.label:
                continue
            if answer.id in settled:
                done.append(_decided(answer, settled[answer.id].label))
            elif answer.id not in disputed and (
                    alone or given[answer.id] >= self.needed(answer.id)):
                done.append(answer)
        return done


def _decided(answer: Answer, label: str) -> Answer:
    """Return an answer with the settled label; what the person said is kept as their own answer."""
    own = answer.own_answer or ("" if answer.seen else answer.label)
    return Answer(answer.id, answer.person, label, answer.labelled_at, "", own, answer.seen,
                  answer.note)


def store_of(workspace: Workspace) -> AnswerStore:
    """Return the answers of a workspace."""
    return AnswerStore(workspace.state / "labelling" / "answers.db")


def batch_files(workspace: Workspace) -> list[Path]:
    """Return the queues' files, the newest last."""
    return sorted(workspace.labelling.glob("*.csv"), key=lambda p: p.stat().st_mtime_ns)


def require_batch(workspace: Workspace, name: str) -> Path:
    """Return the queue's file of a batch, by its name or how that begins; else raise DataError."""
    files = batch_files(workspace)
    matching = [p for p in files if p.stem == name] or [p for p in files if p.stem.startswith(name)]
    if len(matching) != 1:
        several = f"; {len(matching)} batches begin like that" if matching else nearest(
            name, [p.stem for p in files])
        raise DataError(f"there is no batch '{name}' in data/labelling{several}")
    return matching[0]


def open_batch(workspace: Workspace, config: Config, file: Path) -> LabelingBatch:
    """Return a batch; raises DataError if its labels or its file cannot be used."""
    rules = identity(workspace, config)
    queue = labeling_queue.with_suggestions(file, labeling_queue.read_queue(file))
    place = workspace.root / config.paths.cleaned
    cleaned = read_parquet(place) if place.is_file() else None
    place = workspace.root / config.paths.rejected
    rejected = set(read_parquet(place, columns=["text"])["text"]) if place.is_file() else set()
    refused = queue.loc[queue["text"].isin(rejected), "id"]
    labeled_by: Mapping[str, str] = {}
    if cleaned is not None:
        refused = refused[~refused.isin(cleaned["id"])]
        if "labelled_by" in cleaned:
            labeled_by = dict(zip(cleaned["id"], cleaned["labelled_by"], strict=True))
    waiting = submissions.waiting(file, cleaned, rules, row_log.reviewed(workspace))
    known = queue["suggestion"] if cleaned is None else cleaned["label"]
    labels = task_named(config.task.kind).labeling.label_format(config.data, rules, known)
    return LabelingBatch(
        file.stem, queue, labels, store_of(workspace), workspace.labelled,
        config.sampling.show_suggestions, config.sampling.overlap,
        frozenset([] if waiting is None else waiting["id"]), frozenset(refused), labeled_by)
