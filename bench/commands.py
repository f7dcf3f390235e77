"""Processor time of whole commands, as multiples of the imports that they would do without.

`status`, `models list`, `history`, `--help` and completion against `import mlflow`; `predict` of a
text against `import torch, transformers, peft, bitsandbytes`. In turns in one run, medians, in a
workspace with two versions and in one with a hundred. Children count too: git, above all.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from machine import store

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' small trained workspace

ROUNDS = int(os.environ.get("ROUNDS", "5"))
FTZARD = [sys.executable, "-m", "ftzard.cli"]
IMPORTS = {"import mlflow": "import mlflow",
           "import models": "import torch, transformers, peft, bitsandbytes"}
#: Each command, and what it is measured against.
COMMANDS = {
    "status": (["status"], "import mlflow"),
    "models list": (["models", "list"], "import mlflow"),
    "history": (["history"], "import mlflow"),
    "--help": (["--help"], "import mlflow"),
    "completion": ("ftzard models show ", "import mlflow"),
    "predict": (["predict", "a lovely happy sunny day"], "import models"),
}
MANY = 100


def seconds(command: list[str], **environment: str) -> float:
    """Return the processor time of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def made(home: Path) -> Path:
    """Return a workspace with two versions of a small model, with data, runs and queue."""
    from ftzard.orchestration.create_workspace import create
    from ftzard.workspace.workspace import Workspace
    from tests.trained import train

    workspace = create(home / "few", config={}, invent_identity=True)
    os.environ["FTZARD_WORKSPACE"] = str(workspace.root)
    train(Workspace(workspace.root))
    del os.environ["FTZARD_WORKSPACE"]
    return workspace.root


def grown(few: Path, many: Path) -> Path:
    """Return a copy in which the model has MANY versions: runs, records, tags, commits."""
    from ftzard.tracking import registry, runs
    from ftzard.tracking.sqlite_reading import of_workspace
    from ftzard.workspace.workspace import Workspace

    shutil.copytree(few, many, symlinks=True)
    place = Workspace(many)
    tracking = of_workspace(place, place.config()).tracking
    name = place.config().tracking.registered_model
    kept = registry.versions(tracking, name)[-1]
    folder = many / "models" / name
    record = yaml.safe_load((folder / f"{kept.number}.yaml").read_text())
    pointer = (folder / f"{kept.number}.zip.dvc").read_text()
    parent = runs.top_level(tracking, "RETRAINING", place.state / "mlflow.lock")
    for number in range(kept.number + 1, MANY + 1):
        run = runs.start_child(tracking, parent, {"step": "retraining", **{
            f"fact {n}": "value" for n in range(30)}})
        run.metrics({f"metric {n}": n / 7 for n in range(20)})
        run.end()
        tracking.client.create_model_version(
            name, source=f"runs:/{run.id}/model", run_id=run.id, tags=kept.tags)
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(
            {**record, "version": number, "mlflow_run": run.id, "parent": number - 1},
            sort_keys=False))
        (folder / f"{number}.zip.dvc").write_text(pointer.replace(
            f"{kept.number}.zip", f"{number}.zip"))
        for command in (["add", "-A", "models"], ["commit", "-qm", f"retraining: {number}",
                                                  "--trailer", f"FTzard-Run: {run.id}"]):
            subprocess.run(["git", *command], cwd=many, check=True)
    return many


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = {"few": made(Path(folder))}
        places["many"] = grown(places["few"], Path(folder) / "many")
        taken: dict[str, list[float]] = {}
        for turn in range(ROUNDS + 1):  # the first fills caches
            for name, code in IMPORTS.items():
                took = seconds([sys.executable, "-W", "ignore", "-c", code],
                               TORCHDYNAMO_DISABLE="1")
                taken.setdefault(name, []).extend([took] if turn else [])
            for size, place in places.items():
                for name, (words, _) in COMMANDS.items():
                    if size == "many" and name in ("--help", "predict"):
                        continue
                    given = {"FTZARD_WORKSPACE": str(place)}
                    if isinstance(words, str):
                        given["FTZARD_COMPLETE"] = words
                    took = seconds([*FTZARD, *([] if isinstance(words, str) else words)], **given)
                    taken.setdefault(f"{name} ({size})", []).extend([took] if turn else [])
    figures: dict[str, float] = {}
    for name, times in taken.items():
        figures[f"{name}, s"] = round(statistics.median(times), 3)
        if name not in IMPORTS:
            against = taken[COMMANDS[name.rpartition(" (")[0]][1]]
            figures[f"{name}, ratio"] = round(statistics.median(
                took / other for took, other in zip(times, against, strict=True)), 3)
    for name, value in figures.items():
        print(f"{name:<28} {value}")
    print(store("commands", figures))


if __name__ == "__main__":
    main()
