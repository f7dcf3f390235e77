"""A contest of answers: several models answer the same test instructions, and the gate decides.

Every model tells how likely it finds each wanted answer, and writes its own for some of them.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.config.schema import Gate
from ftzard.evaluation import answers, gate, measures
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.gate import Scored, Verdict
from ftzard.models import adapter, checks, instructions, measured
from ftzard.models.answering import Answerer
from ftzard.models.base import LoadedBase, load_base
from ftzard.models.spec import BaseSpec
from ftzard.notebooks import first_model, instructing, model_files, reference, reigning
from ftzard.notebooks.chapter import Chapter
from ftzard.tracking.registry import Version


@dataclass
class Answered:
    """One model's answers: loss and tokens of every test row, and what it wrote for some of them.

    loss: float64 (rows,), mean nats per token of the wanted answer, counted in the challenger's
    tokens; tokens: int64 (rows,), of the challenger's tokenizer;
    generated: table with answer, confidence, tokens, finished, a line per row that was asked; cost:
    what these answers cost.
    """

    loss: np.ndarray
    tokens: np.ndarray
    generated: pd.DataFrame
    cost: dict[str, float]


@dataclass
class AnswerContest:
    """What came of it.

    rows: the test rows; asked: the numbers of those whose answers were generated; by_role: answers
    per model; measure: what the gate compared; verdict: the gate's; champion: who was challenged,
    if anyone; sample: what drift is told of the rows that were asked; gate: its settings; left_out:
    ids of test rows that are not compared, since the champion cannot answer them alike.
    """

    rows: pd.DataFrame
    asked: np.ndarray
    by_role: dict[str, Answered]
    measure: str
    verdict: Verdict
    champion: Version | None
    sample: Sample
    gate: Gate
    seed: int
    left_out: tuple[str, ...] = ()

    @property
    def before(self) -> str:
        """Who stood before the challenger: the champion, or the bare base."""
        return "champion" if self.champion is not None else "base"

    def metrics(self, role: str) -> dict:
        """Return every measure of one model."""
        return _measured(self.by_role[role], self.rows, self.asked)

    def table(self) -> pd.DataFrame:
        """Return a line per model: the compared score with its interval, and every measure."""
        lines = []
        for role in self.by_role:
            score, lower, upper = gate.interval(
                self._scored(role), measure=self.measure, confidence=self.gate.confidence,
                resamples=self.gate.resamples, seed=self.seed)
            finished = self.by_role[role].generated["finished"].mean()
            lines.append({"model": role, "measure": self.measure, "score": score, "lower": lower,
                          "upper": upper, **self.metrics(role), "finished": float(finished)})
        return pd.DataFrame(lines)

    def side_by_side(self) -> pd.DataFrame:
        """Return what the models wrote for the same instructions, and what was wanted.

        Some are drawn by the seed; the others are those on which the models differ most.
        """
        asked = self.rows.iloc[self.asked].reset_index(drop=True)
        written = {role: told.generated["answer"].tolist() for role, told in self.by_role.items()}
        wanted = asked["label"].tolist()
        return answers.side_by_side(
            asked, written, {role: answers.rouge_l(said, wanted) for role, said in written.items()},
            seed=self.seed)

    def costs(self) -> pd.DataFrame:
        """Return a line per model: latency_ms of one, rows_per_second, memory_mb of weights."""
        return pd.DataFrame([{"model": role, **told.cost} for role, told in self.by_role.items()])

    def differences(self) -> np.ndarray:
        """Return, per compared row, by how much the challenger is better than who stood before."""
        return _scores(self.measure, self.rows, self.asked, self.by_role["challenger"]) - _scores(
            self.measure, self.rows, self.asked, self.by_role[self.before])

    def by_batch(self, role: str) -> dict[str, dict]:
        """Return a model's mean score and rows on the test set of each batch."""
        told = measures.of(self.measure)
        return {batch: {"score": told.goodness(float(np.average(s.scores, weights=s.weights))),
                        "n": len(s.ids)} for batch, s in self._scored(role).items()}

    def tested(self, version: Version) -> dict[str, dict[str, dict]]:
        """Return what was measured batch by batch, as a record keeps it: {version: {batch: …}}."""
        measured = {str(version.number): self.by_batch("challenger")}
        if self.champion is not None:
            measured[str(self.champion.number)] = self.by_batch("champion")
        return measured

    def flat(self) -> dict[str, float]:
        """Return the scores of all models under names that tracking takes."""
        found = {f"test_{k}": v for k, v in self.metrics("challenger").items() if v is not None}
        for role in self.by_role:
            found |= {f"{role}_test_{k}": v for k, v in self.metrics(role).items()
                      if v is not None}
            found |= {f"{role}_{k}": v for k, v in self.by_role[role].cost.items()}
        verdict = self.verdict
        return {**found, "gate_difference": verdict.difference, "gate_lower": verdict.lower,
                "gate_upper": verdict.upper}

    def entries(self) -> dict:
        """Return what the model's record keeps of it, beside verdict and tests by batch."""
        examples = self.side_by_side()  # their texts are data, which git does not get
        return {"measure": self.measure, "test_metrics": self.metrics("challenger"),
                "left_out": list(self.left_out),
                "examples": examples.filter(regex="^(why|id|batch|.* score)$").to_dict("records")}

    def facts(self) -> dict:
        """Return what the step says of it for the report and the next steps."""
        return {"measure": self.measure, "generated_rows": len(self.asked)}

    def _scored(self, role: str) -> dict[str, Scored]:
        return _by_batch(self.measure, self.rows, self.asked, self.by_role[role])


