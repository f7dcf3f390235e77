"""`ftzard export MODEL DIR`: a registered model that transformers and peft load without FTzard.

The folder holds safetensors, the tokenizer and a card, README.md. What was written is loaded again
as anybody would load it, and held against the registered model on sample texts.
"""

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ftzard.data import storage
from ftzard.errors import ModelError, WorkspaceError
from ftzard.registry import lineage, lookup, model_card, model_records
from ftzard.registry.lookup import Files
from ftzard.tasks.base import base_spec, task_named
from ftzard.tracking import registry
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, how close it answers (Parity as values), the hub's URL.

    Attributes:
        output: What the model gives a text, such as 'label' or 'answer'.
    """

    model: str
    folder: Path
    parity: dict
    url: str | None
    output: str = "label"


def export(workspace: Workspace, which: str, folder: Path, *, form: str,
           tolerance: float | None = None, push: str | None = None,
           say: Callable[[str], object] = print) -> Exported:
    """Write a model's files into `folder`, which must be new or empty.

    form: 'adapter' or 'merged'; tolerance: the largest difference of a logit from the registered
    model's; push: a repository of the hub to upload to, with the token in HF_TOKEN. Raises
    ModelError, before a weight is loaded, for a bare base, a folder in use and a missing token; and
    for what answers otherwise beyond the tolerance, of which nothing is left.
    """
    token = _token(push) if push is not None else None
    folder = Path(os.path.abspath(folder))
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise WorkspaceError(f"{folder} is there already and not empty; name another folder, or "
                             "take away what is in it.")
    model = lookup.files(workspace, which)
    task = task_named(model.task)
    if model.adapter is None:
        head = " with an untrained head" if task.head.trained else ""
        raise ModelError(f"{model.name} is a bare base{head}; there is nothing of it to export. "
                         "Name a version that was trained.")
    from ftzard.tasks import export_weights as files

    exporter = task.exporter.Exporter
    texts = _sample(workspace, model, exporter.SAMPLE)
    say(f"exporting {model.name}, {form}; asking it and its copy {len(texts)} texts")
    parity = files.export(
        model.adapter, base_spec(model.base), folder, texts, form=form, tolerance=tolerance,
        readme=lambda parity: model_card.render(_card(workspace, model, form, asdict(parity))))
    url = None
    if push is not None:
        say(f"pushing {folder} to {push}")
        url = files.push(folder, push, token)
    return Exported(model.name, folder, asdict(parity), url, exporter.output)


def _token(repository: str) -> str:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repository):
        raise ModelError(f"--push is '{repository}'; expected a repository of the hub, as in "
                         "'somebody/model'.")
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise ModelError(f"pushing to '{repository}' needs a token, and the environment variable "
                         "HF_TOKEN is empty. Set it to a token of the hub that may write there; "
                         "nothing was exported.")
    return token


def _sample(workspace: Workspace, model: Files, most: int) -> list[str]:
    """Return at most so many texts to ask: test rows, else the model's own input example."""
    path = workspace.root / workspace.config().paths.tokenized
    if path.is_file():
        rows = storage.read_parquet(path, columns=["split", "text"])
        test = rows.loc[rows["split"] == "test", "text"]
        if len(test):
            return model.cleaned(test.sample(min(most, len(test)), random_state=0))
    tracking = connect(workspace, workspace.config())
    folder = registry.files(tracking, model.version, workspace.cache / "registered")
    return model.cleaned(registry.input_example(folder))


def _card(workspace: Workspace, model: Files, form: str, parity: dict) -> model_card.Card:
    from ftzard.modeling.adapter_meta import read_meta
    from ftzard.tasks.export_weights import BASE_FOLDER

    meta, version = read_meta(model.adapter), model.version
    record = model_records.read_record(workspace, version) or model_records.ModelRecord()
    tags = version.tags
    base = record.get("base") or {
        "name": model.base["name"], "source": model.base["source"] if model.base["revision"]
        else None, "revision": model.base["revision"], "weight_hash": tags.get("base_hash")}
    beside = BASE_FOLDER if form == "adapter" and Path(model.base["source"]).is_dir() else None
    return model_card.Card(
        name=model.name, form=form, labels=model.labels, base=base, beside=beside,
        spec=model.base, method=meta["method"], cleaning=model.cleaning,
        max_length=meta["max_length"], parity=parity, record=record,
        lineage=_lineage(workspace, model, record), answering=model.answering,
        thresholds=meta.get("thresholds", ()))


def _lineage(workspace: Workspace, model: Files, record: dict) -> list[str]:
    version = model.version
    lines = [f"registered as {version}, MLflow run `{version.run_id or 'unknown'}`"]
    if not record:
        return [*lines, "no record of it in the workspace it was exported from"]
    ancestry = lineage.lineage(workspace, str(version))
    lines.append(f"parent: {ancestry['parents'][0]['model']}@{ancestry['parents'][0]['version']}"
                 if ancestry["parents"] else "parent: none, trained from the base")
    lines += [f"{v['artifact']} `{v['path']}` at `{v['commit']}`" for v in ancestry["data"]
              if v["used"]]
    code = ancestry["code"]
    return [*lines, f"config `{ancestry['config_hash']}`, code at commit `{code['commit']}`, "
                    f"library `{code['code_hash']}`"]
