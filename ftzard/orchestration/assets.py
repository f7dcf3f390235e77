"""The assets on Dagster's pages: from a delivery to model, champion and report, in one graph.

Jobs consist of notebook ops, which cannot hold Dagster assets: each asset is defined here with its
upstream assets, and the IO managers report its new versions. The artifacts come from the table of
steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster import AssetMaterialization, AssetSpec, MetadataValue

from ftzard.orchestration import metadata_tables
from ftzard.workspace import addresses
from ftzard.workspace.workspace import Workspace

#: All assets stand in one group, so that one page shows how they hang together.
GROUP = "round"


@dataclass(frozen=True)
class Asset:
    """A node of the graph.

    Attributes:
        made_of: The assets that it is made of.
        kinds: What Dagster shows as its icons.
    """

    name: str
    about: str
    made_of: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


ASSETS = (
    Asset("delivery", "A file of labelled rows as it was delivered: training data, or labels that "
          "people handed in. Kept under data/raw by its content.", kinds=("file",)),
    Asset("cleaned", "All rows that can be used, of every delivery so far, each with the batch it "
          "came with.", ("delivery",), ("parquet",)),
    Asset("rejected", "The rows that cannot be used, each with the reason.", ("delivery",),
          ("parquet",)),
    Asset("tokenized", "The cleaned rows with their split and their tokens: what models are "
          "trained and tested on.", ("cleaned",), ("parquet",)),
    Asset("trials", "The adapters of the search, ranked on validation rows.", ("tokenized",),
          ("mlflow", "pytorch")),
    Asset("model_version", "A registered model: an adapter with its record in git, and the gate's "
          "verdict on it. A retraining makes one too, from the champion before.",
          ("tokenized", "trials"), ("mlflow", "pytorch")),
    Asset("champion", "The version that predicts: the last one that the gate promoted.",
          ("model_version",), ("mlflow",)),
    Asset("report", "The round's report: scores on the same rows, the verdict and its reasons.",
          ("model_version", "champion"), ("html",)),
    Asset("incoming", "A file of rows without labels as it was delivered.", kinds=("file",)),
    Asset("incoming_tokenized", "The unlabelled rows, cleaned and tokenized as the champion was "
          "trained.", ("incoming", "champion"), ("parquet",)),
    Asset("predictions", "The champion's predictions for the unlabelled rows.",
          ("incoming_tokenized", "champion"), ("parquet",)),
    Asset("queue", "The rows that a person should label.", ("predictions",), ("csv",)),
    Asset("labelled", "Labels that a person handed in. The next retraining takes them as a "
          "delivery.", ("queue",), ("file",)),
)


def specs() -> list[AssetSpec]:
    """Return the specs of all assets of the code location."""
    return [AssetSpec(asset.name, deps=list(asset.made_of), description=asset.about,
                      group_name=GROUP, kinds=set(asset.kinds)) for asset in ASSETS]


def left_by(metadata: Mapping, workspace: Workspace, mlflow: str, shared: Mapping,
            plots: Mapping) -> Iterator[AssetMaterialization]:
    """Yield the new versions of the assets that a step made beside its artifacts.

    Args:
        metadata: Of the finished step, after Git_Dvc has followed it where it does.
        workspace: The workspace.
        mlflow: Address of MLflow's pages.
        shared: Entries of every asset's page: the way to the MLflow run, and the mark of a trial.
        plots: The step's plots, as an entry.
    """
    facts, files = metadata.get("facts", {}), _files(metadata)
    step = metadata.get("step")
    if step in ("cleaning", "inference_preprocessing") and "delivery" in files:
        named = {"delivered as": facts["delivered_as"]} if facts.get("delivered_as") else {}
        entries = {**_of_file(files["delivery"], workspace), **named, **shared}
        yield AssetMaterialization("incoming" if step != "cleaning" else "delivery",
                                   metadata=entries)
        if "labels" in facts:  # people gave them for rows of a queue
            yield AssetMaterialization("labelled", metadata=entries)
    elif step == "tuning":
        yield AssetMaterialization("trials", metadata={
            "trials": metadata_tables.of_trials(facts.get("trials", [])), **shared, **plots})
    elif step in ("choosing", "retraining", "evaluation") and facts.get("version"):
        yield from _of_model(metadata, files, workspace, mlflow, shared, plots)


def _of_model(metadata: Mapping, files: Mapping, workspace: Workspace, mlflow: str,
              shared: Mapping, plots: Mapping) -> Iterator[AssetMaterialization]:
    facts = metadata["facts"]
    name, number = facts["model"], int(facts["version"])
    verdict = facts.get("verdict") or {}
    model = {"model": f"{name}@{number}",
             "MLflow model": MetadataValue.url(addresses.mlflow_model(mlflow, name, number))}
    judged = {"verdict": verdict["decision"], "reasons": " ".join(verdict["reasons"]),
              "scores": metadata_tables.of_rows(facts.get("models", []))} if verdict else {}
    if metadata["step"] != "evaluation":
        file = _of_file(files["adapter"], workspace) if "adapter" in files else {}
        yield AssetMaterialization("model_version", metadata={
            **model, **judged, **file, **shared, **({} if judged else plots)})
    if verdict.get("promoted"):
        yield AssetMaterialization("champion", metadata={**model, **judged, **shared})
    if verdict:
        page = workspace.report
        yield AssetMaterialization("report", metadata={
            "path": MetadataValue.path(str(page)), **model, **judged, **shared, **plots})


def _files(metadata: Mapping) -> dict[str, Mapping]:
    return {handle["name"]: handle for handle in metadata.get("artifacts", [])}


def _of_file(handle: Mapping, workspace: Workspace) -> dict:
    """Return the page metadata of a versioned file."""
    return {"path": MetadataValue.path(str(Path(workspace.root, handle["path"]))),
            "sha256": handle["sha256"], "commit": handle.get("commit") or "not versioned"}
