"""Labelled rows as they come back from a person, in the shape of cleaned rows.

What cannot count comes back in a file of its own, each row with its reason, so that it can be
mended and handed in again; the good rows do not wait for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.core.artifacts import write_atomically
from ftzard.core.escaping import visible
from ftzard.data.identity import FIRST
from ftzard.data.labeling import labeling_queue
from ftzard.data.labeling.label_formats import LabelFormat, typed
from ftzard.data.labeling.label_studio import AUDITED
from ftzard.data.normalization import asked_keys
from ftzard.data.storage import read_parquet, write_csv
from ftzard.errors import DataError

#: Whose agreement with a person's blind answers is told: the model's on all rows, on those drawn
#: by chance of either side, and that of another person.
COMPARED = ("model", "random_rows", "audit_rows", "labellers")


@dataclass(frozen=True)
class HandedIn:
    """What came of a file with labels.

    Attributes:
        cleaned: The rows that count, as `clean` would return them, with labelled_by and
            labelled_at.
        rejected: Those that do not, as `clean` would reject them.
        refused: The same as they were given, to be mended.
        facts: Who labelled how much, what of it blind, and who agreed with whom.
    """

    cleaned: pd.DataFrame
    rejected: pd.DataFrame
    refused: pd.DataFrame
    facts: dict

    @property
    def numbers(self) -> dict[str, float]:
        """The facts that are numbers, under names that tracking takes."""
        flat = {f"labels_{key}": value for key, value in self.facts.items()
                if isinstance(value, int)}
        for who in COMPARED:
            for key, value in self.facts[who].items():
                if value is not None:
                    flat[f"agreement_{who}_{key}"] = value
        return flat

    @property
    def sentence(self) -> str:
        """What of the labels was given blind, and what of the test rows was not."""
        blind, accepted = self.facts["blind"], self.facts["accepted"]
        sentence = (f"{blind:,} of {accepted:,} labels were given before the model's suggestion "
                    "was seen; agreement is of those.")
        seen = self.facts["audit_not_blind"]
        if seen:
            sentence += (f" {seen:,} of the batch's test rows were asked with a suggestion in "
                         "sight, as earlier versions did: they count as test rows, but not as "
                         "labelled blind.")
        return sentence


def queues(folder: Path) -> pd.DataFrame | None:
    """Return every row that is or was asked for: all queue files of a folder, or None.

    The texts are those that were asked, whatever the files say by now (`labelling.read_asked`);
    the suggestions are what the model says of each row, whether or not the queue shows it.
    """
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        return None
    return pd.concat([labeling_queue.with_suggestions(f, labeling_queue.read_asked(f))
                      for f in files],
                     ignore_index=True).drop_duplicates("id")


def waiting(path: Path, cleaned: pd.DataFrame | None, identity: int = FIRST
            ) -> pd.DataFrame | None:
    """Return the rows of one queue's file that are not labelled yet, or None without any.

    A label that is filled in but not handed in stays where it is; one beside a text that was
    changed does not, and a row whose messages were changed is asked no longer.

    Args:
        cleaned: The rows of all batches; a row is labelled when its words stand there, by version
            `identity` of the rules.
    """
    if not Path(path).is_file():
        return None
    queue = labeling_queue.read_asked(path)
    queue = queue[~queue["changed"]].drop(columns="changed")
    if cleaned is not None:
        known = set(asked_keys(cleaned["text"], identity).to_pylist())
        words = asked_keys(queue["text"], identity).to_pylist()
        words = pd.Series(words, queue.index, dtype="str")
        queue = queue[~words.isin(known) & ~queue["id"].isin(cleaned["id"])]
    return queue.reset_index(drop=True) if len(queue) else None


def texts_of_test_rows(folder: Path, tokenized: pd.DataFrame | None) -> list[str]:
    """Return every text that is a test row, or was asked for as one and still waits."""
    asked = queues(folder)
    waiting = [] if asked is None else asked.loc[asked["side"] == "test", "text"].tolist()
    known = [] if tokenized is None else tokenized.loc[tokenized["split"] == "test",
                                                       "text"].tolist()
    return [*known, *waiting]


def time_of(path: Path) -> str:
    """Return when a file was last changed, in UTC to the second."""
    return datetime.fromtimestamp(Path(path).stat().st_mtime, UTC).isoformat(timespec="seconds")


def read(path: Path, *, batch: str, queue: pd.DataFrame | None, labels: LabelFormat,
         earlier: pd.DataFrame | None = None, at: str = "") -> HandedIn:
    """Return what counts and what does not of a file with labels that a person handed in.

    Args:
        path: The file.
        at: When it was labelled, if the file does not say so; the others: see `accept`.
    """
    require_queue(path.name, queue)
    given = labeling_queue.read_labelled(path, at=at, free=labels.free_text)
    return accept(given, path.name, batch=batch, queue=queue, labels=labels, earlier=earlier)


def require_queue(name: str, queue: pd.DataFrame | None) -> None:
    """Raise DataError for a file with labels where nothing was asked for yet."""
    if queue is None:
        raise DataError(
            f"{name} holds labels, but no row was ever asked for: data/labelling is empty. "
            "Run the inference job on a batch first, or hand the rows in as raw data.")


def accept(given: pd.DataFrame, name: str, *, batch: str, queue: pd.DataFrame,
           labels: LabelFormat, earlier: pd.DataFrame | None = None) -> HandedIn:
    """Return what counts and what does not of rows with labels that a person handed in.

    Accepted rows keep the id and batch under which they were asked. Rows left empty are neither:
    they stay in the queue.

    Args:
        given: the rows, as `labeling_queue.read_labelled` returns them.
        name: of their file.
        batch: of the delivery, under which refused rows are kept.
        queue: what was asked.
        labels: what a label may be.
        earlier: the cleaned rows of all batches, whose labels may be corrected if they came from a
            person.
    """
    by_hand = None
    if earlier is not None and "labelled_by" in earlier:
        by_hand = earlier[earlier["labelled_by"] != ""]
    columns = ["id", "batch", "text", "group", *labels.queue_columns]
    asked = queue.assign(blind=labeling_queue.blind(queue))
    if by_hand is not None:  # their queue may be gone: blind is what is known to be
        own = by_hand.get("own_answer", pd.Series("", by_hand.index)).fillna("")
        asked = pd.concat([asked, by_hand.filter(columns).assign(
            blind=own.map(lambda answer: labeling_queue.YES if answer else labeling_queue.NO))],
            ignore_index=True)
    asked = asked.drop_duplicates("id")
    accepted, refused = labeling_queue.accept(given, asked, labels)
    cleaned = accepted.assign(row=np.arange(len(accepted), dtype="int64"))
    cleaned = cleaned[["id", "batch", "row", "text", "label", *labeling_queue.GIVEN, "own_answer"]]
    empty = int((refused["reason"] == labeling_queue.EMPTY).sum())
    if empty == len(given):
        raise DataError(f"{name}: none of its {empty} rows has a label; fill in the column "
                        "'label' and put the file back into data/labelled.")
    refused = refused[refused["reason"] != labeling_queue.EMPTY].reset_index(drop=True)
    rejected = pd.DataFrame({
        "batch": pd.Series([batch] * len(refused), dtype="str"),
        "row": np.arange(len(refused), dtype="int64"),
        "text": refused["text"].astype("str"),
        "reason": refused["reason"].astype("str")})
    known = asked.set_index("id").reindex(cleaned["id"])
    cleaned = labels.completed(cleaned, known)
    groups = known["group"].fillna("")
    if (groups != "").any():  # it decides the side of the row, as it did when the row was asked for
        cleaned = cleaned.assign(group=groups.to_numpy())
    changed = 0
    if by_hand is not None:
        before = by_hand.set_index("id")["label"].reindex(cleaned["id"])
        changed = int((before.notna() & (before.to_numpy() != cleaned["label"].to_numpy())).sum())
    facts = {
        "accepted": len(cleaned), "refused": len(refused), "left_empty": empty, "changed": changed,
        "labelled_by": cleaned["labelled_by"].value_counts().to_dict(),
        "blind": int((cleaned["own_answer"] != "").sum()),
        "audit_not_blind": int((known["side"].eq(AUDITED).to_numpy()
                                & (cleaned["own_answer"] == "").to_numpy()).sum()),
        "model": _with_model(known, cleaned["own_answer"]),
        "random_rows": _with_model(known, cleaned["own_answer"], "random"),
        "audit_rows": _with_model(known, cleaned["own_answer"], "audit"),
        "labellers": labeling_queue.agreement(
            labeling_queue.labelled_twice(given, asked, labels, by_hand)),
    }
    if labels.free_text:  # agreement by chance is for labels that come from a few names
        for who in COMPARED:
            facts[who]["kappa"] = None
    return HandedIn(cleaned, rejected, refused, facts)


def _with_model(known: pd.DataFrame, own: pd.Series, chosen_by: str | None = None) -> dict:
    """Return the agreement of blind answers with the model's suggestions.

    known: what was asked, in the order of `own`, the answers given blind ('' where one was not);
    chosen_by: only of rows that were chosen in this way.
    """
    suggestion = known["suggestion"].fillna("").to_numpy()
    picked = (suggestion != "") & (own != "").to_numpy()
    if chosen_by is not None:
        picked &= (known["chosen_by"].fillna("") == chosen_by).to_numpy()
    return labeling_queue.agreement(list(zip(suggestion[picked], own.to_numpy()[picked],
                                        strict=True)))


def report_refused(refused: pd.DataFrame, folder: Path, file: str, *, at: str) -> Path | None:
    """Write the refused rows of a file, and a report on them, into `folder`; return the rows' file.

    The rows' file has the columns of the queue and `reason`: mend its rows and hand it in. None,
    and nothing is written, if no row was refused.
    """
    if refused.empty:
        return None
    path = folder / f"{Path(file).name.split('.', 1)[0]}.refused.csv"
    columns = ["row", "id", "batch", "text", "label", "labelled_by", *labeling_queue.SEEN, "reason"]
    write_csv(refused[columns], path, encoding="utf-8-sig")
    lines = [f"{row.reason}: row {row.row + 1}, id {row.id}, label "
             f"'{labeling_queue.short(row.label)}'" for row in refused.itertuples(index=False)]
    counted = "\n".join(f"  {count:>5}  {reason}" for reason, count in
                        refused["reason"].value_counts().items())
    text = (f"{len(refused)} rows of {file} were refused on {at}; all others were used.\n\n"
            f"{counted}\n\nwhat to do  Mend the label (or the text) of these rows in {path.name} "
            "and put it into data/labelled. A label that is meant so is named in data.labels of "
            "ftzard.yaml first. They also stay in the queue.\n\n" + "\n".join(lines)
            + "\n")
    write_atomically(path.with_name(f"{path.name}.report.txt"),
                     lambda part: part.write_text(visible(text), encoding="utf-8"))
    return path


def new_labels(path: Path, cleaned: Path, *, free: bool | None = None) -> int:
    """Return how many rows of a file have a label that the cleaned rows do not have yet.

    Whether the labels will count is not looked at.

    Args:
        cleaned: Their file, which may be missing.
        free: Whether labels are free answers.
    """
    given = labeling_queue.read_labelled(path, free=free)
    given = given[given["label"].str.strip() != ""].drop_duplicates("id")
    if not Path(cleaned).is_file():
        return len(given)
    known = read_parquet(cleaned, columns=["id", "label"]).drop_duplicates("id").set_index("id")
    before = typed(known["label"].reindex(given["id"]))
    return int((before.to_numpy() != typed(given["label"]).to_numpy()).sum())


def join(files: Sequence[Path], target: Path, *, free: bool | None = None) -> Path:
    """Write the labels of several files into one, and move them into the folder `joined` beside it.

    Rows without a label are left out; who labelled and when stays with each row. free: whether
    labels are free answers.
    """
    parts = [labeling_queue.read_labelled(path, at=time_of(path), free=free) for path in files]
    rows = pd.concat(parts, ignore_index=True)
    write_csv(rows[rows["label"].str.strip() != ""], target, encoding="utf-8-sig")
    folder = target.parent / "joined"
    folder.mkdir(exist_ok=True)
    for path in files:
        path.replace(folder / f"{target.stem}.{path.name}")
    return target
