"""How history, lineage and restored files look in a terminal: tables and a tree of values."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ftzard.cli.layout import Column, Table, Tree
from ftzard.core import escaping
from ftzard.evaluation import metric_info
from ftzard.tracking.workspace_store import NOT_HERE

_SIZES = ("B", "kB", "MB", "GB", "TB")
#: Artifacts of which there are many files: shown with what tells them apart.
_MANY = ("delivery", "queue", "queue_tasks", "suggestions", "base", "adapter", "record")


def history_table(versions: Iterable[Mapping]) -> Table:
    """Return the table of `lineage.history`: a line per version, newest first."""
    table = Table((
        Column("artifact"), Column("data version"), Column("at (UTC)", rank=1),
        Column("rows", right=True, rank=2), Column("size", right=True, rank=5),
        Column("made by", prose=True, rank=4),
        Column("pushed", rank=3, tone=lambda said: "warn" if said == "no" else None),
        Column("models trained on it", prose=True, rank=6)),
        more="a wider terminal or --json shows all")
    for v in versions:
        table.add_row(label(v), v["commit"][:10], _time(v["time"]), number(v["rows"]),
                      size(v["size"]), made_by(v["run"]), "yes" if v["pushed"] else "no",
                      ", ".join(v["models"]) or "-")
    return table


def lineage_tree(told: Mapping) -> Tree:
    """Return the tree of `lineage.lineage`, from the model down to its rows and its code."""
    tree = Tree(f"{told['model']}@{told['version']}  {', '.join(told['roles'])}".rstrip(), "bold")
    verdict = told["verdict"]
    _branch(tree, "verdict", [f"{verdict['decision']}. {' '.join(verdict['reasons'])}"]
            if verdict else ["none yet"])
    _branch(tree, "promoted by hand", [f"{_time(p['time'])} by {p['who']}: {p['reason']}"
                                       for p in told["promotions"]])
    deleted = told["deleted"]
    _branch(tree, "deleted from the registry", [
        f"{_time(deleted['time'])} by {deleted['who']}"
        + (f": {deleted['reason']}" if deleted["reason"] else "")] if deleted else [])
    scores = told["metrics"]
    if scores:
        rest = (f", macro F1 {scores['macro_f1']:.3f}"
                if metric_info.told_in(scores) is metric_info.ACCURACY else "")
        where = told.get("measured_on")
        _branch(tree, "metrics" + (f", on {where}" if where else ""),
                [metric_info.sentence(scores) + rest])
    record = told["record"]
    _branch(tree, "record", [f"{record['path']} at {(record['commit'] or 'no commit yet')[:10]}, "
                             f"made {_time(told['created'])} UTC"])
    _branch(tree, "adapter", [_version(told["adapter"])] if told["adapter"] else [])
    runs = tree.add("runs", "bold")
    for run in told["runs"]:
        state = f"{run['state']}  {run['id']}" if run["in_store"] else NOT_HERE
        line = runs.add(f"{made_by(run)}  {state}")
        for where in (run["notebook"]["file"], _artifact(run)):
            if where:
                line.add(f"notebook as executed: {where}")
    used = [_version(v) for v in told["data"] if v["used"]]
    beside = [v for v in told["data"] if not v["used"]]
    if not told["data_here"]:
        used.append(f"data version {told['data_version']}, which is not in this repository"
                    if told["data_version"] else "tokenized data that was not versioned")
    _branch(tree, "made of", used)
    _branch(tree, "beside it, at the same commit", [_version(v) for v in beside])
    base = told["base"]
    _branch(tree, "base", [
        f"{base['source'] or base['name']}, revision {base['revision'] or 'none (built here)'}",
        f"weights {base['weight_hash']}", f"tokenizer {base['tokenizer_hash']}"])
    _branch(tree, "parents", [
        f"{p['model']}@{p['version']}  {p['verdict'] or 'no verdict'}, data "
        f"{(p['data_version'] or 'none')[:10]}" if p["step"] else
        f"{p['model']}@{p['version']}  has no record here" for p in told["parents"]]
        or ["none: the first of its line"])
    code = told["code"]
    _branch(tree, "code", [f"commit {code['commit'] or NOT_HERE}",
                           f"library {code['code_hash'] or NOT_HERE}, notebook "
                           f"{code['notebook_hash'] or NOT_HERE}",
                           ", ".join(f"{k} {v}" for k, v in code["packages"].items())])
    groups = {k: v for k, v in told["config"].items() if isinstance(v, Mapping)}
    rest = {k: v for k, v in told["config"].items() if k not in groups}
    _branch(tree, f"config {told['config_hash']}", [
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


def _time(iso: str) -> str:
    return iso[:19].replace("T", " ")


def _branch(tree: Tree, title: str, lines: Iterable[str]) -> None:
    lines = list(lines)
    if lines:
        branch = tree.add(title, "bold")
        for line in lines:
            branch.add(escaping.one_line(line))
