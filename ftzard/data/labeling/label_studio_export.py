"""An export of Label Studio, as rows with labels.

Read are JSON, with every annotation (or `completions`, as old versions call them), JSON-MIN, with
an object per annotation, and CSV. Whoever made the project named its controls: the labels are the
answers of the control `label`, else of the only control that fits. What holds no label that can be
read is refused, so that nobody waits for it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ftzard.core import free_memory
from ftzard.data import json_lines
from ftzard.data.labeling.label_studio import FROM
from ftzard.errors import DataError

COLUMNS = ("id", "batch", "text", "label", "labelled_by", "labelled_at")
#: What the task's data says, as `label_studio.tasks` writes it.
DATA = ("row_id", "batch", "text")
#: What JSON-MIN and CSV have beside the task's data and the answers.
_META = {
    "agreement", "annotation_id", "annotator", "annotators", "cancelled_annotations",
    "comment_authors", "comment_count", "completed_by", "created_at", "draft_count", "drafts",
    "file_upload", "ground_truth", "id", "inner_id", "last_comment_updated_at", "lead_time", "meta",
    "overlap", "predictions", "project", "task", "total_annotations", "total_predictions",
    "unresolved_comment_count", "updated_at", "updated_by", "was_cancelled"}
#: Types of answers that can be labels -> the key of a result's value that holds them.
_KINDS = {"choices": "choices", "rating": "rating", "taxonomy": "taxonomy", "number": "number",
          "textarea": "text"}
_CLASSES = ("choices", "rating", "taxonomy", "number")


@dataclass(frozen=True)
class _Annotation:
    """One person's answers to one task: control -> (kind, values), one per region."""

    task: tuple[str, str, str]
    answers: Mapping[str, list[tuple[str, object]]]
    by: str = ""
    at: str = ""


def read_json(path: Path, *, free: bool | None = None) -> pd.DataFrame:
    """Return id, batch, text, label, labelled_by, labelled_at: a row per answer, as strings.

    A task that nobody answered, or that was skipped, has an empty label; several choices are one
    label, which is no name of a label and so is refused. Several texts by the same person for one
    task are a row each, and so contradict each other.

    Args:
        path: the file.
        free: whether labels are free answers, or one of a few names; None: whichever there is.

    Raises:
        DataError: For what is no export of tasks that were made from a queue, for one without any
            answer, and for one whose controls do not say which of them holds the labels.
    """
    free_memory.require_for_text(Path(path), Path(path).stat().st_size)
    try:
        items = json_lines.parse(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); export it from Label Studio again, as "
                        "JSON or JSON-MIN.") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError(f"{path} holds a JSON {type(items).__name__}, expected Label Studio's list "
                        "of tasks; export the project as JSON or JSON-MIN.")
    if not items:
        raise DataError(f"{path} holds no task; expected at least one.")
    annotations: list[_Annotation] = []
    for number, item in enumerate(items):
        try:
            annotations += _annotations(path, number, item)
        except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
            raise DataError(f"{path}, task {number + 1} is not as Label Studio writes it "
                            f"({type(error).__name__}: {error}); export it again.") from error
    kinds: dict[str, str] = {}
    for annotation in annotations:
        for name, values in annotation.answers.items():
            kinds.setdefault(name, values[0][0])
    if not kinds:
        raise DataError(_unanswered(path, items))
    control = _control(path, kinds, free)
    rows = [(*a.task, label, a.by, a.at) for a in annotations
            for label in _labels(a.answers.get(control, []), free)]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype="str")


def label_columns(header: Collection[str]) -> list[str]:
    """Return the columns of a CSV export that may hold the labels: `label`, or all answers."""
    if FROM in header:
        return [FROM]
    return [name for name in header if name not in _META and name not in DATA]


def csv_labels(path: Path, columns: Mapping[str, Iterable[str]], *, free: bool | None = None
               ) -> list[str]:
    """Return the labels of a CSV export, a label per line; '' where there is none.

    Args:
        path: the file, to name it.
        columns: the cells of each of the `label_columns`.
        free: as `read_json` takes it.

    Raises:
        DataError: If no column, or more than one, could hold the labels.
    """
    cells = {name: [_cell(cell, free) for cell in values] for name, values in columns.items()}
    kinds = {name: next(kind for value in values for kind in _kinds(value))
             for name, values in cells.items() if any(map(_kinds, values))}
    if not kinds and FROM in cells:
        return [""] * len(cells[FROM])
    if not kinds:
        raise DataError(
            f"{path} is an export of Label Studio without any answer: beside its tasks it has "
            f"{_quoted(columns) or 'no column'}, and nothing in it. Export the project once its "
            f"tasks are labelled, with a control named '{FROM}'.")
    control = _control(path, kinds, free)
    return [" | ".join(_labels(_values(value), free)) for value in cells[control]]


