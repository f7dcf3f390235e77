"""The labelling queue as a file a person fills in, and what comes back of it.

A label counts only for the very text that was shown: what a spreadsheet changed, doubled or
invented is refused row by row, with a reason, and stays in the queue. Who gave a label and when is
kept with it; two people may label the same row, and where they differ, neither answer counts.
What a label may be, and how a typed one is read, is its `LabelFormat`.

Whether somebody agrees with the model, or with somebody else, is measured on blind answers only:
those given before the model's suggestion was seen. So the suggestions stand in a table of their own
beside the queue, and in the queue's file only where `sampling.show_suggestions` is `before`; the
queue's column `blind` says of which rows none ever stood there. Rows of the test side are never
asked with a suggestion.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ftzard.data import reading, spreadsheet
from ftzard.data.decoding import content_of, encoding_of, garbled
from ftzard.data.identity import canonical
from ftzard.data.labeling import label_studio_export
from ftzard.data.labeling.label_formats import LabelFormat, spaced
from ftzard.data.labeling.label_studio import AUDITED, task_texts
from ftzard.data.line_counts import LineCounts
from ftzard.data.messages import as_text
from ftzard.data.reading import file_type
from ftzard.data.storage import read_parquet, write_csv, write_parquet
from ftzard.errors import DataError

QUEUE = ["id", "batch", "text", "suggestion", "confidence", "side", "chosen_by", "group", "blind",
         "label"]
#: What `sampling.show_suggestions` may be: a person sees the model's suggestion never, once they
#: have answered, or from the beginning.
NEVER, AFTER, BEFORE = "never", "after", "before"
SHOW = (NEVER, AFTER, BEFORE)
YES, NO = "yes", "no"
#: What the table beside a queue keeps of each row that was ever asked.
SUGGESTIONS = ["id", "suggestion", "confidence", "model"]
#: What a queue of instructions keeps besides, of the rows that are asked.
OPTIONAL = ["messages", "source"]
LABELLED = ["id", "batch", "text", "label"]
GIVEN = ["labelled_by", "labelled_at"]
#: What a file of labels says of what was seen: the answer that was given before a suggestion was,
#: and that suggestion. Where nothing was seen, both are '', and the label is the person's own.
SEEN = ["own_answer", "seen"]
#: A file with one of these columns was written here, so its cells are escaped.
_OURS = ("blind", "own_answer")
UNKNOWN = "unknown"
EMPTY = "label empty"


def queue_columns(rows: Iterable[str]) -> list[str]:
    """Return the columns of a queue of rows with these columns; the last is the label."""
    return [*QUEUE[:-1], *(name for name in OPTIONAL if name in rows), QUEUE[-1]]


def queue_csv(queue: pd.DataFrame, path: Path) -> Path:
    """Write a queue for a person to fill in its last column, `label`.

    The file starts with a byte order mark, without which Excel would garble every emoji, and with
    it every label of such a row would be refused.
    """
    columns = queue_columns(queue.columns)
    queue = queue.assign(blind=blind(queue)).reindex(columns=columns, fill_value="")
    return write_csv(queue, path, encoding="utf-8-sig")


def read_queue(path: Path) -> pd.DataFrame:
    """Read a queue's file as strings, with whatever labels a person has filled in already.

    A queue of before has no column `blind`; its rows with a suggestion were not asked blind.
    """
    layout = _layout(path)
    rows = [row for _, row in reading.records(path, **layout)]
    queue = pd.DataFrame(rows, columns=reading.header(path, **layout), dtype="str")
    if "blind" in queue:
        queue = spreadsheet.unescaped(queue)
    for name in QUEUE:
        if name not in queue:
            queue[name] = ""
    return queue.assign(blind=blind(queue))


def blind(queue: pd.DataFrame) -> pd.Series:
    """Return, for each row of a queue, 'yes' if no suggestion ever stood beside it, else 'no'.

    It is what the column `blind` says; without it, rows with a suggestion were not asked blind.
    """
    none = pd.Series("", queue.index)
    column = queue.get("blind", none).fillna("").astype("str")
    shown = queue.get("suggestion", none).fillna("").astype("str") != ""
    return column.where(column.isin([YES, NO]), pd.Series(YES, queue.index).mask(shown, NO))


def asked_of(batch: str, row_id: str, overlap: float) -> int:
    """Return how many people a row is asked of: one, or two of the share `sampling.overlap`."""
    drawn = int.from_bytes(hashlib.sha256(f"{batch}/{row_id}".encode()).digest()[:8])
    return 2 if drawn < overlap * 2**64 else 1


def hide(queue: pd.DataFrame, show: str, overlap: float = 0.0) -> pd.DataFrame:
    """Return a queue without the suggestions that a person shall not see before they answer.

    Args:
        queue: with suggestion, confidence and side; a row's `blind` stays 'no' once it was.
        show: `sampling.show_suggestions`; whatever it is, rows of the test side have none.
        overlap: `sampling.overlap`; rows that two people are asked have none either.
    """
    hidden = (queue["side"] == AUDITED) | (show != BEFORE)
    hidden |= pd.Series([asked_of(batch, row_id, overlap) > 1 for batch, row_id in
                         zip(queue["batch"], queue["id"], strict=True)], queue.index, dtype=bool)
    queue = queue.assign(suggestion=queue["suggestion"].astype("str").mask(hidden, ""),
                         confidence=queue["confidence"].astype("str").mask(hidden, ""))
    return queue.assign(blind=blind(queue))


def suggestions_file(queue: Path) -> Path:
    """Return where the suggestions for the rows of a queue's file are kept."""
    return queue.parent / "suggestions" / f"{queue.stem}.parquet"


