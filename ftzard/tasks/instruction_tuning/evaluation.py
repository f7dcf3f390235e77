"""How models that write answers are evaluated: losses of the wanted answers, and what they write.

Every model tells how likely it finds each wanted answer, and writes its own for some rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.data import storage
from ftzard.data.query_strategies import uncertainty_of as uncertainty
from ftzard.evaluation import gate, metric_info
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.gate import Scored, Verdict
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.prediction_cache import Arrays, CachedModel, Question
from ftzard.modeling.tokenizer import PreTrainedTokenizerBase
from ftzard.reporting import plots
from ftzard.tasks.evaluation import BY_SET, Evaluation, in_row_order, test_sets
from ftzard.tasks.instruction_tuning import answer_metrics, chat_template, tokenization
from ftzard.tasks.instruction_tuning.checks import answered_as
from ftzard.tasks.instruction_tuning.data import turns
from ftzard.tasks.instruction_tuning.generator import COLUMNS, Generator
from ftzard.tasks.instruction_tuning.model import bare as open_bare

#: No number of rows is known with which a base that is built here would do.
__all__ = ["uncertainty"]

ROWS_FOR_A_BUILT_BASE = None


@dataclass
class Answers:
    """One model's answers to the test rows.

    Attributes:
        loss: float64 (rows,), mean nats per token of the wanted answer, counted in the
            challenger's tokens.
        tokens: int64 (rows,), of the challenger's tokenizer.
        generated: Table with answer, confidence, tokens, finished, a line per row that the model
            writes for; none of a version that was not asked to write.
    """

    loss: np.ndarray
    tokens: np.ndarray
    generated: pd.DataFrame


@dataclass
class AnswerEvaluation(Evaluation):
    """Models that write answers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        instructions = self.config.task.instructions
        self.measure = instructions.score  # that the gate compares
        #: Numbers of the rows for which models write.
        self.drawn = tokenization.drawn(
            len(self.rows), instructions.generated_rows, self.config.seed)

    @staticmethod
    def require_tokenized(rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, meta: Mapping
                          ) -> None:
        """Raise ModelError if the rows were not tokenized as the challenger does it."""
        answered_as(rows, tokenizer, chat_template.from_meta(meta["template"]), meta["max_length"])

    @staticmethod
    def bare_model(config: Config, loaded: LoadedBase) -> tuple[Generator, dict]:
        """Return the base as the config asks it, and how that is."""
        bare = open_bare(loaded, config)
        return bare, {"template": bare.template.to_dict(), "max_new_tokens": bare.max_new_tokens}

    @staticmethod
    def read_by(rows: pd.DataFrame, meta: Mapping, tokenizer: PreTrainedTokenizerBase,
                same_base: bool) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the rows in the tokens of another version, and which it cannot answer alike.

        Its own template or tokenizer leaves no room for those, or cuts the answer elsewhere.
        """
        encoded = tokenization.encode(
            rows["messages"].map(turns).tolist(), rows["label"].tolist(), tokenizer,
            chat_template.from_meta(meta["template"]), meta["max_length"])
        differs = np.array([list(theirs) != list(ours) for theirs, ours in
                            zip(encoded.input_ids, rows["input_ids"], strict=True)], dtype=bool)
        cut = (np.asarray(encoded.cut) > 0) | (rows["cut"].to_numpy() > 0)
        return (rows.assign(input_ids=encoded.input_ids, prompt_length=encoded.prompt_length),
                np.asarray(encoded.lost) | differs & cut)

    def score(self, model: CachedModel, rows: pd.DataFrame | None = None, *,
              decides: bool = True) -> Answers:
        """Return a model's losses, and its answers to the drawn rows.

        Of a version that does not decide, no answers are asked where losses are compared.
        """
        writes = decides or self.measure != "loss"
        if rows is None:
            return _answers(model, self.rows, self.sets, self.drawn, writes, self.progress)
        answers = _answers(model, rows, self.sets, self.drawn, writes, self.progress)
        tokens = (self.rows["length"] - self.rows["prompt_length"]).to_numpy()
        loss = answer_metrics.in_tokens(answers.loss, answers.tokens, tokens)
        return Answers(loss, tokens, answers.generated)

    def score_challenger(self, model: CachedModel, validation: pd.DataFrame, facts: Mapping
                         ) -> None:
        """Add the challenger's answers and its sample for drift."""
        self.answers["challenger"] = answers = self.score(model)
        self.sample = drift_sample(self.rows.iloc[self.drawn], answers.generated,
                                   model.model.embeddings(_prompts(self.rows, self.drawn)))

    def judge(self, train: pd.DataFrame) -> Verdict:
        """Return the gate's verdict; rows that are not compared are a warning."""
        scored = {role: self.compared(answers) for role, answers in self.answers.items()}
        verdict = gate.judge(
            scored["challenger"], scored.get("champion"), self.config.gate, measure=self.measure,
            baselines={"base": scored["base"]}, seed=self.config.seed,
            allowance=self.allowance)
        if not self.left_out:
            return verdict
        count = len(self.left_out)
        return replace(verdict, warnings=[
            *verdict.warnings, f"{count:,} of {len(self.rows) + count:,} test rows are not "
            "compared: the champion has no room for them, or cuts their answer elsewhere."])

    def measure_of(self, answers: Answers) -> dict:
        """Return every measure of one model."""
        return _measured(answers, self.rows, self.drawn)

    def scalars(self, role: str) -> dict[str, float]:
        """Return the measures of one model that there are."""
        return {name: value for name, value in self.metrics(role).items() if value is not None}

    def line(self, answers: Answers) -> dict:
        """Return the compared score with its interval, and every measure, of a model.

        A version that was not asked to write has None for what follows from written answers.
        """
        limits = self.config.gate
        score, lower, upper = gate.interval(
            self.compared(answers), measure=self.measure, confidence=limits.confidence,
            resamples=limits.resamples, seed=self.config.seed)
        finished = answers.generated["finished"]
        return {"measure": self.measure, "score": score, "lower": lower, "upper": upper,
                **self.measure_of(answers),
                "finished": float(finished.mean()) if len(finished) else None}

    def own(self, role: str) -> dict[str, float]:
        """Return the workspace's own metrics of one model, of the rows that it writes for."""
        return self._own[role]

    @cached_property
    def _own(self) -> dict[str, dict[str, float]]:
        rows = self.rows.iloc[self.drawn]
        return {role: answer_metrics.own_metrics(self.own_metrics, rows, answers.generated)
                for role, answers in self.answers.items()}

    def batch_scores(self, answers: Answers) -> dict[str, dict]:
        """Return a model's mean score and rows on the test set of each batch."""
        measure, compared = metric_info.of(self.measure), self._compared()
        digests = {str(batch): storage.rows_digest(part)[:12]
                   for batch, part in compared.groupby("batch", sort=False)}
        return {batch: {"score": measure.goodness(float(np.average(s.scores, weights=s.weights))),
                        "n": len(s.ids), "rows": digests[batch]}
                for batch, s in self.compared(answers).items()}

    def examples(self) -> pd.DataFrame:
        """Return what the models wrote for the same instructions, and what was wanted.

        Some are drawn by the seed; the others are those on which the models differ most.
        """
        rows = self.rows.iloc[self.drawn].reset_index(drop=True)
        written = {role: answers.generated["answer"].tolist()
                   for role, answers in self.answers.items()}
        wanted = rows["label"].tolist()
        return answer_metrics.side_by_side(
            rows, written, {role: answer_metrics.rouge_l(answers, wanted)
                            for role, answers in written.items()}, seed=self.config.seed)

    def differences(self) -> np.ndarray:
        """Return, per compared row, by how much the challenger is better than who stood before."""
        return self._scores(self.answers["challenger"]) - self._scores(self.answers[self.before])

    def rows_by_difference(self) -> list[dict]:
        """Return the compared rows with their difference, the furthest apart first."""
        rows = self._compared()[["id", "text", "label"]].assign(difference=self.differences())
        order = np.argsort(-np.abs(rows["difference"].to_numpy()), kind="stable")
        return rows.iloc[order].to_dict("records")

    def figures(self) -> dict:
        """Return by how much the challenger answers each row better."""
        return {"score_differences": plots.score_differences(
            self.differences(), self.measure, self.before)}

    def entries(self) -> dict:
        """Return what the model's record keeps, beside verdict and tests by batch."""
        examples = self.examples()  # their texts are data, which git does not get
        return {"measure": self.measure, "test_metrics": self.metrics("challenger"),
                "answered_by": BY_SET, "left_out": list(self.left_out),
                "examples": examples.filter(regex="^(why|id|batch|.* score)$").to_dict("records")}

    def facts(self) -> dict:
        """Return what the step records for the report and the next steps."""
        return {"measure": self.measure, "generated_rows": len(self.drawn)}

    def _compared(self) -> pd.DataFrame:
        """Return the rows that the gate compares: all for the loss, else the drawn ones."""
        return self.rows if self.measure == "loss" else self.rows.iloc[self.drawn]

    def _scores(self, answers: Answers) -> np.ndarray:
        """Return a model's score per compared row; more is better."""
        if self.measure == "loss":
            return -answers.loss
        measured = {"rouge_l": answer_metrics.rouge_l, "exact_match": answer_metrics.exact_match}
        return np.asarray(measured[self.measure](
            answers.generated["answer"].tolist(),
            self.rows["label"].iloc[self.drawn].tolist()), dtype=float)

    @property
    def compared_by(self) -> str:
        """The name of the measure that the gate compares."""
        return self.measure

    def compared(self, answers: Answers) -> dict[str, Scored]:
        """Return a model's scores by batch; a loss counts by the tokens of its answer."""
        compared, scores = self._compared().reset_index(drop=True), self._scores(answers)
        weights = answers.tokens if self.measure == "loss" else np.ones(len(compared))
        return {str(batch): Scored(part["id"].tolist(), scores[part.index], weights[part.index])
                for batch, part in compared.groupby("batch", sort=False)}


