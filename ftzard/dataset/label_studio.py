"""The labelling queue as Label Studio takes it, and its export as Label Studio gives it back.

Label Studio has ids of its own, so a row's id travels as `row_id` in the task's data. Understood
are both JSON exports: JSON, with every annotation, and JSON-MIN, with one line per annotation. A
label is a choice, or, where there are no names to choose from, a text.
"""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

import pandas as pd

from ftzard.errors import DataError

FROM, TO = "label", "text"


def interface(labels: Iterable[str] | None) -> str:
    """Return the labelling interface (XML) that fits the tasks, to paste into a new project.

    labels: the label names, or None for free answers: one text, which starts as the suggestion.
    """
    if labels is None:
        return (f'<View>\n  <Text name="{TO}" value="$text"/>\n'
                f'  <TextArea name="{FROM}" toName="{TO}" rows="6" maxSubmissions="1" '
                'editable="true" required="true"/>\n</View>\n')
    choices = "\n".join(f'    <Choice value="{escape(str(label))}"/>' for label in labels)
    return (f'<View>\n  <Text name="{TO}" value="$text"/>\n'
            f'  <Choices name="{FROM}" toName="{TO}" choice="single" required="true">\n'
            f"{choices}\n  </Choices>\n</View>\n")


def tasks(queue: pd.DataFrame, model: str) -> list[dict]:
    """Return a task per row of the queue, with the model's suggestion as its prediction.

    model: name and version of the model whose suggestions they are. A queue with messages asks for
    free answers.
    """
    free = "messages" in queue
    return [{
        "data": {"row_id": row.id, "batch": row.batch, "text": row.text},
        "predictions": [{
            "model_version": model,
            "score": float(row.confidence),
            "result": [{"from_name": FROM, "to_name": TO, "type": "textarea",
                        "value": {"text": [row.suggestion]}} if free else
                       {"from_name": FROM, "to_name": TO, "type": "choices",
                        "value": {"choices": [row.suggestion]}}]}],
    } for row in queue.itertuples(index=False)]


def task_texts(path: Path) -> dict[str, str]:
    """Return {id: text} of the tasks that were written for a queue."""
    try:
        found = [task["data"] for task in json.loads(Path(path).read_text(encoding="utf-8-sig"))]
        return {str(data["row_id"]): str(data["text"]) for data in found}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold the tasks of its queue ({type(error).__name__}: "
                        f"{error}); bring it back with 'dvc checkout'.") from error


def read_export(path: Path) -> pd.DataFrame:
    """Return id, batch, text, label, labelled_by, labelled_at: a row per answer, as strings.

    A task that nobody answered, or that was skipped, has an empty label. Several texts by the same
    person for one task are a row each, and so contradict each other. Raises DataError for what is
    no export of tasks that were made from a queue.
    """
    try:
        items = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}); export it from Label Studio again, as "
                        "JSON or JSON-MIN.") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError(f"{path} holds a JSON {type(items).__name__}, expected Label Studio's list "
                        "of tasks; export the project as JSON or JSON-MIN.")
    rows = []
    for number, item in enumerate(items):
        try:
            rows += _answers(path, number, item)
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{path}, task {number + 1} is not as Label Studio writes it "
                            f"({type(error).__name__}: {error}); export it again.") from error
    if not rows:
        raise DataError(f"{path} holds no task; expected at least one.")
    names = ("id", "batch", "text", "label", "labelled_by", "labelled_at")
    return pd.DataFrame(rows, columns=list(names), dtype="str")


def _answers(path: Path, number: int, item: dict) -> list[tuple[str, ...]]:
    data = item.get("data", item)
    if not isinstance(data, dict) or "row_id" not in data:
        raise DataError(
            f"{path}, task {number + 1}: its data has no 'row_id', so it is not known which row it "
            "labels; import the queue's .json file into Label Studio, not its .csv file.")
    task = tuple(str(data.get(key, "")) for key in ("row_id", "batch", "text"))
    if "annotations" not in item:
        at = item.get("updated_at") or item.get("created_at") or ""
        return [(*task, label, _who(item.get("annotator")), str(at))
                for label in _labels(item.get(FROM))]
    given = [a for a in item["annotations"] if not a.get("was_cancelled")]
    return [(*task, label, _who(a.get("completed_by")),
             str(a.get("updated_at") or a.get("created_at") or ""))
            for a in given for label in _chosen(a.get("result") or [])] or [(*task, "", "", "")]


def _chosen(result: list[dict]) -> list[str]:
    found = [r["value"] for r in result if r.get("from_name") == FROM
             and r.get("value", {}).keys() & {"choices", "text"}]
    texts = [text for value in found if "choices" not in value for text in _labels(value)]
    return texts or _labels(found[0] if found else None)


def _labels(value: object) -> list[str]:
    """Return the labels of an answer: one, unless it is of several texts.

    Several choices stand side by side in one label, which will be refused.
    """
    if isinstance(value, dict) and "choices" not in value and "text" in value:
        texts = value["text"]
        return [str(text) for text in texts] or [""] if isinstance(texts, list) else [str(texts)]
    if isinstance(value, dict):
        value = value.get("choices")
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        return [label for part in value for label in _labels(part)]
    if isinstance(value, list):
        return [" | ".join(map(str, value))]
    return ["" if value is None else str(value)]


def _who(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    return "" if value is None else str(value)
