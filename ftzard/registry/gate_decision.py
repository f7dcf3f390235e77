"""The gate's decision on a workspace's newest version, as a build server asks for it.

A decision that was made stands in the version's record and is returned; nothing is judged again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftzard.core.escaping import markdown
from ftzard.errors import ModelError
from ftzard.evaluation import metric_info
from ftzard.evaluation.gate import NO_CHAMPION, is_trial, means
from ftzard.registry import model_records
from ftzard.workspace.workspace import Workspace

#: The exit code of each decision.
EXIT_CODES = {"promote": 0, "refuse": 10, NO_CHAMPION: 10, "cannot tell": 20}
_WORDS = {"promote": "promoted", "refuse": "refused", NO_CHAMPION: "refused: no champion yet",
          "cannot tell": "cannot tell"}


@dataclass(frozen=True)
class GateDecision:
    """What the gate decided on a version.

    Attributes:
        model: Name of the registered model.
        version: Number of the version that was judged.
        champion: Number of the version that it was judged against, None for a first model.
        decision: 'promote', 'refuse', 'cannot tell' or 'no champion yet'.
        reasons: Sentences for a person.
        warnings: Further sentences.
        trial: Whether the workspace only tries the loop.
        measure: What was compared.
        verdict: Every number, as the record has it.
    """

    model: str
    version: int
    champion: int | None
    decision: str
    reasons: list[str]
    warnings: list[str]
    trial: bool
    measure: str
    verdict: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """0 for a promotion, 10 for a refusal, 20 where the rows cannot tell."""
        return EXIT_CODES.get(self.decision, 20)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON has it."""
        return {"model": self.model, "version": self.version, "champion": self.champion,
                "decision": self.decision, "exit_code": self.exit_code, "reasons": self.reasons,
                "warnings": self.warnings, "trial": self.trial, "measure": self.measure,
                "verdict": self.verdict}

    def lines(self) -> list[str]:
        """Return the decision as lines for a terminal."""
        return [f"{self.model}@{self.version}: {self.decision}", *self.reasons,
                *(f"warning: {warning}" for warning in self.warnings),
                *(["a trial (gate.trial=true): the rules for a first champion only warn"]
                  if self.trial else [])]

    def markdown(self) -> str:
        """Return the decision as Markdown, for a comment or a build's summary."""
        challenger, other, _ = means(self.verdict)
        measure, verdict = metric_info.of(self.measure), self.verdict
        against = f"champion, version {self.champion}" if self.champion else verdict["against"]
        lines = [
            f"### {markdown(self.model)}, version {self.version}: {_WORDS[self.decision]}", "",
            *(f"- {markdown(reason)}" for reason in self.reasons),
            *(f"- Warning: {markdown(warning)}" for warning in self.warnings), "",
            f"| | {markdown(measure.title)} |", "|---|---|",
            f"| version {self.version} | {measure.value(challenger)} |",
            f"| {markdown(against)} | {measure.value(other)} |",
            f"| difference | {measure.gain(verdict['difference'])} "
            f"({measure.gain(verdict['lower'], unit=False)} to "
            f"{measure.gain(verdict['upper'], unit=False)}) |",
            f"| test rows | {verdict['n']:,} |"]
        if self.verdict.get("rows_needed"):
            lines.append(f"| rows that would be needed | {self.verdict['rows_needed']:,} |")
        if self.trial:
            lines += ["", "A trial: the rules for a first champion only warn."]
        return "\n".join(lines) + "\n"


def newest(workspace: Workspace) -> tuple[str, int, Mapping[str, Any]]:
    """Return name, number and record of the newest version that is not deleted.

    Raises:
        ModelError: There is none.
    """
    name = workspace.config().tracking.registered_model
    existing = [record for record in model_records.records(workspace, name)
                if not record.get("deleted")]
    if not existing:
        raise ModelError(
            f"there is nothing to decide: no version of '{name}' has a record in models/{name}. "
            "Run training_pipeline_job first, or fetch the records with git pull.")
    return name, int(existing[-1]["version"]), existing[-1]


def decision(workspace: Workspace) -> GateDecision | None:
    """Return the gate's decision on the newest version, or None while it was not made."""
    name, number, record = newest(workspace)
    verdict = dict(record.get("verdict") or {})
    if not verdict:
        return None
    challenged = record.get("challenged")
    return GateDecision(
        name, number, None if challenged is None else int(challenged), verdict["decision"],
        list(verdict.get("reasons") or []), list(verdict.get("warnings") or []),
        is_trial(verdict), verdict.get("measure") or metric_info.ACCURACY.name, verdict)