def test_metrics(generator: Generator, rows: pd.DataFrame, config: Config, *,
                 by_set: bool = True) -> dict:
    """Return every measure of a generator on test rows.

    Args:
        by_set: Answer each test set by itself, as an evaluation does; else all rows together,
            which gives other last digits.
    """
    drawn = tokenization.drawn(len(rows), config.task.instructions.generated_rows, config.seed)
    sets = test_sets(rows) if by_set else [np.arange(len(rows))]
    answers = _answers(CachedModel({}, lambda: generator), rows, sets, drawn, True, None)
    return _measured(answers, rows, drawn)


test_metrics.__test__ = False  # not a test case, whatever pytest makes of the name


def drift_sample(rows: pd.DataFrame, answers: pd.DataFrame, embeddings: np.ndarray) -> Sample:
    """Return the drift sample of prompts (text, prompt_length), answers and embeddings."""
    return Sample.of_answers(rows["text"].tolist(), rows["prompt_length"].tolist(),
                             answers["confidence"].tolist(), embeddings)


def reference_sample(generator: Generator, rows: pd.DataFrame, config: Config) -> Sample:
    """Return the drift sample of some test rows, drawn by the seed, that are answered now."""
    drawn = tokenization.drawn(len(rows), config.task.instructions.generated_rows, config.seed)
    prompts = _prompts(rows, drawn)
    return drift_sample(rows.iloc[drawn], generator.generate(prompts),
                        generator.embeddings(prompts))


