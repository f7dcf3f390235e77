"""Scores of a model's versions on the same test rows.

A version is evaluated when it is registered, and the test rows grow from round to round, so scores
of different rounds are of different rows and cannot be compared. Each evaluation therefore measures
every version it can on all current test rows and records them together under `same_rows`. The
newest such table is the one place for every number that stands beside another. A version that is
not in it is shown apart, with the rows that it was measured on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ftzard.evaluation import metric_info
from ftzard.evaluation.metric_info import Measure

#: Why a version of a record without a reason has no score on the newest rows.
NOT_MEASURED = "it was not measured on these rows"


@dataclass(frozen=True)
class Apart:
    """A version without a score on the newest test rows.

    Attributes:
        version: Its number.
        why: Why it has none, as part of a sentence.
        line: Its own scores, on the rows of its own evaluation.
        rows: Description of these rows.
    """

    version: int
    why: str
    line: Mapping
    rows: str


@dataclass(frozen=True)
class Standings:
    """The table of the newest evaluation. A line is an entry of a record's `metrics`.

    Attributes:
        judged: The evaluated version, whose record holds the table.
        n: Number of test rows.
        data_version: Data version of the evaluation, None where the record has none.
        time: Time of the evaluation, likewise.
        measure: What the gate compares.
        scores: {version: line}, oldest first.
        beside: {role: line} of the base and the baselines on the same rows.
        apart: Versions without a score on these rows, oldest first.
    """

    judged: int
    n: int
    data_version: str | None
    time: str | None
    measure: Measure
    scores: Mapping[int, Mapping]
    beside: Mapping[str, Mapping]
    apart: tuple[Apart, ...]

    @classmethod
    def of(cls, records: Iterable[Mapping]) -> "Standings | None":
        """Return the standings from the records of one model, None if no version was evaluated.

        An older record has no `same_rows`: its challenger and the champion at the time were
        measured on the same rows.
        """
        evaluated = [r for r in records if (r.get("metrics") or {}).get("challenger")]
        if not evaluated:
            return None
        newest = max(evaluated, key=_when)
        number, scores = int(newest["version"]), _scores(newest)
        others = {role: _line(newest, role) for role in newest["metrics"]
                  if role not in ("challenger", "champion")}
        table = newest.get("same_rows") or {}
        rows, reasons = table.get("rows") or {}, table.get("apart") or {}
        apart = [Apart(int(r["version"]), reasons.get(str(r["version"]), NOT_MEASURED),
                       _line(r, "challenger"), own_rows(r))
                 for r in evaluated if int(r["version"]) not in scores]
        return cls(
            judged=number, n=int(scores[number]["n"]),
            data_version=rows.get("data_version") or _data_version(newest),
            time=table.get("time"), measure=metric_info.measure_of(_line(newest, "challenger")),
            scores=scores, beside=others, apart=tuple(sorted(apart, key=lambda a: a.version)))

    @property
    def rows(self) -> str:
        """Description of the rows of the scores, as part of a sentence."""
        return _rows(self.n, self.data_version, self.time)

    def line(self, version: int) -> Mapping | None:
        """Return a version's scores on these rows, None if it has none."""
        return self.scores.get(version)

    def apart_of(self, version: int) -> Apart | None:
        """Return a version without a score on these rows, None if it has one."""
        return next((a for a in self.apart if a.version == version), None)


def own_rows(record: Mapping) -> str:
    """Return which rows a version was evaluated on, as part of a sentence."""
    line = (record.get("metrics") or {}).get("challenger") or {}
    table = record.get("same_rows") or {}
    return _rows(line.get("n"), (table.get("rows") or {}).get("data_version")
                 or _data_version(record), table.get("time"))


def _scores(record: Mapping) -> dict[int, Mapping]:
    table = (record.get("same_rows") or {}).get("scores")
    measure = metric_info.measure_of(_line(record, "challenger"))
    if table:
        return {int(v): _named(line, measure) for v, line in
                sorted(table.items(), key=lambda pair: int(pair[0]))}
    scores = {int(record["version"]): _line(record, "challenger")}
    if record.get("challenged") is not None and "champion" in record["metrics"]:
        scores[int(record["challenged"])] = _line(record, "champion")
    return dict(sorted(scores.items()))


def _line(record: Mapping, role: str) -> Mapping:
    return metric_info.scores_of(record, role) or {}


def _named(line: Mapping, measure: Measure) -> Mapping:
    """Return a line with its measure beside it, as `measures.scores_of` does."""
    return line if measure is metric_info.ACCURACY else {"measure": measure.name, **line}


def _when(record: Mapping) -> tuple[str, int]:
    return (record.get("same_rows") or {}).get("time") or "", int(record["version"])


def _data_version(record: Mapping) -> str | None:
    return ((record.get("data") or {}).get("tokenized") or {}).get("commit")


def _rows(n: int | None, data_version: str | None, time: str | None) -> str:
    rows = "an unknown number of test rows" if n is None else f"the {n:,} test rows"
    if data_version:
        rows += f" of data version {data_version[:10]}"
    return rows if time is None else f"{rows}, measured {time[:10]}"
