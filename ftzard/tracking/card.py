"""The model card: what a registered version is, for a person who has only the platform's page."""

from collections.abc import Mapping

NAME = "model_card.md"


def model_card(record: Mapping) -> str:
    """Return a version's card as Markdown, from its record (models/<name>/<version>.yaml)."""
    base, verdict = record["base"], record.get("verdict") or {}
    task = ((record.get("config") or {}).get("task") or {}).get("kind", "classification")
    lines = [
        f"# {record['model']}@{record['version']}", "",
        f"Made by {record['step']} at {record['created']}.", "",
        f"- base: {base.get('source') or base['name']}, revision {base.get('revision') or 'none'}, "
        f"weights {base['weight_hash']}",
        f"- parent: {record.get('parent') or 'none'}",
        *([f"- task: {task}, template {_template(record)}"] if task != "classification" else
          [f"- labels: {', '.join(map(str, record.get('labels') or [])) or 'none'}"]),
        f"- batches: {', '.join(map(str, record.get('batches') or [])) or 'none'}",
        "- rows: " + (", ".join(f"{k} {v:,}" for k, v in (record.get("rows") or {}).items())
                      or "none"),
        *(f"- data {name}: {said['path']}, sha256 {said['sha256'][:16]}, version "
          f"{said['commit'] or 'not versioned'}"
          for name, said in (record.get("data") or {}).items()),
        f"- config {record['config_hash']}, code {record['code_hash']}, commit "
        f"{record.get('git_commit') or 'none'}",
        f"- MLflow run {record['mlflow_run']}",
    ]
    scores = record.get("metrics") or {}
    if scores and task != "classification":
        lines += ["", _heading(record), "", "| model | score | 95 % interval | loss | "
                  "perplexity | ROUGE-L | exact match | rows |", "|---|" + 7 * "---|"]
        lines += [f"| {_name(record, name)} | {s.get('measure', 'loss')} {s['score']:.3f} | "
                  f"{s['lower']:.3f} to {s['upper']:.3f} | {s['loss']:.3f} | "
                  f"{s['perplexity']:.2f} | {_share(s['rouge_l'])} | "
                  f"{_share(s['exact_match'])} | {s['n']:,} |"
                  for name, s in scores.items()]
    elif scores:
        lines += ["", _heading(record), "", "| model | accuracy | 95 % interval | macro F1 | "
                  "rows |", "|---|---|---|---|---|"]
        lines += [f"| {_name(record, name)} | {s['accuracy']:.3f} | "
                  f"{s['lower']:.3f} to {s['upper']:.3f} | {s['macro_f1']:.3f} | {s['n']:,} |"
                  for name, s in scores.items()]
    if verdict:
        lines += ["", "## The gate", "", f"{verdict['decision']}. {' '.join(verdict['reasons'])}"]
    return "\n".join(lines) + "\n"


def _heading(record: Mapping) -> str:
    """Name the rows that the scores are of: test rows grow from round to round."""
    rows = (record.get("same_rows") or {}).get("rows")
    if not rows:
        return "## On all test rows of then"
    return f"## On the {rows['n']:,} test rows of data version {rows['data_version'] or 'none'}"


def _name(record: Mapping, role: str) -> str:
    """Return what a line of scores is of: the versions by their numbers."""
    if role == "challenger":
        return f"{record['model']}@{record['version']}"
    if role == "champion" and record.get("challenged") is not None:
        return f"{record['model']}@{record['challenged']}, champion then"
    return role


def _template(record: Mapping) -> str:
    return ((record["config"]["task"].get("instructions") or {}).get("template")) or "unknown"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
