"""Where the rows of a step went: every one that came in is kept, rejected, or said to be gone.

Notebooks are there to be edited, and a line of a user's own may drop rows. The counts here come
from files and handles, not from what a notebook says of itself.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from ftzard.dataset import storage
from ftzard.errors import VersioningError
from ftzard.evaluation.gate import Verdict
from ftzard.notebooks import model_files
from ftzard.sources import delivering

if TYPE_CHECKING:
    from ftzard.notebooks.chapter import Chapter
    from ftzard.tracking.registry import Version


def dropped(chapter: "Chapter") -> int | None:
    """Return how many rows of a step the workspace's own code has dropped.

    They are those that came in and are neither among its outputs nor counted as rejected. None for
    a step that has no such account, or whose input cannot be counted; below zero if rows were
    added.
    """
    account = {"cleaning": _cleaning, "preprocessing": _preprocessing,
               "inference_preprocessing": _incoming, "inference": _inference}
    given = account[chapter.step.name](chapter) if chapter.step.name in account else None
    return None if given is None or None in given else given[0] - sum(given[1:])


def _cleaning(chapter: "Chapter") -> tuple | None:
    if chapter.labelled or not {"delivery", "cleaned", "rejected"} <= chapter.outputs.keys():
        return None
    batch = delivering.batch_of(chapter.workspace, chapter.path("delivery"))
    came, most = _delivered(chapter), chapter.config.data.sample_rows
    return (came if most is None or came is None else min(came, most),
            *(int((storage.read_parquet(chapter.path(name), columns=["batch"])["batch"] == batch
                   ).sum()) for name in ("cleaned", "rejected")))


def _delivered(chapter: "Chapter") -> int | None:
    """Return the rows of the delivery; the step has counted them if its file has lines."""
    counted = chapter.facts.get("file_rows")
    return delivering.rows_of(chapter.path("delivery"), chapter.config) if counted is None else (
        counted)


def _preprocessing(chapter: "Chapter") -> tuple | None:
    if "tokenized" not in chapter.outputs:
        return None
    facts = chapter.facts
    return (chapter.inputs["cleaned"].rows, chapter.outputs["tokenized"].rows,
            facts.get("near_duplicates", 0), facts.get("rows_without_room", 0))


def _incoming(chapter: "Chapter") -> tuple | None:
    if not {"delivery", "incoming_tokenized"} <= chapter.outputs.keys():
        return None
    facts = chapter.facts
    return (_delivered(chapter), chapter.outputs["incoming_tokenized"].rows,
            facts.get("rows_rejected", 0), facts.get("rows_without_room", 0))


def _inference(chapter: "Chapter") -> tuple | None:
    if "predictions" not in chapter.outputs:
        return None
    return chapter.inputs["incoming_tokenized"].rows, chapter.outputs["predictions"].rows


def sentence(count: int) -> str:
    """Return what is said of rows that the workspace's own code has dropped, or added."""
    rows = "1 row" if abs(count) == 1 else f"{abs(count):,} rows"
    if count < 0:
        return f"{rows} more come out than went in: this workspace's code has added them"
    return f"{rows} went in that are neither kept nor rejected: this workspace's code dropped them"


def vanished_test_rows(chapter: "Chapter", champion: "Version | None", rows: pd.DataFrame
                       ) -> dict[str, int]:
    """Return {batch: rows}: test rows of the champion's data version that there are no more.

    rows: tokenized rows of now. Nothing is returned if its data version cannot be had; that is
    said.
    """
    record = None if champion is None else model_files.read_record(chapter.workspace, champion)
    if record is None:
        return {}
    try:
        before = model_files.tokenized_rows(chapter.workspace, record, "test")
    except VersioningError as error:
        print(f"whether test rows of {champion} have disappeared is not known: {error}")
        return {}
    if before is None:
        return {}
    now = set(rows.loc[rows["split"] == "test", "id"])
    gone = before[~before["id"].isin(now)]
    return {str(batch): int(count) for batch, count in
            gone["batch"].value_counts(sort=False).items()}


def with_vanished(chapter: "Chapter", verdict: Verdict, champion: "Version | None",
                  rows: pd.DataFrame) -> Verdict:
    """Return the gate's verdict with a warning of test rows that have disappeared, if any have."""
    vanished = vanished_test_rows(chapter, champion, rows)
    chapter.log(test_rows_vanished=sum(vanished.values()))
    if not vanished:
        return verdict
    return replace(verdict, warnings=[*verdict.warnings, vanished_sentence(vanished, champion)])


def vanished_sentence(vanished: dict[str, int], champion: "Version") -> str:
    """Return what the gate says of test rows that have disappeared."""
    count = sum(vanished.values())
    rows, have = ("1 test row", "has") if count == 1 else (f"{count:,} test rows", "have")
    told = ", ".join(f"{n:,} of batch {batch}" for batch, n in vanished.items())
    return (f"{rows} that {champion} was judged on {have} disappeared ({told}): this comparison is "
            "made on the rows that are left.")
