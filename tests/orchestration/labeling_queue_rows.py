"""Queues of rows that wait for labels, for the tests of the labeling page."""

import pandas as pd

from ftzard.core.yaml_file import dump
from ftzard.data.labeling.labeling_queue import hide, keep_suggestions, queue_csv
from ftzard.data.messages import one_turn, to_json
from ftzard.data.storage import write_parquet
from ftzard.workspace.workspace import Workspace

BATCH = "abc123"


def ask(workspace: Workspace, texts, *, labels=("glad", "sad"), task=None, side="train",
        suggestions=None, **sampling) -> list[str]:
    """Put texts into a workspace's queue; return their ids."""
    free = task == "instruction_tuning"
    config: dict = {"sampling": sampling}
    if free:
        config |= {"task": task, "data": {"choice": "instructions"},
                   "tuning": {"metric": "validation_loss"}}
    else:
        config |= {"task": task} if task else {}
        config |= {"tuning": {"metric": "validation_loss"}} if task else {}
        config["data"] = {"labels": {f"l{n}": name for n, name in enumerate(labels)}}
    (workspace.root / "ftzard.yaml").write_text(dump(config), encoding="utf-8")
    ids = [f"r{n}" for n in range(len(texts))]
    queue = pd.DataFrame({
        "id": ids, "batch": BATCH, "text": list(texts), "side": side, "chosen_by": "margin",
        "suggestion": suggestions or "", "confidence": "0.6" if suggestions else "", "label": ""})
    if free:
        queue["source"] = ""
        queue["messages"] = [to_json(one_turn(text)) for text in texts]
    place = workspace.labelling / f"{BATCH}.csv"
    if suggestions:
        keep_suggestions(place, queue, queue.assign(confidence=0.6), "M@1")
    queue_csv(hide(queue, sampling.get("show_suggestions", "never"), sampling.get("overlap", 0.0)),
              place)
    if not free:
        known = pd.DataFrame({"id": ["x"], "batch": ["b0"], "row": [0], "text": ["one"],
                              "label": [labels[0]]})
        write_parquet(known, workspace.root / "data/cleaned/cleaned.parquet")
    return ids