def _answers(model: CachedModel, rows: pd.DataFrame, sets: list[np.ndarray], drawn: np.ndarray,
             writes: bool, progress) -> Answers:
    """Return a model's losses of rows, each test set by itself, and its answers to drawn rows."""
    ids, lengths = rows["input_ids"].tolist(), rows["prompt_length"].tolist()
    losses = model.answers(
        [Question("losses", [ids[i] for i in places], [lengths[i] for i in places])
         for places in sets], _losses)
    loss, tokens = (in_row_order(sets, [part[name] for part in losses], len(rows))
                    for name in ("loss", "tokens"))
    if not writes:
        return Answers(loss, tokens, pd.DataFrame(columns=list(COLUMNS)))

    def generate(generator: Generator, question: Question) -> Arrays:
        written = generator.generate(question.input_ids, on_step=progress)
        return {"answer": np.array(written["answer"].tolist(), dtype=str),
                **{name: written[name].to_numpy() for name in COLUMNS if name != "answer"}}

    prompts = _prompts(rows, drawn)
    parts = [part for places in sets if len(part := np.flatnonzero(np.isin(drawn, places)))]
    written = model.answers([Question("answers", [prompts[i] for i in part]) for part in parts],
                            generate)
    tables = [pd.DataFrame({name: arrays[name] for name in COLUMNS}, index=part)
              for part, arrays in zip(parts, written, strict=True)]
    return Answers(loss, tokens, pd.concat(tables).sort_index().reset_index(drop=True).astype(
        {"answer": "str"}))


def _losses(generator: Generator, question: Question) -> Arrays:
    loss, tokens = generator.losses(question.input_ids, question.lengths)
    return {"loss": loss, "tokens": tokens}


def _measured(answers: Answers, rows: pd.DataFrame, drawn: np.ndarray) -> dict:
    return answer_metrics.measure(
        answers.loss, answers.tokens, answers.generated["answer"].tolist(),
        rows["label"].iloc[drawn].tolist())


def _prompts(rows: pd.DataFrame, drawn: np.ndarray) -> list[list[int]]:
    part = rows.iloc[drawn]
    return [list(ids[:length]) for ids, length in
            zip(part["input_ids"], part["prompt_length"], strict=True)]


EVALUATION = AnswerEvaluation
