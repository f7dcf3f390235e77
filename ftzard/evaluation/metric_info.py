"""What models are judged by: each measure's name, its unit, and how its numbers are said.

A round of classification is judged by accuracy, one of instruction tuning by what
`task.instructions.score` names. Records and verdicts hold the name under `measure`; where there is
none it is accuracy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftzard.errors import DataError, nearest


@dataclass(frozen=True)
class Measure:
    """One measure and its words.

    name: as in the config and in records; title: in a sentence; short: over a column; scale and
    digits: how a number is written; unit, step: behind a value and behind a difference of two;
    of_labels: whether it is about labels, each of which may veto by its recall.
    """

    name: str
    title: str
    short: str
    scale: float
    digits: int
    unit: str
    step: str
    lower_is_better: bool = False
    of_labels: bool = False

    def value(self, number: float | None, unit: bool = True) -> str:
        """Return a value as a person reads it, '–' for none."""
        if number is None:
            return "–"
        return f"{self.scale * number:,.{self.digits}f}" + (self.unit if unit else "")

    def gain(self, number: float, sign: bool = True, unit: bool = True) -> str:
        """Return a difference of two values, with or without its sign; too small a one is 0."""
        small = abs(number) < 0.5 * 10.0 ** -self.digits / self.scale
        shape = f"+,.{self.digits}f" if sign and not small else f",.{self.digits}f"
        text = f"{self.scale * (number if sign and not small else abs(number)):{shape}}"
        return text.replace("-", "−") + (self.step if unit else "")

    def range(self, lower: float, upper: float) -> str:
        """Return an interval of values."""
        unit = " %" if self.scale == 100 else ""
        return f"{self.value(lower, unit=False)} – {self.value(upper, unit=False)}{unit}"

    def tick(self, number: float, sign: bool = False) -> str:
        """Return a number as it stands at an axis."""
        if sign:
            return "0" if abs(number) < 1e-9 else (
                f"{self.scale * number:+.3g}".replace("-", "−"))
        return f"{self.scale * number:.4g}" + (" %" if self.scale == 100 else "")

    def goodness(self, number: float) -> float:
        """Return the value as a score of which more is better: a loss becomes its negative."""
        return -number if self.lower_is_better else number


ACCURACY = Measure("accuracy", "accuracy", "accuracy", 100, 1, " %", " points", of_labels=True)
SAMPLES_F1 = Measure("samples_f1", "mean F1 of the rows' labels", "F1 per row", 100, 1, " %",
                     " points", of_labels=True)
LOSS = Measure("loss", "loss on the wanted answers", "loss", 1, 3, " nats per token", " nats",
               lower_is_better=True)
ROUGE_L = Measure("rouge_l", "ROUGE-L", "ROUGE-L", 1, 3, "", "")
EXACT_MATCH = Measure("exact_match", "exact match", "exact match", 100, 1, " %", " points")
MEASURES = {m.name: m for m in (ACCURACY, SAMPLES_F1, LOSS, ROUGE_L, EXACT_MATCH)}


def of(name: str) -> Measure:
    """Return the measure of a name; raises DataError for one that is not known."""
    if name not in MEASURES:
        raise DataError(f"'{name}' is no measure of a model{nearest(name, MEASURES)}")
    return MEASURES[name]


def measure_of(entry: Mapping[str, Any] | None) -> Measure:
    """Return the measure that a record, a verdict or a line of scores names, or accuracy."""
    return of((entry or {}).get("measure") or ACCURACY.name)


def scores_of(record: Mapping[str, Any], role: str = "challenger") -> dict[str, Any] | None:
    """Return one model's line of a record's metrics with the measure beside it, or None.

    A line of accuracy is returned as it stands, without a measure.
    """
    line = (record.get("metrics") or {}).get(role)
    measure = measure_of({"measure": (line or {}).get("measure") or record.get("measure")})
    return line if line is None or measure is ACCURACY else {"measure": measure.name, **line}


def score(line: Mapping[str, Any]) -> float | None:
    """Return the value of a line's measure: its `score`, or what stands under the measure's name.

    line: of a record's metrics, told of a round of the story or of a registered version.
    """
    value = line.get("score")
    return line.get(measure_of(line).name) if value is None else value


def sentence(line: Mapping[str, Any]) -> str:
    """Say one model's line of scores in a part of a sentence.

    line: as `scores_of` returns it: accuracy and n, or measure, score, n and any of lower, upper,
    loss, perplexity, rouge_l, exact_match, generated.
    """
    measure = measure_of(line)
    if measure is ACCURACY:
        return f"{line['accuracy']:.1%} of {line['n']:,} test rows"
    rows = line["n"] if measure is LOSS else line.get("generated") or line["n"]
    text = f"{measure.short} {measure.value(score(line))}"
    if line.get("lower") is not None and line.get("upper") is not None:
        text += f" ({measure.range(line['lower'], line['upper']).replace(' – ', '–')})"
    others = [f"{other.short} {other.value(line[other.name])}"
              for other in (LOSS, ROUGE_L, EXACT_MATCH)
              if other is not measure and line.get(other.name) is not None]
    if line.get("perplexity") is not None:
        others.insert(0, f"perplexity {line['perplexity']:,.2f}")
    return ", ".join([f"{text} on {rows:,} test rows", *others])
