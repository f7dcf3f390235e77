"""A contest of answers: several models answer the same test instructions, and the gate decides.

Every model tells how likely it finds each wanted answer, and writes its own for some of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.config.schema import Gate
from ftzard.data import storage
from ftzard.errors import ModelError
from ftzard.evaluation import gate, metric_info
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.gate import Scored, Verdict
from ftzard.modeling import adapter, prediction_cache
from ftzard.modeling.base_model import LoadedBase, load_base
from ftzard.modeling.prediction_cache import AnswerStore, Arrays, Question
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import load_tokenizer
from ftzard.registry import champion_alias, model_records
from ftzard.steps import drift_reference, first_model, row_accounts, version_scores
from ftzard.steps.step_run import StepRun
from ftzard.tasks.benchmark import weights_mb
from ftzard.tasks.instruction_tuning import answer_metrics, tokenization, tokenize_rows
from ftzard.tasks.instruction_tuning.checks import answered_as
from ftzard.tasks.instruction_tuning.data import turns
from ftzard.tasks.instruction_tuning.generator import COLUMNS, Generator
from ftzard.tasks.instruction_tuning.loading import open_generator
from ftzard.tracking.registry import Version


@dataclass
class Answered:
    """One model's answers: loss and tokens of every test row, and what it wrote for some of them.

    loss: float64 (rows,), mean nats per token of the wanted answer, counted in the challenger's
    tokens; tokens: int64 (rows,), of the challenger's tokenizer;
    generated: table with answer, confidence, tokens, finished, a line per row that was asked, none
    of a version that was not asked to write.
    """

    loss: np.ndarray
    tokens: np.ndarray
    generated: pd.DataFrame


@dataclass
class AnswerEvaluation:
    """What came of it.

    rows: the test rows; asked: the numbers of those whose answers were generated; by_role: answers
    per model; measure: what the gate compared; verdict: the gate's; champion: who was challenged,
    if anyone; sample: what drift is told of the rows that were asked; gate: its settings; memory:
    MiB that the weights of each model take, by its role; left_out:
    ids of test rows that are not compared, since the champion cannot answer them alike; earlier:
    answers of further versions, by number; apart: {number: why} of those that did not answer these
    rows.
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
    memory: dict[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    earlier: dict[int, Answered] = field(default_factory=dict)
    apart: dict[int, str] = field(default_factory=dict)

    @property
    def before(self) -> str:
        """Who stood before the challenger: the champion, or the bare base."""
        return "champion" if self.champion is not None else "base"

    def metrics(self, role: str) -> dict:
        """Return every measure of one model."""
        return _measured(self.by_role[role], self.rows, self.asked)

    def table(self) -> pd.DataFrame:
        """Return a line per model: the compared score with its interval, and every measure."""
        return pd.DataFrame([{"model": role, **self._line(told)}
                             for role, told in self.by_role.items()])

    def versions(self, version: Version) -> pd.DataFrame:
        """Return a line per version that answered these rows, the judged one under its number."""
        return pd.DataFrame([{"version": number, **line}
                             for number, line in self.scores(version).items()])

    def scores(self, version: Version) -> dict[int, dict]:
        """Return {number: line} of every version that answered these rows, oldest first.

        version: the challenger. A line is as in `table`; a version that was not asked to write has
        None for what follows from written answers.
        """
        return {number: self._line(told)
                for number, told in sorted(self._by_number(version).items())}

    def _by_number(self, version: Version) -> dict[int, Answered]:
        found = {**self.earlier, version.number: self.by_role["challenger"]}
        if self.champion is not None:
            found[self.champion.number] = self.by_role["champion"]
        return found

    def _line(self, told: Answered) -> dict:
        score, lower, upper = gate.interval(
            self._by_batch(told), measure=self.measure, confidence=self.gate.confidence,
            resamples=self.gate.resamples, seed=self.seed)
        finished = float(told.generated["finished"].mean()) if len(told.generated) else None
        return {"measure": self.measure, "score": score, "lower": lower, "upper": upper,
                **_measured(told, self.rows, self.asked), "finished": finished}

    def costs(self) -> pd.DataFrame:
        """Return a line per model that was opened: memory_mb of its weights."""
        return pd.DataFrame([{"model": role, "memory_mb": told}
                             for role, told in self.memory.items()])

    def side_by_side(self) -> pd.DataFrame:
        """Return what the models wrote for the same instructions, and what was wanted.

        Some are drawn by the seed; the others are those on which the models differ most.
        """
        asked = self.rows.iloc[self.asked].reset_index(drop=True)
        written = {role: told.generated["answer"].tolist() for role, told in self.by_role.items()}
        wanted = asked["label"].tolist()
        return answer_metrics.side_by_side(
            asked, written, {role: answer_metrics.rouge_l(said, wanted) for role, said in written.items()},
            seed=self.seed)

    def differences(self) -> np.ndarray:
        """Return, per compared row, by how much the challenger is better than who stood before."""
        return _scores(self.measure, self.rows, self.asked, self.by_role["challenger"]) - _scores(
            self.measure, self.rows, self.asked, self.by_role[self.before])

    def by_batch(self, role: str) -> dict[str, dict]:
        """Return a model's mean score and rows on the test set of each batch."""
        return self._tested(self.by_role[role])

    def _tested(self, told: Answered) -> dict[str, dict]:
        measure = metric_info.of(self.measure)
        compared = _compared(self.measure, self.rows, self.asked)
        digests = {str(batch): storage.rows_digest(part)[:12]
                   for batch, part in compared.groupby("batch", sort=False)}
        return {batch: {"score": measure.goodness(float(np.average(s.scores, weights=s.weights))),
                        "n": len(s.ids), "rows": digests[batch]}
                for batch, s in self._by_batch(told).items()}

    def tested(self, version: Version) -> dict[str, dict[str, dict]]:
        """Return what was measured batch by batch, as a record keeps it: {version: {batch: …}}."""
        return {str(number): self._tested(told)
                for number, told in sorted(self._by_number(version).items())}

    def flat(self) -> dict[str, float]:
        """Return the scores of all models under names that tracking takes."""
        found = {f"test_{k}": v for k, v in self.metrics("challenger").items() if v is not None}
        for role in self.by_role:
            found |= {f"{role}_test_{k}": v for k, v in self.metrics(role).items()
                      if v is not None}
        found |= {f"{role}_memory_mb": value for role, value in self.memory.items()}
        verdict = self.verdict
        return {**found, "gate_difference": verdict.difference, "gate_lower": verdict.lower,
                "gate_upper": verdict.upper}

    def entries(self) -> dict:
        """Return what the model's record keeps of it, beside verdict and tests by batch."""
        examples = self.side_by_side()  # their texts are data, which git does not get
        return {"measure": self.measure, "test_metrics": self.metrics("challenger"),
                "answered_by": version_scores.BY_SET, "left_out": list(self.left_out),
                "examples": examples.filter(regex="^(why|id|batch|.* score)$").to_dict("records")}

    def facts(self) -> dict:
        """Return what the step says of it for the report and the next steps."""
        return {"measure": self.measure, "generated_rows": len(self.asked)}

    def _by_batch(self, told: Answered) -> dict[str, Scored]:
        return _by_batch(self.measure, self.rows, self.asked, told)


def hold(run: StepRun, rows: pd.DataFrame, challenger: Path) -> AnswerEvaluation:
    """Let challenger, champion and bare base answer the test rows of all batches; ask the gate.

    rows: tokenized rows of all splits and batches; challenger: its unpacked adapter. The base is
    loaded once and the adapters are put on it in turn; a champion that is asked in another way, or
    on another base, brings its own. The earlier versions answer the same rows, too (see
    `measured_again`).
    """
    config, workspace = run.config, run.workspace
    told = config.task.instructions
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    champion = champion_alias.champion(workspace, run.tracking, config.tracking.registered_model)
    loaded = load_base(model_records.base_spec(workspace, config.model, config.task.kind),
                       continues=challenger)
    meta = adapter.read_meta(challenger)
    answered_as(test, loaded.tokenizer, tokenize_rows.template_in(meta), meta["max_length"])
    hashes = {"base_hash": loaded.weight_hash, "tokenizer_hash": loaded.tokenizer_hash}
    run.mlflow_run.tags(hashes)
    run.record_facts(**hashes, quantised_layers=loaded.quantised)
    defender, lost = None, np.zeros(len(test), dtype=bool)
    if champion is not None:
        defender = _Version.of(loaded, *model_records.version_files(workspace, champion), test)
        lost = defender.lost
        run.log(test_rows_without_room_for_champion=int(lost.sum()))
    kept = test[~lost].reset_index(drop=True)
    test_rows = _TestRows(
        kept, tokenize_rows.drawn(len(kept), told.generated_rows, config.seed),
        version_scores.store(run, loaded), run)
    answerer = open_generator(challenger, loaded)
    try:
        by_role = {"challenger": test_rows.answered(
            prediction_cache.identity(challenger, loaded), lambda: answerer, anew=True)}
        embeddings = answerer.embeddings(_prompts(kept, test_rows.asked))
        test_rows.memory["challenger"] = weights_mb(answerer.model)
    finally:
        adapter.detach(loaded)
    if defender is not None:
        by_role["champion"] = defender.answered(test_rows, ~lost, check=True)
    bare = tokenize_rows.bare(config, loaded)
    test_rows.memory["base"] = weights_mb(bare.model)
    by_role["base"] = test_rows.answered(
        prediction_cache.identity(None, loaded, template=bare.template.to_dict(),
                              max_new_tokens=bare.max_new_tokens), lambda: bare, check=True)
    earlier, apart = _earlier(run, test_rows, loaded, champion, told.score != "loss")
    scored = {role: _by_batch(told.score, kept, test_rows.asked, answered)
              for role, answered in by_role.items()}
    limits = {k: v for k, v in vars(config.gate).items() if k not in gate.OF_CLASSES}
    verdict = gate.judge_scores(
        scored["challenger"], scored.get("champion"), measure=told.score,
        baselines={"base": scored["base"]}, seed=config.seed, **limits)
    verdict = first_model.advised(run, verdict, rows)
    if lost.any():
        verdict = replace(verdict, warnings=[
            *verdict.warnings, f"{int(lost.sum()):,} of {len(test):,} test rows are not compared: "
            "the champion has no room for them, or cuts their answer elsewhere."])
    vanished = row_accounts.vanished_test_rows(run.workspace, champion, rows)
    run.log(test_rows_vanished=sum(vanished.values()))
    verdict = row_accounts.with_vanished(verdict, vanished, champion)
    print(version_scores.said(test_rows.store))
    run.log(rows_answered=test_rows.store.computed, answers_known=test_rows.store.recalled)
    return AnswerEvaluation(
        kept, test_rows.asked, by_role, told.score, verdict, champion,
        drift_reference.answer_sample(kept.iloc[test_rows.asked], by_role["challenger"].generated,
                                embeddings),
        config.gate, config.seed, test_rows.memory, tuple(test.loc[lost, "id"]), earlier, apart)


def metrics_of(answerer: Generator, test: pd.DataFrame, generated_rows: int, seed: int,
               by_set: bool = True) -> dict:
    """Return every measure of one model on test rows, as `AnswerContest.metrics` does.

    by_set: answer each test set by itself, as `hold` does; else all rows together, which gives
    other last digits.
    """
    asked = tokenize_rows.drawn(len(test), generated_rows, seed)
    together = test if by_set else test.assign(batch="all")
    return _measured(_TestRows(together, asked).answered({}, lambda: answerer, anew=True), test,
                     asked)


class _TestRows:
    """The test rows, one test set after the other, and which of them are asked for an answer.

    store: known answers, None to know of none; memory: MiB of the weights of each model that was
    opened, by its role.
    """

    def __init__(self, test: pd.DataFrame, asked: np.ndarray, store: AnswerStore | None = None,
                 run: StepRun | None = None):
        self.test, self.asked, self.store, self.run = test, asked, store, run
        self.memory: dict[str, float] = {}
        self.sets = version_scores.test_sets(test)
        self.written = [part for places in self.sets
                        if len(part := np.flatnonzero(np.isin(asked, places)))]

    def answered(self, model: dict, open_model: Callable[[], Generator], *, check: bool = False,
                 anew: bool = False, writes: bool = True, rows: pd.DataFrame | None = None
                 ) -> Answered:
        """Return a model's losses, and its answers to the rows that are asked.

        model: its identity; open_model: called where something is to be answered; anew: whatever is
        known; writes: whether it is asked to write; rows: the test rows as this model reads them,
        if other than they stand.
        """
        rows = self.test if rows is None else rows
        ids, lengths = rows["input_ids"].tolist(), rows["prompt_length"].tolist()
        losses = self._asked(
            model, [Question("losses", [ids[i] for i in places], [lengths[i] for i in places])
                    for places in self.sets], lambda q: _losses(open_model(), q), check, anew)
        found = [version_scores.whole(self.sets, [part[name] for part in losses], len(rows))
                 for name in ("loss", "tokens")]
        if not writes:
            return Answered(*found, pd.DataFrame(columns=list(COLUMNS)))
        prompts = _prompts(rows, self.asked)
        told = self._asked(
            model, [Question("answers", [prompts[i] for i in places]) for places in self.written],
            lambda q: self._generated(open_model(), q), check, anew)
        tables = [pd.DataFrame({name: part[name] for name in COLUMNS}, index=places)
                  for places, part in zip(self.written, told, strict=True)]
        return Answered(*found, pd.concat(tables).sort_index().reset_index(drop=True).astype(
            {"answer": "str"}))

    def _asked(self, model: dict, questions: list[Question], answer: Callable[[Question], Arrays],
               check: bool, anew: bool) -> list[Arrays]:
        if self.store is not None and not anew:
            return self.store.answers(model, questions, answer, check=check)
        found = [answer(question) for question in questions]
        if self.store is not None:
            for question, arrays in zip(questions, found, strict=True):
                self.store.keep(model, question, arrays)
                self.store.computed += len(question.input_ids)
        return found

    def _generated(self, answerer: Generator, question: Question) -> Arrays:
        written = answerer.generate(
            question.input_ids, on_step=self.run.progress if self.run else None)
        return {"answer": np.array(written["answer"].tolist(), dtype=str),
                **{name: written[name].to_numpy() for name in COLUMNS if name != "answer"}}


def _losses(answerer: Generator, question: Question) -> Arrays:
    loss, tokens = answerer.losses(question.input_ids, question.lengths)
    return {"loss": loss, "tokens": tokens}


@dataclass
class _Version:
    """A version as it is asked: on the loaded base if it is the same, else on its own.

    lost: rows of the test that it and the challenger do not answer alike: its own template or
    tokenizer leaves no room for them, or cuts the answer elsewhere.
    """

    loaded: LoadedBase
    same: bool
    folder: Path
    spec: BaseSpec
    input_ids: list[list[int]]
    prompt_lengths: list[int]
    lost: np.ndarray

    @classmethod
    def of(cls, loaded: LoadedBase, folder: Path, spec: BaseSpec, test: pd.DataFrame
           ) -> "_Version":
        meta = adapter.read_meta(folder)
        same = (meta["base"]["weight_hash"], meta["tokenizer_hash"]) == (
            loaded.weight_hash, loaded.tokenizer_hash)
        tokenizer = loaded.tokenizer if same else load_tokenizer(spec.source, spec.revision)
        found = tokenization.encode(
            test["messages"].map(turns).tolist(), test["label"].tolist(), tokenizer,
            tokenize_rows.template_in(meta), meta["max_length"])
        otherwise = np.array([list(mine) != list(ours) for mine, ours in
                              zip(found.input_ids, test["input_ids"], strict=True)], dtype=bool)
        cut = (np.asarray(found.cut) > 0) | (test["cut"].to_numpy() > 0)
        return cls(loaded, same, folder, spec, found.input_ids,
                   found.prompt_length.tolist(), np.asarray(found.lost) | otherwise & cut)

    def answered(self, test_rows: _TestRows, kept: np.ndarray, *, check: bool,
                 writes: bool = True) -> Answered:
        """Return its answers; kept: which of the test are the rows that are compared.

        Its loss is per token of the challenger's tokenizer.
        """
        places, test = np.flatnonzero(kept), test_rows.test
        mine = test.assign(input_ids=[self.input_ids[i] for i in places],
                           prompt_length=[self.prompt_lengths[i] for i in places])
        ours = (test["length"] - test["prompt_length"]).to_numpy()
        base = self.loaded if self.same else self.spec
        opened: list[Generator] = []

        def open_model() -> Generator:
            if not opened:
                opened.append(open_generator(self.folder, base))
            return opened[0]

        try:
            told = test_rows.answered(prediction_cache.identity(self.folder, base), open_model,
                                      check=check, writes=writes, rows=mine)
            if check and opened:
                test_rows.memory["champion"] = weights_mb(opened[0].model)
        finally:
            if self.same and opened:
                adapter.detach(self.loaded)
        return Answered(answer_metrics.in_tokens(told.loss, told.tokens, ours), ours, told.generated)


def _earlier(run: StepRun, test_rows: _TestRows, loaded: LoadedBase, champion: Version | None,
             writes: bool) -> tuple[dict[int, Answered], dict[int, str]]:
    """Return the answers of the earlier versions by number, and why the others have none.

    writes: whether they are asked to write, which they are not where losses are compared.
    """
    name, test = run.config.tracking.registered_model, test_rows.test
    found, apart = {}, {}
    for version, why in version_scores.earlier(
            run.workspace, name, version_scores.challenger_number(run),
            champion.number if champion else None):
        if why is None:
            try:
                it = _Version.of(loaded, *model_records.version_files(run.workspace, version),
                                 test)
                if it.lost.any():
                    why = (f"it has no room for {int(it.lost.sum()):,} of these rows, or cuts "
                           "their answer elsewhere")
                else:
                    found[version.number] = it.answered(
                        test_rows, np.ones(len(test), dtype=bool), check=False, writes=writes)
                    continue
            except ModelError as error:  # said in the report, in place of its score
                why = version_scores.reason(error)
        apart[version.number] = why
    test_rows.store.forget_others()
    return found, apart


def _measured(told: Answered, rows: pd.DataFrame, asked: np.ndarray) -> dict:
    return answer_metrics.measure(told.loss, told.tokens, told.generated["answer"].tolist(),
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
    found = answer_metrics.rouge_l if measure == "rouge_l" else answer_metrics.exact_match
    return np.asarray(found(written, wanted), dtype=float)


def _by_batch(measure: str, rows: pd.DataFrame, asked: np.ndarray, told: Answered
              ) -> dict[str, Scored]:
    """Return a model's scores by batch; a loss counts by the tokens of its answer."""
    compared = _compared(measure, rows, asked).reset_index(drop=True)
    scores = _scores(measure, rows, asked, told)
    weights = told.tokens if measure == "loss" else np.ones(len(compared))
    return {str(batch): Scored(part["id"].tolist(), scores[part.index], weights[part.index])
            for batch, part in compared.groupby("batch", sort=False)}
