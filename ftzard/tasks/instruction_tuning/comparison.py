"""Two models that write answers, side by side: how likely they find the wanted ones, what they say.

The losses are of all rows; answers are written for some of them, drawn by the seed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.errors import DataError
from ftzard.evaluation import gate, metric_info
from ftzard.evaluation.paired import Scored, sign_flips
from ftzard.tasks.base import base_spec
from ftzard.tasks.comparison import ComparedModel, Comparison, Line
from ftzard.tasks.instruction_tuning import TASK, answer_metrics, asked_texts

if TYPE_CHECKING:
    from ftzard.tasks.benchmark import Speed, Written


@dataclass(frozen=True, kw_only=True)
class AnswerComparison(Comparison):
    """Two models that write answers, on the same rows.

    scores: of loss, rouge_l and exact_match; p: that a difference came by chance, of each;
    generated: rows of the answers; disagreements: those that they answer differently (id, batch,
    text, label, first, second, their ROUGE-L), the furthest first.
    """

    p: dict[str, float]
    generated: int

    disagreements_title = "Where their answers differ"
    disagreement_columns = ("text", "wanted")

    def measures(self) -> dict:
        """Return what is measured of answers, as plain values."""
        return {"task": TASK.name, "p": self.p, "generated": self.generated}

    def better(self) -> str:
        """Return in sentences whether one is better, by the loss on all rows."""
        gap, loss = self.scores["loss"]["difference"], metric_info.LOSS
        words = (f"On {self.n:,} rows {self.names[1]} against {self.names[0]}: a difference of "
                 f"{loss.gain(gap['value'])} per token ({100 * self.confidence:g} % interval "
                 f"{loss.gain(gap['lower'], unit=False)} to "
                 f"{loss.gain(gap['upper'], unit=False)}); less is better.")
        if self.p["loss"] < 1 - self.confidence and not gap["lower"] <= 0 <= gap["upper"]:
            return f"{words} {self.names[gap['value'] < 0]} is better."
        return f"{words} No difference is shown."

    def subtitle(self) -> str:
        """Return which rows were compared, and how many were answered."""
        return (f"{self.n:,} rows of {self.rows['source']}, {self.generated:,} of them answered")

    def score_lines(self) -> list[Line]:
        """Return (score, of the first, of the second, difference) as texts."""
        lines = []
        for key, score in self.scores.items():
            measure, gap = metric_info.of(key), score["difference"]
            lines.append((measure.short, *(
                f"{measure.value(score[side]['value'], unit=False)} "
                f"({measure.range(score[side]['lower'], score[side]['upper'])})"
                for side in ("first", "second")),
                f"{measure.gain(gap['value'], unit=False)} "
                f"({measure.gain(gap['lower'], unit=False)} to "
                f"{measure.gain(gap['upper'], unit=False)})"))
        return [*lines, *self.own_lines()]

    def disagreement_lines(self, most: int) -> list[Line]:
        """Return (instruction, wanted answer, the first's, the second's)."""
        shown = self.disagreements.head(most)[["text", "label", "first", "second"]]
        return list(shown.itertuples(index=False, name=None))

    def disagreements_summary(self) -> str:
        """Return in a sentence how many rows they answer differently."""
        return (f"They answer {len(self.disagreements):,} of {self.generated:,} rows differently; "
                "those come first on which their ROUGE-L differs most")


def compare(models: Sequence[ComparedModel], rows: pd.DataFrame, described: dict, *,
            asked: tuple[str, str], config: Config, caveat: str,
            own_metrics: Mapping[str, Mapping], say: Callable[[str], object]) -> AnswerComparison:
    """Compare two models on rows (id, batch, text, label, messages), each in its own process."""
    from ftzard.tasks.benchmark import Subject, measured_answers

    rows = rows.reset_index(drop=True)
    most = config.task.instructions.generated_rows
    drawn = np.sort(np.random.default_rng(config.seed).permutation(len(rows))[:most])
    chats = rows["messages"].map(json.loads).tolist()
    results = measured_answers(
        [Subject(model.adapter, base_spec(model.base), model.answering) for model in models],
        [asked_texts.clean(chats, model.cleaning.get("own")) for model in models],
        rows["label"].tolist(), drawn,
        threads=config.threads, on_start=lambda i: say(
            f"{models[i].name} reads {len(rows):,} rows and answers {len(drawn):,}"))
    (one, two), speeds = zip(*results, strict=True)
    return compared(rows, drawn, one, two, names=(models[0].name, models[1].name), asked=asked,
                    described=described, speeds=speeds, config=config, caveat=caveat,
                    own_metrics=own_metrics)


def compared(rows: pd.DataFrame, drawn: np.ndarray, one: "Written", two: "Written", *,
             names: tuple[str, str], asked: tuple[str, str], described: dict,
             speeds: "tuple[Speed, Speed]", config: Config, caveat: str = "",
             own_metrics: Mapping[str, Mapping] | None = None) -> AnswerComparison:
    """Return the comparison of what two models wrote; drawn: numbers of the answered rows."""
    without = one.lost | two.lost
    # Of an answer that is cut elsewhere the two would be asked for different parts.
    elsewhere = ~without & ((one.cut > 0) | (two.cut > 0)) & (
        (one.cut != two.cut) | (one.tokens != two.tokens))
    lost = without | elsewhere
    if lost.all():
        raise DataError(f"none of {len(rows):,} rows leaves both models room for its answer; "
                        "expected shorter rows.")
    for reason, which in (("no room for its answer", without),
                          ("its answer is cut elsewhere for the other", elsewhere)):
        if which.any():
            described["rejected"] = {**described["rejected"], reason: int(which.sum())}
    answered = np.flatnonzero(~lost)
    at = np.flatnonzero(~lost[drawn])
    some = rows.iloc[drawn[at]].reset_index(drop=True)
    wanted, written = some["label"].tolist(), [[w.answers[i] for i in at] for w in (one, two)]
    own = [answer_metrics.own_metrics(own_metrics or {}, some, w.table(at)) for w in (one, two)]
    # A loss per token of another tokenizer's is put in the tokens of the first.
    tokens = one.tokens[answered]
    losses = [answer_metrics.in_tokens(w.loss[answered], w.tokens[answered], tokens)
              for w in (one, two)]
    ids = rows["id"].iloc[answered].tolist()
    scores, p = {}, {}
    for name, of_each, weights, which in (
            ("loss", [-loss for loss in losses], tokens, ids),
            ("rouge_l", [answer_metrics.rouge_l(s, wanted) for s in written], None,
             some["id"].tolist()),
            ("exact_match", [answer_metrics.exact_match(s, wanted).astype(float) for s in written],
             None, some["id"].tolist())):
        if not which:
            continue
        weights = np.ones(len(which)) if weights is None else weights.astype(float)
        three = {"first": of_each[0], "second": of_each[1], "difference": of_each[1] - of_each[0]}
        scores[name] = {key: _interval(Scored(which, values, weights), name, config)
                        for key, values in three.items()}
        p[name] = sign_flips(weights * three["difference"], config.gate.resamples,
                                  np.random.default_rng(config.seed))
    return AnswerComparison(
        names=names, asked=asked, rows=described, scores=scores, p=p, n=len(answered),
        generated=len(some), confidence=config.gate.confidence, speeds=speeds,
        disagreements=_apart(some, written), caveat=caveat,
        own={name: {"first": own[0][name], "second": own[1][name]} for name in own[0]})


def _interval(scored: Scored, measure: str, config: Config) -> dict[str, float]:
    value, lower, upper = gate.interval(
        {"all": scored}, measure=measure, confidence=config.gate.confidence,
        resamples=config.gate.resamples, seed=config.seed)
    return {"value": value, "lower": lower, "upper": upper}


def _apart(rows: pd.DataFrame, written: list[list[str]]) -> pd.DataFrame:
    """Return the rows that are answered differently, those whose ROUGE-L differs most first."""
    wanted = rows["label"].tolist()
    first, second = (answer_metrics.rouge_l(s, wanted) if wanted else np.array([]) for s in written)
    table = rows[["id", "batch", "text", "label"]].assign(
        first=written[0], second=written[1], first_rouge_l=first, second_rouge_l=second)
    order = np.argsort(-abs(first - second), kind="stable")
    table = table.iloc[order]
    return table[table["first"] != table["second"]].reset_index(drop=True)
