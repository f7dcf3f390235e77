"""The model card of a registered version."""

from collections.abc import Iterable, Mapping, Sequence

from ftzard.core.escaping import markdown
from ftzard.evaluation import metric_info

NAME = "model_card.md"


def model_card(record: Mapping) -> str:
    """Return a version's card as Markdown, from its record (models/<name>/<version>.yaml)."""
    base, verdict = record["base"], record.get("verdict") or {}
    task = ((record.get("config") or {}).get("task") or {}).get("kind")
    scores, labels = record.get("metrics") or {}, list(map(str, record.get("labels") or []))
    several = record.get("measure") == metric_info.SAMPLES_F1.name
    lines = [
        f"# {markdown(record['model'])}@{record['version']}", "",
        f"Made by {record['step']} at {record['created']}.", "",
        f"- base: {markdown(base.get('source') or base['name'])}, revision "
        f"{markdown(base.get('revision') or 'none')}, "
        f"weights {base['weight_hash']}",
        f"- parent: {record.get('parent') or 'none'}",
        f"- labels: {_listed(labels)}" + (", any number of them" if several else "") if labels else
        f"- task: {task}, template {_template(record)}",
        f"- batches: {_listed(record.get('batches'))}",
        "- rows: " + (", ".join(f"{k} {v:,}" for k, v in (record.get("rows") or {}).items())
                      or "none"),
        *(f"- data {name}: {markdown(version['path'])}, sha256 {version['sha256'][:16]}, version "
          f"{version['commit'] or 'not versioned'}"
          for name, version in (record.get("data") or {}).items()),
        f"- config {record['config_hash']}, code {record['code_hash']}, commit "
        f"{record.get('git_commit') or 'none'}",
        f"- MLflow run {record['mlflow_run']}",
    ]
    if scores and several:
        lines += ["", _heading(record), "", "| model | F1 per row | 95 % interval | micro F1 | "
                  "macro F1 | exact | rows |", "|---|" + 6 * "---|"]
        lines += [f"| {_name(record, name)} | {s['score']:.3f} | {s['lower']:.3f} to "
                  f"{s['upper']:.3f} | {s['micro_f1']:.3f} | {s['macro_f1']:.3f} | "
                  f"{s['subset_accuracy']:.3f} | {s['n']:,} |" for name, s in scores.items()]
    elif scores and not labels:
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
    lines += _own_metrics(record, scores)
    if verdict:
        lines += ["", "## The gate", "",
                  f"{verdict['decision']}. {markdown(' '.join(verdict['reasons']))}"]
    if (verdict.get("limits") or {}).get("trial"):
        lines += ["", "**A trial** (gate.trial=true): the rules for a first champion only warned.",
                  *(f"- {markdown(warning)}" for warning in verdict.get("warnings") or [])]
    config = record.get("config") or {}
    own = scores.get("challenger") or {}
    instructions = (config.get("task") or {}).get("instructions") or {}
    lines += ["", "## What it is for", "", intended(labels), "", "## Limits", ""]
    lines += [f"- {line}" for line in limits(
        labels, several=several, max_length=(config.get("model") or {}).get("max_length"),
        accuracy=own.get("accuracy"), max_new_tokens=instructions.get("max_new_tokens"))]
    lines += ["", "## Loading it", "", "```python", *_LOAD.format(
        uri=f"models:/{record['model']}/{record['version']}").splitlines(), "```"]
    return "\n".join(lines) + "\n"


def _own_metrics(record: Mapping, scores: Mapping[str, Mapping]) -> list[str]:
    """Return the table of the workspace's own metrics, or no line."""
    names = list(record.get("own_metrics") or {})
    lines = {_name(record, role): [line.get(name) for name in names]
             for role, line in scores.items()}
    if not names or not any(value is not None for of in lines.values() for value in of):
        return []
    return ["", "## The workspace's own metrics, on the same rows", "",
            f"| model | {' | '.join(map(markdown, names))} |", "|---|" + len(names) * "---|",
            *(f"| {name} | " + " | ".join("none" if v is None else f"{v:.4g}" for v in of) + " |"
              for name, of in lines.items())]


def _listed(names: Iterable[object] | None) -> str:
    return ", ".join(map(markdown, names or [])) or "none"


_LOAD = """import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("{uri}")
print(model.predict(pd.DataFrame({{"text": ["A text of yours."]}})))
"""


def intended(labels: Sequence[str]) -> str:
    """Return the intended use of a model."""
    if not labels:
        return ("Answering instructions like those it was trained on. Hold it against instructions "
                "of your own before you rely on it elsewhere.")
    return (f"Telling which of {_listed(labels)} a text is, for texts like those it was "
            "trained on. Hold it against your own labelled texts before you rely on it elsewhere.")


def limits(labels: Sequence[str], *, max_length: int | None, accuracy: float | None = None,
           max_new_tokens: int | None = None, several: bool = False) -> list[str]:
    """Return the limitations of a model, a sentence each.

    Args:
        labels: Those it gives; none of a model that writes answers.
        max_length: Most tokens of a text that it reads, None if that is not known.
        accuracy: Its share of right labels on test rows, None if it was not measured.
        max_new_tokens: Most tokens of an answer unless one asks for more.
        several: Whether a text gets any number of the labels.
    """
    always = [
        "It knows the language, the domain and the time of its training texts, with their bias; "
        "nobody has looked for harm to groups of people.",
        "It is not meant for decisions about a person without a person.",
    ]
    if not labels:
        return ["It answers everything, also what it does not know, and sounds as sure.",
                *([f"An answer has at most {max_new_tokens} tokens unless you allow more; a longer "
                   "one breaks off."] if max_new_tokens else []), *always]
    return [*([f"About {100 * (1 - accuracy):.0f} of 100 texts like the test rows get a wrong "
               "label."] if accuracy is not None else []),
            f"A text gets none but the {len(labels)} labels, whatever else would fit it." if several
            else
            f"Every text gets one of the {len(labels)} labels, also one that none of them fits.",
            *([f"Texts longer than {max_length} tokens are cut; what is behind is not read."]
              if max_length else []), *always]


def _heading(record: Mapping) -> str:
    """Return a heading with the rows that the scores were measured on."""
    rows = (record.get("same_rows") or {}).get("rows")
    if not rows:
        return "## On all test rows of then"
    return f"## On the {rows['n']:,} test rows of data version {rows['data_version'] or 'none'}"


def _name(record: Mapping, role: str) -> str:
    """Return the name of a row of scores."""
    if role == "challenger":
        return markdown(f"{record['model']}@{record['version']}")
    if role == "champion" and record.get("challenged") is not None:
        return markdown(f"{record['model']}@{record['challenged']}, champion then")
    return markdown(role)


def _template(record: Mapping) -> str:
    template = (record["config"]["task"].get("instructions") or {}).get("template")
    return markdown(template or "unknown")


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