def hold(chapter: Chapter, rows: pd.DataFrame, challenger: Path) -> AnswerContest:
    """Let challenger, champion and bare base answer the test rows of all batches; ask the gate.

    rows: tokenized rows of all splits and batches; challenger: its unpacked adapter. The base is
    loaded once and the adapters are put on it in turn; a champion that is asked in another way, or
    on another base, brings its own.
    """
    config, workspace = chapter.config, chapter.workspace
    told = config.task.instructions
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    champion = reigning.champion(workspace, chapter.tracking, config.tracking.registered_model)
    loaded = load_base(model_files.base_spec(workspace, config.model, config.task.kind),
                       continues=challenger)
    meta = adapter.read_meta(challenger)
    checks.answered_as(test, loaded.tokenizer, instructing.template_in(meta), meta["max_length"])
    hashes = {"base_hash": loaded.weight_hash, "tokenizer_hash": loaded.tokenizer_hash}
    chapter.run.tags(hashes)
    chapter.say(**hashes, quantised_layers=loaded.quantised)
    defender, lost = None, np.zeros(len(test), dtype=bool)
    if champion is not None:
        defender = _Defender.of(loaded, *model_files.version_files(workspace, champion), test)
        lost = defender.lost
        chapter.log(test_rows_without_room_for_champion=int(lost.sum()))
    kept = test[~lost].reset_index(drop=True)
    asked = instructing.drawn(len(kept), told.generated_rows, config.seed)
    answerer = adapter.open_answerer(challenger, loaded)
    try:
        by_role = {"challenger": _answered(answerer, kept, asked, chapter)}
        embeddings = answerer.embeddings(_prompts(kept, asked))
    finally:
        adapter.detach(loaded)
    if defender is not None:
        by_role["champion"] = defender.answered(kept, asked, chapter)
    by_role["base"] = _answered(instructing.bare(config, loaded), kept, asked, chapter)
    scored = {role: _by_batch(told.score, kept, asked, answered)
              for role, answered in by_role.items()}
    limits = {k: v for k, v in vars(config.gate).items() if k not in gate.OF_CLASSES}
    verdict = gate.judge_scores(
        scored["challenger"], scored.get("champion"), measure=told.score,
        baselines={"base": scored["base"]}, seed=config.seed, **limits)
    verdict = first_model.advised(chapter, verdict, rows)
    if lost.any():
        verdict = replace(verdict, warnings=[
            *verdict.warnings, f"{int(lost.sum()):,} of {len(test):,} test rows are not compared: "
            "the champion has no room for them, or cuts their answer elsewhere."])
    return AnswerContest(
        kept, asked, by_role, told.score, verdict, champion,
        reference.answer_sample(kept.iloc[asked], by_role["challenger"].generated, embeddings),
        config.gate, config.seed, tuple(test.loc[lost, "id"]))


def metrics_of(answerer: Answerer, test: pd.DataFrame, generated_rows: int, seed: int) -> dict:
    """Return every measure of one model on test rows, as `AnswerContest.metrics` does."""
    asked = instructing.drawn(len(test), generated_rows, seed)
    return _measured(_answered(answerer, test, asked), test, asked)


