"""The labelling queue as Label Studio takes it, and its export as Label Studio gives it back.

Label Studio has ids of its own, so a row's id travels as `row_id` in the task's data. How an export
is read stands in `label_studio_export`.
"""

import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from ftzard.errors import DataError

FROM, TO = "label", "text"
#: The side of a queue's rows that are asked to measure with.
AUDITED = "test"


def choices_interface(labels: Iterable[str], choice: str = "single") -> str:
    """Return the labelling interface (XML) of a new project: one choice of the labels.

    Args:
        choice: 'multiple' for any number of them.
    """
    choices = "\n".join(f'    <Choice value="{html.escape(str(label))}"/>' for label in labels)
    return (f'<View>\n  <Text name="{TO}" value="$text"/>\n'
            f'  <Choices name="{FROM}" toName="{TO}" choice="{choice}" required="true">\n'
            f"{choices}\n  </Choices>\n</View>\n")


def text_interface() -> str:
    """Return the interface for free text, which starts as the task's suggestion, if it has one."""
    return (f'<View>\n  <Text name="{TO}" value="$text"/>\n'
            f'  <TextArea name="{FROM}" toName="{TO}" rows="6" maxSubmissions="1" '
            'editable="true" required="true"/>\n</View>\n')


def choice(suggestion: str) -> tuple[str, dict]:
    """Return the type and the value of a result that is one choice."""
    return "choices", {"choices": [suggestion]}


def free_text(suggestion: str) -> tuple[str, dict]:
    """Return the type and the value of a result that is a text."""
    return "textarea", {"text": [suggestion]}


def tasks(queue: pd.DataFrame, model: str,
          result: Callable[[str], tuple[str, dict]] = choice) -> list[dict]:
    """Return a task per row of the queue, with the suggestion that it has as its prediction.

    Label Studio opens a task with its prediction filled in, so a row of the test side has none,
    whatever the queue says.

    Args:
        queue: the rows.
        model: name and version of the model whose suggestions they are.
        result: makes the type and the value of a result out of a suggestion.
    """
    imported = []
    for row in queue.itertuples(index=False):
        task = {"data": {"row_id": row.id, "batch": row.batch, "text": row.text}}
        if row.suggestion and row.side != AUDITED:
            kind, value = result(row.suggestion)
            task["predictions"] = [{
                "model_version": model, "score": float(row.confidence),
                "result": [{"from_name": FROM, "to_name": TO, "type": kind,
                            "value": value}]}]
        imported.append(task)
    return imported


def task_texts(path: Path) -> dict[str, str]:
    """Return {id: text} of the tasks that were written for a queue."""
    try:
        rows = [task["data"] for task in json.loads(Path(path).read_text(encoding="utf-8-sig"))]
        return {str(data["row_id"]): str(data["text"]) for data in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold the tasks of its queue ({type(error).__name__}: "
                        f"{error}); bring it back with 'dvc checkout'.") from error
