"""Terminal tables of history, lineage and restored files."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ftzard.cli.layout import Column, Table, Tree
from ftzard.evaluation import metric_info
from ftzard.tracking.workspace_store import NOT_HERE

if TYPE_CHECKING:
    from ftzard.steps.counterfactual import Counterfactual

_SIZES = ("B", "kB", "MB", "GB", "TB")
#: Artifacts of which there are many files: shown with what tells them apart.
_MANY = ("delivery", "queue", "queue_tasks", "suggestions", "base", "adapter", "record")


def history_table(versions: Iterable[Mapping]) -> Table:
    """Return the table of `lineage.history`: a line per version, newest first."""
    table = Table((
        Column("artifact"), Column("data version"), Column("at (UTC)", rank=1),
        Column("rows", right=True, rank=2), Column("size", right=True, rank=5),
        Column("made by", prose=True, rank=4),
        Column("pushed", rank=3, tone=lambda pushed: "warn" if pushed == "no" else None),
        Column("models trained on it", prose=True, rank=6)),
        more="a wider terminal or --json shows all")
    for v in versions:
        table.add_row(label(v), v["commit"][:10], time(v["time"]), number(v["rows"]),
                      size(v["size"]), made_by(v["run"]), "yes" if v["pushed"] else "no",
                      ", ".join(v["models"]) or "-")
    return table


def lineage_tree(lineage: Mapping) -> Tree:
    """Return the tree of `lineage.lineage`, from the model down to its rows and its code."""
    roles = ", ".join(lineage["roles"])
    tree = Tree(f"{lineage['model']}@{lineage['version']}  {roles}".rstrip(), "bold")
    verdict = lineage["verdict"]
    tree.add_branch("verdict", [f"{verdict['decision']}. {' '.join(verdict['reasons'])}"]
            if verdict else ["none yet"])
    tree.add_branch("promoted by hand", [f"{time(p['time'])} by {p['who']}: {p['reason']}"
                                         for p in lineage["promotions"]])
    deleted = lineage["deleted"]
    tree.add_branch("deleted from the registry", [
        f"{time(deleted['time'])} by {deleted['who']}"
        + (f": {deleted['reason']}" if deleted["reason"] else "")] if deleted else [])
    scores = lineage["metrics"]
    if scores:
        rest = (f", macro F1 {scores['macro_f1']:.3f}"
                if metric_info.measure_of(scores) is metric_info.ACCURACY else "")
        where = lineage.get("measured_on")
        tree.add_branch("metrics" + (f", on {where}" if where else ""),
                [metric_info.sentence(scores) + rest])
    record = lineage["record"]
    tree.add_branch("record", [f"{record['path']} at {(record['commit'] or 'no commit yet')[:10]}, "
                             f"made {time(lineage['created'])} UTC"])
    tree.add_branch("adapter", [_version(lineage["adapter"])] if lineage["adapter"] else [])
    runs = tree.add("runs", "bold")
    for run in lineage["runs"]:
        state = f"{run['state']}  {run['id']}" if run["in_store"] else NOT_HERE
        line = runs.add(f"{made_by(run)}  {state}")
        for where in (run["notebook"]["file"], _artifact(run)):
            if where:
                line.add(f"notebook as executed: {where}")
    used = [_version(v) for v in lineage["data"] if v["used"]]
    beside = [v for v in lineage["data"] if not v["used"]]
    if not lineage["data_here"]:
        used.append(f"data version {lineage['data_version']}, which is not in this repository"
                    if lineage["data_version"] else "tokenized data that was not versioned")
    tree.add_branch("made of", used)
    tree.add_branch("beside it, at the same commit", [_version(v) for v in beside])
    base = lineage["base"]
    tree.add_branch("base", [
        f"{base['source'] or base['name']}, revision {base['revision'] or 'none (built here)'}",
        f"weights {base['weight_hash']}", f"tokenizer {base['tokenizer_hash']}"])
    tree.add_branch("parents", [
        f"{p['model']}@{p['version']}  {p['verdict'] or 'no verdict'}, data "
        f"{(p['data_version'] or 'none')[:10]}" if p["step"] else
        f"{p['model']}@{p['version']}  has no record here" for p in lineage["parents"]]
        or ["none: the first of its line"])
    code = lineage["code"]
    tree.add_branch("code", [f"commit {code['commit'] or NOT_HERE}",
                           f"library {code['code_hash'] or NOT_HERE}, notebook "
                           f"{code['notebook_hash'] or NOT_HERE}",
                           ", ".join(f"{k} {v}" for k, v in code["packages"].items())])
    groups = {k: v for k, v in lineage["config"].items() if isinstance(v, Mapping)}
    rest = {k: v for k, v in lineage["config"].items() if k not in groups}
    tree.add_branch(f"config {lineage['config_hash']}", [
        f"{name}: {', '.join(f'{k}={v}' for k, v in values.items())}"
        for name, values in (*groups.items(), ("run", rest))])
    return tree


def restored_table(files: Iterable[Mapping]) -> Table:
    """Return the table of the files that a restore has written."""
    table = Table((Column("artifact"), Column("rows", right=True, rank=1), Column("where"),
                   Column("version")))
    for f in files:
        table.add_row(f["artifact"], number(f["rows"]), f["path"], f["version"][:10])
    return table


def counterfactual_table(comparisons: Iterable["Counterfactual"]) -> Table:
    """Return the table of what a model would be without each of its batches and people."""
    table = Table((Column("without"), Column("rows", right=True, rank=1),
                   Column("without it", right=True), Column("the model gains", right=True),
                   Column("interval", right=True, rank=2), Column("")))
    for one in comparisons:
        measure = metric_info.of(one.measure)
        table.add_row(one.without, f"{one.rows:,}", measure.value(one.without_score),
                      measure.gain(one.difference),
                      f"{measure.gain(one.lower, unit=False)} to "
                      f"{measure.gain(one.upper, unit=False)}", one.verdict)
    return table


def label(version: Mapping) -> str:
    """Return an artifact's name, with what tells it from others of the name."""
    name, path = version["artifact"], PurePosixPath(version["path"])
    if name not in _MANY:
        return name
    stem = path.name.partition(".")[0]
    stem = stem[:12] if len(stem) == 64 else stem  # a delivery is called by its content's hash
    ours = f"{path.parent.name}/{stem}" if name in ("adapter", "record") else stem
    return f"{name} {ours}"


def made_by(run: Mapping) -> str:
    """Return a run as a person knows it: step and name, or the id that git has."""
    if run["id"] is None:
        return "by hand"
    return " ".join(filter(None, (run["step"], run["name"] or run["id"])))


def number(value: int | None) -> str:
    """Return a count with separators of thousands; '-' for none."""
    return "-" if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Return a size in bytes as a person reads it."""
    if value is None:
        return "-"
    power = 0
    while value >= 1000 and power < len(_SIZES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.0f} {_SIZES[power]}" if power == 0 else f"{value:.1f} {_SIZES[power]}"


def _version(v: Mapping) -> str:
    rows = f", {v['rows']:,} rows" if v["rows"] is not None else ""
    return (f"{label(v)}  {v['commit'][:10]}{rows}, {size(v['size'])}  {v['path']}"
            + ("" if v["pushed"] else "  (not pushed)"))


def _artifact(run: Mapping) -> str | None:
    artifact = run["notebook"]["artifact"]
    return f"{artifact} in MLflow's run {run['id']}" if artifact else None


def time(iso: str | None) -> str:
    """Return an ISO time without its fraction and zone; '-' for none."""
    return "-" if iso is None else iso[:19].replace("T", " ")