@dataclass
class _Defender:
    """The champion as it is asked: on the loaded base if it is the same, else on its own.

    lost: rows of the test that it and the challenger do not answer alike: its own template or
    tokenizer leaves no room for them, or cuts the answer elsewhere.
    """

    loaded: LoadedBase | None
    answerer: Answerer | None
    folder: Path
    input_ids: list[list[int]]
    prompt_lengths: list[int]
    lost: np.ndarray

    @classmethod
    def of(cls, loaded: LoadedBase, folder: Path, spec: BaseSpec, test: pd.DataFrame
           ) -> "_Defender":
        meta = adapter.read_meta(folder)
        same = (meta["base"]["weight_hash"], meta["tokenizer_hash"]) == (
            loaded.weight_hash, loaded.tokenizer_hash)
        answerer = None if same else adapter.open_answerer(folder, spec)
        tokenizer = loaded.tokenizer if same else answerer.tokenizer
        found = instructions.encode(
            test["messages"].map(instructing.turns).tolist(), test["label"].tolist(), tokenizer,
            instructing.template_in(meta), meta["max_length"])
        otherwise = np.array([list(mine) != list(ours) for mine, ours in
                              zip(found.input_ids, test["input_ids"], strict=True)], dtype=bool)
        cut = (np.asarray(found.cut) > 0) | (test["cut"].to_numpy() > 0)
        return cls(loaded if same else None, answerer, folder, found.input_ids,
                   found.prompt_length.tolist(), np.asarray(found.lost) | otherwise & cut)

    def answered(self, kept: pd.DataFrame, asked: np.ndarray, chapter: Chapter) -> Answered:
        places = np.flatnonzero(~self.lost)
        mine = kept.assign(input_ids=[self.input_ids[i] for i in places],
                           prompt_length=[self.prompt_lengths[i] for i in places])
        ours = (kept["length"] - kept["prompt_length"]).to_numpy()
        answerer = self.answerer or adapter.open_answerer(self.folder, self.loaded)
        try:
            told = _answered(answerer, mine, asked, chapter)
        finally:
            if self.answerer is None:
                adapter.detach(self.loaded)
        return Answered(answers.in_tokens(told.loss, told.tokens, ours), ours, told.generated,
                        told.cost)


def _answered(answerer: Answerer, rows: pd.DataFrame, asked: np.ndarray,
              chapter: Chapter | None = None) -> Answered:
    loss, tokens = answerer.losses(rows["input_ids"].tolist(), rows["prompt_length"].tolist())
    prompts, began = _prompts(rows, asked), time.perf_counter()
    written = answerer.generate(prompts, on_step=chapter.progress if chapter else None)
    seconds = time.perf_counter() - began
    return Answered(loss, tokens, written, measured.costs(
        answerer.model, lambda ids: answerer.generate([ids]), prompts, seconds, measured.WRITTEN))


def _measured(told: Answered, rows: pd.DataFrame, asked: np.ndarray) -> dict:
    return answers.measure(told.loss, told.tokens, told.generated["answer"].tolist(),
                           rows["label"].iloc[asked].tolist())


def _prompts(rows: pd.DataFrame, asked: np.ndarray) -> list[list[int]]:
    drawn = rows.iloc[asked]
    return [list(ids[:length]) for ids, length in
            zip(drawn["input_ids"], drawn["prompt_length"], strict=True)]


def _compared(measure: str, rows: pd.DataFrame, asked: np.ndarray) -> pd.DataFrame:
    """Return the rows that the gate compares: all for the loss, else those that were asked."""
    return rows if measure == "loss" else rows.iloc[asked]


def _scores(measure: str, rows: pd.DataFrame, asked: np.ndarray, told: Answered) -> np.ndarray:
    """Return a model's score per compared row; more is better."""
    if measure == "loss":
        return -told.loss
    written, wanted = told.generated["answer"].tolist(), rows["label"].iloc[asked].tolist()
    found = answers.rouge_l if measure == "rouge_l" else answers.exact_match
    return np.asarray(found(written, wanted), dtype=float)


def _by_batch(measure: str, rows: pd.DataFrame, asked: np.ndarray, told: Answered
              ) -> dict[str, Scored]:
    """Return a model's scores by batch; a loss counts by the tokens of its answer."""
    compared = _compared(measure, rows, asked).reset_index(drop=True)
    scores = _scores(measure, rows, asked, told)
    weights = told.tokens if measure == "loss" else np.ones(len(compared))
    return {str(batch): Scored(part["id"].tolist(), scores[part.index], weights[part.index])
            for batch, part in compared.groupby("batch", sort=False)}
