"""What each model version knows of each batch's test set, and what was forgotten on the way.

R[i, j] is the score of version i on the test set of batch j: its accuracy, or in a round of
instruction tuning the mean of what the gate compares. Every round measures all versions that it can
on the test sets of all batches so far. A test set grows with the labels of its batch, and a score
of before then says nothing beside one of now: a column holds scores of the same rows, those that
were measured last, and a gap where a version was not measured on them.

The three numbers are told of the line of models that users have had: the versions that were
promoted, and the version in question as the last of them. Batch j belongs to the first version of
that line that was trained on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftzard.errors import DataError
from ftzard.evaluation import metric_info
from ftzard.evaluation.metric_info import ACCURACY, Measure


@dataclass(frozen=True, eq=False)
class Matrix:
    """R and what it was measured on.

    versions: numbers, oldest first; batches: names in order of arrival; scores: (versions,
    batches) in the measure's own unit, NaN where a version never met a test set; n: rows behind
    each score, 0 where there is none; trained_on: the batches that each version was trained on;
    promoted: by version; measure: what the scores are.
    """

    versions: tuple[int, ...]
    batches: tuple[str, ...]
    scores: np.ndarray
    n: np.ndarray
    trained_on: Mapping[int, frozenset[str]]
    promoted: Mapping[int, bool]
    measure: Measure = ACCURACY

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]]) -> "Matrix":
        """Return the matrix that the models' records tell, oldest version first.

        Of each record are read: version, batches, verdict (promoted), promotions (by hand),
        `measure` (without it accuracy) and `tested`: {version: {batch: {accuracy, n, rows}}}, or
        {score, n, rows} of another measure, what that round measured; rows is a digest of the test
        set, where the record has it. The latest round's word on a batch says which rows count: what
        was measured on others is left out. Records without
        `tested` (made by hand, or not evaluated yet) add nothing, and neither do those of another
        measure than the newest one's: losses and shares have no difference.
        """
        evaluated = sorted((r for r in records if r.get("tested")), key=_evaluated)
        measure = metric_info.measure_of(evaluated[-1] if evaluated else None)
        evaluated = [r for r in evaluated if metric_info.measure_of(r) is measure]
        key = "accuracy" if measure is ACCURACY else "score"
        versions = tuple(sorted({int(v) for r in evaluated for v in r["tested"]}))
        batches = tuple(dict.fromkeys(
            name for r in evaluated for measured in r["tested"].values() for name in measured))
        newest = {name: score for r in evaluated for measured in r["tested"].values()
                  for name, score in measured.items()}
        scores = np.full((len(versions), len(batches)), np.nan)
        n = np.zeros((len(versions), len(batches)), dtype=int)
        for entry in evaluated:
            for version, measured in entry["tested"].items():
                for batch, score in measured.items():
                    if not _same_rows(score, newest[batch]):
                        continue
                    place = versions.index(int(version)), batches.index(batch)
                    scores[place], n[place] = score[key], score["n"]
        by_number = {int(r["version"]): r for r in records}
        lost = [v for v in versions if v not in by_number]
        if lost:
            raise DataError(f"version {lost[0]} was measured but has no record; bring models/ back "
                            "with git.")
        return cls(
            versions, batches, scores, n,
            {v: frozenset(by_number[v].get("batches") or ()) for v in versions},
            {v: bool((by_number[v].get("verdict") or {}).get("promoted")
                     or by_number[v].get("promotions")) for v in versions},
            measure)

    def line(self, version: int) -> list[int]:
        """Return the promoted versions before a version, and itself: what users have had."""
        if version not in self.versions:
            raise DataError(f"version {version} is not in the matrix of {list(self.versions)}.")
        return [v for v in self.versions if v < version and self.promoted[v]] + [version]

    def at(self, version: int, batch: str) -> float:
        """Return R[version, batch], NaN if it was never measured."""
        return float(self.scores[self.versions.index(version), self.batches.index(batch)])

    def to_dict(self) -> dict[str, Any]:
        """Return the matrix as plain values that JSON can hold, None where nothing was measured.

        The scores stand under `accuracy` where they are, else under `scores` beside the measure.
        """
        scores = [[None if np.isnan(a) else float(a) for a in row] for row in self.scores]
        return {
            "versions": list(self.versions), "batches": list(self.batches),
            "promoted": [self.promoted[v] for v in self.versions],
            "trained": [[b in self.trained_on[v] for b in self.batches] for v in self.versions],
            **({"accuracy": scores} if self.measure is ACCURACY
               else {"measure": self.measure.name, "scores": scores}),
            "n": self.n.tolist(),
        }


def _evaluated(record: Mapping[str, Any]) -> tuple[str, int]:
    return (record.get("same_rows") or {}).get("time") or "", int(record["version"])


def _same_rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two scores are of the same test set, by its digest where both have it."""
    if one.get("rows") and other.get("rows"):
        return one["rows"] == other["rows"]
    return one["n"] == other["n"]


@dataclass(frozen=True)
class Summary:
    """Three numbers of one version, as shares; None where there is nothing to compare with.

    Of another measure than accuracy they are in its unit. The last two say how much better or worse
    it got: a loss that rose is below zero in the one and above zero in the other.

    average: the mean of R[T, j] over all batches j it was measured on (Lopez-Paz and
    Ranzato, 2017, "Gradient Episodic Memory for Continual Learning", ACC; Chaudhry et al., 2018,
    "Riemannian Walk for Incremental Learning", A).
    backward_transfer: the mean of R[T, j] - R[j, j] over the batches j that an earlier version of
    the line was trained on first, R[j, j] being that version's accuracy (Lopez-Paz and Ranzato,
    BWT): below zero means forgotten.
    forgetting: the mean over the same batches of the largest R[l, j] of an earlier version l of
    the line less R[T, j] (Chaudhry et al., F): above zero means forgotten.
    """

    version: int
    average: float | None
    backward_transfer: float | None
    forgetting: float | None
    batches: int
    earlier_batches: int
    measure: Measure = ACCURACY

    def flat(self) -> dict[str, float]:
        """Return the numbers that there are, under names that tracking takes.

        The average is called by its measure: average_accuracy, average_loss.
        """
        named = {f"average_{self.measure.name}": self.average,
                 "backward_transfer": self.backward_transfer, "forgetting": self.forgetting}
        return {name: value for name, value in named.items() if value is not None}


def summary(matrix: Matrix, version: int) -> Summary:
    """Return the three numbers of a version; raises DataError if it is not in the matrix."""
    line, good = matrix.line(version), matrix.measure.goodness
    known = [b for b in matrix.batches if not np.isnan(matrix.at(version, b))]
    transfer, forgotten = [], []
    for batch in known:
        owner = next((v for v in line if batch in matrix.trained_on[v]), version)
        if owner == version:
            continue
        now, then = good(matrix.at(version, batch)), good(matrix.at(owner, batch))
        best = [r for r in (good(matrix.at(v, batch)) for v in line[:-1]) if not np.isnan(r)]
        if np.isnan(then):
            continue
        transfer.append(now - then)
        forgotten.append(max(best) - now)
    return Summary(
        version,
        float(np.mean([matrix.at(version, b) for b in known])) if known else None,
        float(np.mean(transfer)) if transfer else None,
        float(np.mean(forgotten)) if forgotten else None,
        len(known), len(transfer), matrix.measure)