def keep_suggestions(path: Path, queue: pd.DataFrame, predictions: pd.DataFrame, model: str
                     ) -> Path:
    """Keep what the model suggests for the rows of a queue, beside its file; return the table.

    What was kept before stays, and so does what a queue of before says in its own file.

    Args:
        path: the queue's file, which may not be there yet.
        queue: its rows from now on.
        predictions: id, suggestion, confidence of all rows of the batch.
        model: name and version of the model whose suggestions they are.
    """
    tables = []
    place = suggestions_file(path)
    if place.is_file():
        tables.append(read_parquet(place))
    if path.is_file():
        before = read_queue(path)
        tables.append(before[before["suggestion"] != ""].assign(model=UNKNOWN))
    tables.append(predictions[predictions["id"].isin(queue["id"])].assign(model=model))
    table = pd.concat([part.reindex(columns=SUGGESTIONS) for part in tables], ignore_index=True)
    table = table.drop_duplicates("id").reset_index(drop=True)
    return write_parquet(table.assign(confidence=pd.to_numeric(table["confidence"])), place)


def with_suggestions(path: Path, queue: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a queue's file with what the model suggests for each, shown or not."""
    place = suggestions_file(path)
    if not place.is_file():
        return queue
    suggestions = read_parquet(place).set_index("id")
    confidence = suggestions["confidence"].map(lambda value: "" if pd.isna(value) else str(value))
    known = {"suggestion": suggestions["suggestion"].fillna(""), "confidence": confidence}
    return queue.assign(**{
        name: queue[name].where(queue["suggestion"] != "", queue["id"].map(values).fillna(""))
        for name, values in known.items()}).astype({"suggestion": "str", "confidence": "str"})


def read_asked(path: Path) -> pd.DataFrame:
    """Read a queue's file as `read_queue` does, with its texts as they were asked, and `changed`.

    It is the very file that a person fills in. Its tasks beside it, which nobody fills in, say
    which texts were asked; a row is `changed` if its messages do not say its text, and no label
    counts for it then. A label that stands beside a changed text is taken out.
    """
    queue = read_queue(path)
    tasks = path.with_suffix(".json")
    asked = queue["id"].map(task_texts(tasks) if tasks.is_file() else {})
    text = asked.where(asked.notna(), queue["text"]).astype("str")
    messages = queue["messages"] if "messages" in queue else pd.Series("", queue.index)
    changed = pd.Series([cell != "" and not _says(cell, words) for cell, words in
                         zip(messages, text, strict=True)], queue.index, dtype=bool)
    same = pd.Series([_same_text(a, b) for a, b in zip(queue["text"], text, strict=True)],
                     queue.index, dtype=bool)
    return queue.assign(text=text, changed=changed, label=queue["label"].where(same & ~changed, ""))


def _says(cell: str, text: str) -> bool:
    """Return whether messages, as JSON, say a text."""
    try:
        return spaced(as_text(json.loads(cell))) == spaced(text)
    except (json.JSONDecodeError, KeyError, TypeError):
        return False


def read_labelled(path: Path, *, by: str = UNKNOWN, at: str = "", free: bool | None = None
                  ) -> pd.DataFrame:
    """Read labels that came back, as strings: LABELLED, GIVEN and SEEN.

    Understands the separators and encodings that spreadsheets write, and Label Studio's exports.
    by, at: who gave the labels and when, for the rows of a file that does not say so itself. What
    a file without SEEN says is that nothing was seen.
    free: whether the labels are free answers, for exports that have both; None: whichever there is.
    """
    path = Path(path)
    if path.name.lower().endswith(".json") and path.is_file():
        table = label_studio_export.read_json(path, free=free)
    else:
        layout = _layout(path)
        header = reading.header(path, **layout)
        renamed = {"id": "row_id", "labelled_by": "annotator", "labelled_at": "updated_at"}
        renamed = renamed if "row_id" in header else {}  # Label Studio's CSV
        wanted = {name: renamed.get(name, name) for name in LABELLED}
        answers = label_studio_export.label_columns(header) if renamed else []
        if renamed:
            del wanted["label"]
            wanted |= {f"answer {name}": name for name in answers}
        wanted |= {name: column for name in (*GIVEN, *(() if renamed else SEEN))
                   if (column := renamed.get(name, name)) in header}
        table = pa.table(reading.read_cells(path, wanted, **layout)).to_pandas()
        if not renamed and not set(_OURS).isdisjoint(header) and file_type(path).startswith(".csv"):
            table = spreadsheet.unescaped(table)
        if renamed:
            cells = {name: table.pop(f"answer {name}") for name in answers}
            table["label"] = label_studio_export.csv_labels(path, cells, free=free)
        # A class of another spelling is refused as no class; an answer would count as it is.
        wrong = garbled(table["label"]) if free and layout.get("encoding") == "cp1252" else ""
        if wrong:
            raise DataError(
                f"{path} is not UTF-8, and an answer, read as cp1252, holds {wrong[:40]!r}, which "
                "looks like another encoding. Save the file as UTF-8 (Excel: 'CSV UTF-8'), and "
                "hand it in again.")
    for name, value in zip(GIVEN, (by, at), strict=True):
        given = table[name].str.strip() if name in table else pd.Series("", table.index)
        table[name] = given.where(given != "", value).astype("str")
    return table.assign(**{name: "" for name in SEEN if name not in table})


def count_lines(path: Path) -> LineCounts | None:
    """Return how the lines of a file with labels became rows, None where it has none."""
    if path.name.lower().endswith(".json"):
        return None
    return reading.count_lines(path, **_layout(path))


def _layout(path: Path) -> dict[str, str]:
    """Return how a file is written, as the readers take it.

    An encoding that is guessed wrongly changes texts, and a changed text is refused.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return {}  # reading it will say so
    kind = file_type(path)
    if kind == ".parquet":
        return {}
    content = content_of(path, kind)
    encoding = encoding_of(content)
    if kind == ".jsonl":
        return {"encoding": encoding}
    first = re.split("[\r\n]", content.decode(encoding, errors="replace").removeprefix("\ufeff"),
                     maxsplit=1)[0]
    return reading.find_layout(path, encoding=encoding, delimiter=max(",;\t", key=first.count))[0]


def _same_text(given: str, asked: str) -> bool:
    """Return whether a text came back as it was asked, escaped for a spreadsheet or not."""
    return spreadsheet.same(given, asked, spaced)


def _own_answers(labelled: pd.DataFrame, asked: pd.DataFrame | None, labels: LabelFormat
                 ) -> pd.Series:
    """Return each row's answer that was given blind, '' where there is none.

    A row counts as asked blind only if its queue says so.
    """
    unseen = labelled["label"].where(labelled["seen"] == "", "")
    own = labelled["own_answer"].where(labelled["own_answer"] != "", unseen)
    own = labels.parse(own).fillna("").astype("str")
    if asked is None:
        return pd.Series("", labelled.index, dtype="str")
    return own.where(labelled["id"].map(blind(asked)).eq(YES), "")


def short(label: str) -> str:
    """Return a label on one line of at most 60 characters."""
    line = " ".join(label.split())
    return line if len(line) <= 60 else f"{line[:60]}…"


def _whole(labelled: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in LABELLED if name not in labelled]
    if missing:
        raise DataError(
            f"The labelled rows have no column '{missing[0]}'; hand in the queue's file with its "
            f"columns as they were. Found: {', '.join(map(str, labelled.columns))}."
        )
    labelled = labelled.reindex(columns=[*LABELLED, *GIVEN, *SEEN], fill_value="")
    labelled = labelled.fillna("").astype("str").reset_index(drop=True)
    return labelled.assign(id=canonical(labelled["id"], numbers=False))


def _first_look(labelled: pd.DataFrame, chosen: pd.Series, asked: pd.DataFrame | None,
                labels: LabelFormat) -> list[str]:
    """Return the reason against each row by itself, '' for a label that may count."""
    reasons = []
    changed = set() if asked is None or "changed" not in asked else set(
        asked.index[asked["changed"].eq(True)])
    for row, name in zip(labelled.itertuples(index=False), chosen, strict=True):
        reason = ""
        if asked is not None and row.id not in asked.index:
            reason = f"unknown id '{row.id[:40]}'"
        elif asked is not None and (row.id in changed or not _same_text(
                row.text, asked.at[row.id, "text"])):
            reason = "changed text"
        elif not row.label.strip() or not name:
            reason = EMPTY
        elif not isinstance(name, str):
            reason = labels.unknown(row.label)
        reasons.append(reason)
    return reasons


def accept(
    labelled: pd.DataFrame, queue: pd.DataFrame | None, labels: LabelFormat
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the labels a person gave: returns (accepted, refused).

    Accepted has row (of `labelled`, from 0), id, batch, text, label, labelled_by, labelled_at and
    own_answer ('' unless it was given blind), with batch and text as they were asked, so that
    `clean` can take it; refused has row, id, batch, text, label, labelled_by, own_answer and seen
    as given, and one reason each. A refused row is still in the queue: its label can be handed in
    again. A second person's answer that agrees with the first is neither.

    Args:
        queue: What was asked (None: whatever ids come are taken), with `changed`, if it has that,
            for rows that are not as they were asked.
        labels: What a label may be.
    """
    labelled = _whole(labelled)
    chosen = labels.parse(labelled["label"])
    asked = None if queue is None else queue.drop_duplicates("id").set_index("id")
    own = _own_answers(labelled, asked, labels)
    reasons = pd.Series(_first_look(labelled, chosen, asked, labels), labelled.index,
                        dtype="object")
    counting = labelled.assign(name=chosen)[reasons == ""]
    second = []
    for _, same in counting.groupby("id", sort=False):
        if len(same) == 1:
            continue
        if same["name"].map(labels.agreement_key).nunique() > 1:
            people = same.drop_duplicates("labelled_by")
            if len(people) > 1:
                repeats = ", ".join(
                    f"{r.labelled_by} {short(r.name_)}" for r in
                    people.rename(columns={"name": "name_"}).itertuples(index=False))
                reasons[same.index] = f"labelled differently by two people: {repeats}"
            else:
                reasons[same.index] = "doubled id with different labels"
            continue
        repeated = same["labelled_by"].duplicated()
        reasons[same.index[repeated]] = "doubled id"
        second += list(same.index[~repeated])[1:]
    rows = []
    for row, name, blindly, reason in zip(labelled.itertuples(index=False), chosen, own, reasons,
                                          strict=True):
        source = row if asked is None or reason else asked.loc[row.id]
        rows.append((row.id, source.batch, source.text, row.label if reason else name,
                     row.labelled_by, row.labelled_at, row.own_answer if reason else blindly,
                     row.seen))
    table = pd.DataFrame(rows, columns=[*LABELLED, *GIVEN, *SEEN], dtype="str")
    table.insert(0, "row", range(len(table)))
    good = (reasons == "").to_numpy() & ~table.index.isin(second)
    refused = table[reasons.to_numpy() != ""].drop(columns="labelled_at")
    refused = refused.assign(reason=reasons[reasons != ""].astype("str"))
    return (table[good].drop(columns="seen").reset_index(drop=True),
            refused.reset_index(drop=True))


def labelled_twice(
    labelled: pd.DataFrame, queue: pd.DataFrame, labels: LabelFormat,
    earlier: pd.DataFrame | None = None,
) -> list[tuple[str, str]]:
    """Return the pairs of labels that two people gave to the same row, both before they had seen
    the model's suggestion.

    Args:
        earlier: Cleaned rows with labelled_by and own_answer, of deliveries before this one; those
            of before that column was kept make no pair. Each pair is in the order of the people's
            names; an answer that does not count by itself makes no pair.
    """
    labelled = _whole(labelled)
    chosen = labels.parse(labelled["label"])
    asked = queue.drop_duplicates("id").set_index("id")
    own = _own_answers(labelled, asked, labels)
    reasons = _first_look(labelled, chosen, asked, labels)
    answers = labelled.assign(name=own)[[reason == "" for reason in reasons]]
    answers = answers.loc[answers["name"] != "", ["id", "labelled_by", "name"]]
    if earlier is not None and {"labelled_by", "own_answer"} <= set(earlier):
        before = earlier[(earlier["own_answer"].fillna("") != "")
                         & earlier["id"].isin(answers["id"])]
        before = before[["id", "labelled_by", "own_answer"]].rename(columns={"own_answer": "name"})
        answers = pd.concat([answers, before], ignore_index=True)
    answers = answers.drop_duplicates(["id", "labelled_by"]).sort_values(["id", "labelled_by"])
    return [(a, b) for _, same in answers.groupby("id") if len(same) > 1
            for a, b in zip(same["name"].iloc[:-1], same["name"].iloc[1:], strict=True)]


def agreement(pairs: Sequence[tuple[str, str]]) -> dict[str, float | int | None]:
    """Return how often two answers to the same row agree: rows, share, and Cohen's kappa.

    kappa is 1 for complete agreement and 0 for what chance alone would give; None where it is not
    defined, that is without rows or if both always said the same one label.
    """
    if not pairs:
        return {"rows": 0, "share": None, "kappa": None}
    first, second = pd.Series([a for a, _ in pairs]), pd.Series([b for _, b in pairs])
    observed = float((first == second).mean())
    one, two = (side.value_counts(normalize=True) for side in (first, second))
    chance = float(one.mul(two, fill_value=0.0).sum())
    kappa = None if chance > 1 - 1e-12 else (observed - chance) / (1 - chance)
    return {"rows": len(pairs), "share": observed, "kappa": kappa}
