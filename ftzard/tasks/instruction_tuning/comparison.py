"""Two models that write answers, side by side: how likely they find the wanted ones, what they say.

The losses are of all rows; answers are written for some of them, drawn by the seed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.errors import DataError
from ftzard.evaluation import gate, metric_info
from ftzard.evaluation.paired import Scored, sign_flips
from ftzard.registry import seen_rows
from ftzard.registry.lookup import Files
from ftzard.tasks.base import base_spec
from ftzard.tasks.instruction_tuning import TASK, answer_metrics, instructions

if TYPE_CHECKING:
    from ftzard.tasks.benchmark import Speed, Written


@dataclass(frozen=True)
class AnswerComparison:
    """Two models side by side.

    names: as people call them; asked: as they were asked for; rows: {source, n, batches, rejected
    {reason: rows} and, of a file, learned, as `learned.counted` has it}; scores: for loss, rouge_l
    and exact_match {first, second, difference (second minus first)}, each {value, lower, upper}; p:
    that a difference came by chance, of each; n, generated: rows of the loss and of the answers;
    speeds: of each; disagreements: rows that they answer differently (id, batch, text, label,
    first, second, their ROUGE-L), the furthest first.
    """

    names: tuple[str, str]
    asked: tuple[str, str]
    rows: dict
    scores: dict[str, dict[str, dict[str, float]]]
    p: dict[str, float]
    n: int
    generated: int
    confidence: float
    speeds: "tuple[Speed, Speed]"
    disagreements: pd.DataFrame

    def to_dict(self, examples: int | None = None) -> dict:
        """Return it as plain values; examples: how many rows they disagree on, default all."""
        return {
            "task": TASK.name,
            "models": [{"name": name, "asked": asked, "speed": asdict(speed)} for
                       name, asked, speed in zip(self.names, self.asked, self.speeds, strict=True)],
            "rows": self.rows, "scores": self.scores, "p": self.p, "n": self.n,
            "generated": self.generated, "confidence": self.confidence,
            "disagreements": self.disagreements.head(
                len(self.disagreements) if examples is None else examples).to_dict("records"),
            "disagreements_in_all": len(self.disagreements),
        }

    def verdict(self) -> str:
        """Return in sentences whether one is better, by the loss on all rows, and what that is
        worth if rows were learned."""
        return self._better() + seen_rows.sentence(self.rows)

    def _better(self) -> str:
        gap, loss = self.scores["loss"]["difference"], metric_info.LOSS
        told = (f"On {self.n:,} rows {self.names[1]} against {self.names[0]}: a difference of "
                f"{loss.gain(gap['value'])} per token ({100 * self.confidence:g} % interval "
                f"{loss.gain(gap['lower'], unit=False)} to {loss.gain(gap['upper'], unit=False)}); "
                "less is better.")
        if self.p["loss"] < 1 - self.confidence and not gap["lower"] <= 0 <= gap["upper"]:
            return f"{told} {self.names[gap['value'] < 0]} is better."
        return f"{told} No difference is shown."


def held(models: list[Files], rows: pd.DataFrame, told: Mapping, *, asked: tuple[str, str],
         config: Config, say: Callable[[str], object]) -> AnswerComparison:
    """Compare two models on rows (id, batch, text, label, messages), each in its own process."""
    from ftzard.tasks.benchmark import Subject, measured_answers

    rows = rows.reset_index(drop=True)
    most = config.task.instructions.generated_rows
    drawn = np.sort(np.random.default_rng(config.seed).permutation(len(rows))[:most])
    found = measured_answers(
        [Subject(model.adapter, base_spec(model.base), model.answering) for model in models],
        rows["messages"].map(json.loads).tolist(), rows["label"].tolist(), drawn,
        threads=config.threads, on_start=lambda i: say(
            f"{models[i].name} reads {len(rows):,} rows and answers {len(drawn):,}"))
    (one, two), speeds = zip(*found, strict=True)
    return _compared(models, rows, dict(told), drawn, one, two, speeds, asked, config)


def _compared(models: list[Files], rows: pd.DataFrame, told: dict, drawn: np.ndarray,
              one: "Written", two: "Written", speeds: "tuple[Speed, Speed]",
              asked: tuple[str, str], config: Config) -> AnswerComparison:
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
            told["rejected"] = {**told["rejected"], reason: int(which.sum())}
    kept = np.flatnonzero(~lost)
    at = np.flatnonzero(~lost[drawn])
    some = rows.iloc[drawn[at]].reset_index(drop=True)
    wanted, said = some["label"].tolist(), [[w.answers[i] for i in at] for w in (one, two)]
    # A loss per token of another tokenizer's is put in the tokens of the first.
    tokens = one.tokens[kept]
    losses = [answer_metrics.in_tokens(w.loss[kept], w.tokens[kept], tokens) for w in (one, two)]
    ids = rows["id"].iloc[kept].tolist()
    scores, p = {}, {}
    for name, of_each, weights, which in (
            ("loss", [-loss for loss in losses], tokens, ids),
            ("rouge_l", [answer_metrics.rouge_l(s, wanted) for s in said], None, some["id"].tolist()),
            ("exact_match", [answer_metrics.exact_match(s, wanted).astype(float) for s in said], None,
             some["id"].tolist())):
        if not which:
            continue
        weights = np.ones(len(which)) if weights is None else weights.astype(float)
        three = {"first": of_each[0], "second": of_each[1], "difference": of_each[1] - of_each[0]}
        scores[name] = {key: _interval(Scored(which, values, weights), name, config)
                        for key, values in three.items()}
        p[name] = sign_flips(weights * three["difference"], config.gate.resamples,
                                  np.random.default_rng(config.seed))
    return AnswerComparison(
        (models[0].name, models[1].name), asked, told, scores, p, len(kept), len(some),
        config.gate.confidence, speeds, _apart(some, said))


def _interval(scored: Scored, measure: str, config: Config) -> dict[str, float]:
    value, lower, upper = gate.interval(
        {"all": scored}, measure=measure, confidence=config.gate.confidence,
        resamples=config.gate.resamples, seed=config.seed)
    return {"value": value, "lower": lower, "upper": upper}


def _apart(rows: pd.DataFrame, said: list[list[str]]) -> pd.DataFrame:
    """Return the rows that are answered differently, those whose ROUGE-L differs most first."""
    wanted = rows["label"].tolist()
    first, second = (answer_metrics.rouge_l(s, wanted) if wanted else np.array([]) for s in said)
    table = rows[["id", "batch", "text", "label"]].assign(
        first=said[0], second=said[1], first_rouge_l=first, second_rouge_l=second)
    order = np.argsort(-abs(first - second), kind="stable")
    table = table.iloc[order]
    return table[table["first"] != table["second"]].reset_index(drop=True)


def labelled_rows(config: Config, file, identity: int) -> tuple[pd.DataFrame, dict]:
    """Return the usable rows of a file of instructions and answers, and what they are."""
    from ftzard.data import reading

    data = config.data
    raw = instructions.read(
        file, instruction_column=data.text_column, input_column=data.input_column,
        output_column=data.label_column, messages_column=data.messages_column,
        **reading.layout(data), ignored=data.ignored_columns or (),
        lacking=[column for column in (data.input_column,) if column])
    rows, rejected = instructions.clean(raw, batch=reading.batch_of(file),
                                        max_characters=data.max_characters, identity=identity)
    reasons = {str(r): int(n) for r, n in rejected["reason"].value_counts().items()}
    if rows.empty:
        raise DataError(f"{file} has no row that can be used: {reasons}.")
    told = {"source": str(file), "n": len(rows), "rejected": reasons,
            "batches": {str(rows["batch"].iloc[0]): len(rows)}}
    return rows[["id", "batch", "text", "label", "messages"]].reset_index(drop=True), told