def _cell(cell: str, free: bool | None) -> object:
    """Return a cell of a CSV export as JSON-MIN has it; a free answer may look like JSON."""
    if cell[:1] in ("{", "[") and not free:
        try:
            return json_lines.parse(cell)
        except ValueError:
            return cell
    return cell


def _annotations(path: Path, number: int, item: dict) -> list[_Annotation]:
    data = item.get("data", item)
    if not isinstance(data, dict) or "row_id" not in data:
        raise DataError(
            f"{path}, task {number + 1}: its data has no 'row_id', so it is not known which row it "
            "labels; import the queue's .json file into Label Studio, not its .csv file.")
    task = tuple(str(data.get(key, "")) for key in DATA)
    given = item.get("annotations", item.get("completions"))
    if given is None:
        names = [] if "data" in item else label_columns(item)
        answers = {name: values for name in names
                   for values in [_values(item.get(name))] if values}
        at = item.get("updated_at") or item.get("created_at") or ""
        return [_Annotation(task, answers, _who(item.get("annotator")), str(at))]
    annotations = []
    for annotation in given:
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            continue
        answers = {}
        for result in annotation.get("result") or []:
            value = result.get("value")
            if "from_name" in result and isinstance(value, dict):
                kind = result.get("type") or _kind_of(value)
                answers.setdefault(str(result["from_name"]), []).append(
                    (kind, value.get(_KINDS.get(kind))))
        at = annotation.get("updated_at") or annotation.get("created_at") or ""
        who = _who(annotation.get("completed_by"))
        annotations.append(_Annotation(task, answers, who, str(at)))
    return annotations or [_Annotation(task, {})]


def _kind_of(value: Mapping) -> str:
    if "start" in value:
        return "labels"
    return next((kind for kind, key in _KINDS.items() if key in value), "something else")


def _values(value: object) -> list[tuple[str, object]]:
    """Return (kind, value) of each answer of a control in JSON-MIN, which does not say the kind."""
    if value is None or value in ("", [], {}):
        return []
    if isinstance(value, dict):
        kind = _kind_of(value)
        return [(kind, value.get(_KINDS.get(kind)))]
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return [answer for part in value for answer in _values(part)]
    if isinstance(value, list) and all(isinstance(part, list) for part in value):
        return [("taxonomy", value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [("rating", value)]
    return [("choice or text", value)]


def _kinds(value: object) -> list[str]:
    return [kind for kind, _ in _values(value)]


def _control(path: Path, kinds: Mapping[str, str], free: bool | None) -> str:
    """Return the control whose answers are the labels, of those with an answer and their kinds."""
    known = {name: kind for name, kind in kinds.items() if kind in (*_KINDS, "choice or text")}
    if FROM in known:
        return FROM
    open_kinds = [name for name, kind in known.items() if kind == "choice or text"]
    texts = [name for name, kind in known.items() if kind == "textarea"]
    choices = [name for name, kind in known.items() if kind == "choices"]
    classes = choices or [name for name, kind in known.items() if kind in _CLASSES]
    fitting = {True: texts + open_kinds, False: classes + open_kinds}.get(
        free, classes + open_kinds or texts)
    if len(fitting) == 1:
        return fitting[0]
    candidates = ", ".join(f"'{name}' ({kind})" for name, kind in kinds.items())
    wanted = "of free text" if free else "of choices"
    raise DataError(
        f"{path} has the control{'s' if len(kinds) > 1 else ''} {candidates}; expected the labels "
        f"in one named '{FROM}', or in the only one {wanted}. Name the one that holds them "
        f"'{FROM}': in the labelling interface before the tasks are labelled, or in this export "
        "(from_name in JSON, the key in JSON-MIN, the column in CSV).")


def _labels(values: list[tuple[str, object]], free: bool | None) -> list[str]:
    """Return the labels of a control's answers: one, unless they are several texts.

    Several choices stand side by side in one label, which will be refused.
    """
    if any(kind == "textarea" or kind == "choice or text" and free for kind, _ in values):
        return [str(text) for _, value in values
                for text in (value if isinstance(value, list) else [value])] or [""]
    names: list[str] = []
    for kind, value in values:
        for part in value if isinstance(value, list) else [value]:
            if kind == "taxonomy" and isinstance(part, list):
                part = " / ".join(map(str, part))
            if isinstance(part, float) and part.is_integer():
                part = int(part)
            names.append("" if part is None else str(part))
    return [" | ".join(dict.fromkeys(names))]


def _unanswered(path: Path, items: list[dict]) -> str:
    suggested = sum(bool(item.get("predictions")) for item in items)
    predicted_only = (f", only the predictions of a model in {suggested} of them" if suggested
                      else "")
    return (f"{path} holds {len(items)} tasks of Label Studio and no answer of a "
            f"person{predicted_only}; expected labels. Export the project once its tasks are "
            "labelled.")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _who(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    return "" if value is None else str(value)
