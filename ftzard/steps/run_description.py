"""What MLflow's pages say first of a run: a description, and the tags that tell it from others.

A run keeps its time as its name. Here stands, from the facts that a step leaves, what a person
looks for in a list of such names: which round, which delivery, which version, what came out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftzard.config.pipeline import BY_NAME
from ftzard.core.escaping import markdown
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class Summary:
    """A finished execution in short: Markdown for its description, and its tags."""

    note: str
    tags: dict[str, str]


def of_step(step: str, facts: Mapping, rows: Mapping[str, int | None], *, round: int,
            batch: str | None, dagster: str | None) -> Summary:
    """Return the summary of a step's execution.

    Args:
        step: Name of the step.
        facts: What it has said of itself.
        rows: Of each artifact that it wrote, how many; None where it is no table.
        round: Which round it belongs to, from 1.
        batch: What the delivery is called that the round is about, if there is one.
        dagster: Address of the Dagster run's page, None for a notebook that a person ran.
    """
    tags = {"round": str(round)}
    if batch:
        tags["batch"] = batch
    if facts.get("version"):
        tags |= {"version": str(facts["version"]),
                 "model_version": f"{facts['model']}@{facts['version']}"}
    verdict = facts.get("verdict") or {}
    if verdict:
        tags["verdict"] = verdict["decision"]
    title = f"**Round {round}**" + (f", {markdown(batch)}" if batch else "")
    came_out = _verdict(facts, verdict) or _training(facts) or _counts(rows)
    where = f"[Dagster run]({dagster})" if dagster else "Run by hand in its notebook."
    about = BY_NAME[step].about if step in BY_NAME else ""
    return Summary("\n\n".join(part for part in (f"{title}: {came_out}", about, where) if part),
                   tags)


def of_trial(params: Mapping, metrics: Mapping) -> str:
    """Return the description of a trial: its values, and its scores on validation rows."""
    values = ", ".join(f"{name} {_number(value)}" for name, value in params.items())
    scores = ", ".join(f"{name.replace('_', ' ')} {_number(value)}"
                       for name, value in metrics.items() if name in _SCORES)
    return ": ".join(part for part in (values, scores) if part)


def round_of(workspace: Workspace, model: str, *, decided: bool) -> int:
    """Return which round a step belongs to: one per version that the gate has judged, and the next.

    decided: whether this step is the one in which the gate has judged.
    """
    judged = sum("\nverdict:" in path.read_text(encoding="utf-8", errors="replace")
                 for path in Path(workspace.root / "models" / model).glob("*.yaml"))
    return max(judged, 1) if decided else judged + 1


def batch_of(facts: Mapping, latest: Mapping) -> str | None:
    """Return what the delivery is called that a step is about; its hash without a name, or None.

    facts: of the step; latest: of the last step that took a delivery, which later steps are about.
    """
    found = (facts.get("delivered_as") or latest.get("delivered_as") or facts.get("batch")
             or latest.get("batch"))
    return str(found) if found else None


_SCORES = ("accuracy", "macro_f1", "validation_loss", "perplexity", "subset_accuracy")


def _verdict(facts: Mapping, verdict: Mapping) -> str:
    if not verdict:
        return ""
    reasons = markdown(" ".join(verdict.get("reasons", [])))
    model = f"{markdown(facts['model'])}@{facts['version']}"
    return f"{model}, verdict {verdict['decision']}. {reasons}"


def _training(facts: Mapping) -> str:
    trials: Sequence[Mapping] = facts.get("trials") or []
    if facts.get("version"):
        return f"registered {markdown(facts['model'])}@{facts['version']}."
    if not trials:
        return ""
    scores = of_trial({}, trials[0].get("metrics", {}))
    count = f"best of {len(trials)} trials" if len(trials) > 1 else "one trial"
    return f"{count}, on validation rows: {scores}." if scores else f"{count}."


def _counts(rows: Mapping[str, int | None]) -> str:
    counted = [f"{name.replace('_', ' ')} {count:,} rows" for name, count in rows.items()
               if count is not None]
    return (", ".join(counted) or "done") + "."


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
