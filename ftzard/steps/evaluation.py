"""Challenger, champion, bare base, baselines and earlier versions on all test rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ftzard.errors import ModelError
from ftzard.evaluation.gate import Verdict
from ftzard.modeling import adapter, prediction_cache
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase, load_base
from ftzard.modeling.head_labels import with_labels
from ftzard.modeling.prediction_cache import AnswerStore, CachedModel
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import load_tokenizer
from ftzard.registry import champion_alias, model_records
from ftzard.reporting import batch_names
from ftzard.steps import (
    first_model,
    gate_budget,
    people_agreement,
    row_accounts,
    version_scores,
)
from ftzard.steps.step_run import StepRun
from ftzard.tasks.benchmark import weights_mb
from ftzard.tasks.evaluation import Evaluation
from ftzard.workspace import row_log


def evaluate_models(run: StepRun, rows: pd.DataFrame, challenger: Path) -> Evaluation:
    """Let all models answer all test rows, and ask the gate whether the challenger is promoted.

    The base is loaded once and the adapters are put on it in turn; a version on another base brings
    its own. What a model has answered before is not computed again, except of the challenger.

    Args:
        run: the step.
        rows: tokenized rows of all splits and batches.
        challenger: its unpacked adapter.

    Raises:
        ModelError: champion and challenger cannot be compared, or rows are tokenized otherwise.
    """
    config, workspace = run.config, run.workspace
    kind = run.task.evaluation.EVALUATION
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    meta = read_meta(challenger)
    champion = champion_alias.champion(workspace, run.tracking, config.tracking.registered_model)
    files, champion_meta = None, {}
    if champion is not None:
        files = model_records.version_files(workspace, champion)
        champion_meta = read_meta(files[0])
        kind.require_comparable(meta, champion_meta, str(champion))
    loaded = load_base(model_records.base_spec(workspace, config.model, config.task.kind),
                       meta["labels"], continues=challenger)
    kind.require_tokenized(test, loaded.tokenizer, meta)
    hashes = {"base_hash": loaded.weight_hash, "tokenizer_hash": loaded.tokenizer_hash}
    run.mlflow_run.tags(hashes)
    run.record_facts(**hashes, quantised_layers=loaded.quantised)
    unanswerable = np.zeros(len(test), dtype=bool)
    if files is not None:
        defender = _Version.of(kind, loaded, *files, test)
        unanswerable = defender.unanswerable
        run.log(test_rows_without_room_for_champion=int(unanswerable.sum()))
    evaluation = kind(
        test[~unanswerable].reset_index(drop=True), config, meta, run.own_metrics, run.progress,
        champion, champion_meta, left_out=tuple(test.loc[unanswerable, "id"]))
    store = version_scores.store(run, loaded)
    _score_challenger(run, evaluation, challenger, loaded, rows, store)
    if files is not None:
        evaluation.answers["champion"] = defender.score(run, evaluation, store, check=True)
    _score_base(evaluation, loaded, store)
    _score_earlier(run, evaluation, loaded, store)
    evaluation.allowance, decided = gate_budget.allow(
        run, challenger, files[0] if files else None, evaluation.rows)
    evaluation.differ = people_agreement.differ(run, evaluation.rows)
    evaluation.reviewed = row_log.reviewed(workspace)
    verdict = evaluation.judge(rows[rows["split"] == "train"])  # adds the baselines' answers too
    if decided is not None:
        evaluation.verdict = decided
        return _answered(run, evaluation, store)
    vanished = row_accounts.vanished_test_rows(workspace, champion, rows)
    run.log(test_rows_vanished=sum(vanished.values()))
    verdict = row_accounts.with_vanished(verdict, vanished, champion)
    evaluation.verdict = _named(run, first_model.with_advice(run, verdict, rows))
    return _answered(run, evaluation, store)


def _named(run: StepRun, verdict: Verdict) -> Verdict:
    """Return a verdict that calls batches by their files' names, as every page is to do."""
    return replace(verdict, **{which: [batch_names.with_names(line, run.delivered_as)
                                       for line in getattr(verdict, which)]
                               for which in ("reasons", "warnings")})


def _answered(run: StepRun, evaluation: Evaluation, store: AnswerStore) -> Evaluation:
    print(version_scores.sentence(store))
    run.log(rows_answered=store.computed, answers_known=store.recalled)
    return evaluation


def _score_challenger(run: StepRun, evaluation: Evaluation, folder: Path, loaded: LoadedBase,
                      rows: pd.DataFrame, store: AnswerStore) -> None:
    facts = {**(run.metadata.get("facts") or {}), **run.facts}
    with _on_base(run, folder, loaded, loaded, store, refresh=True) as model:
        evaluation.score_challenger(model, rows[rows["split"] == "validation"], facts)
        evaluation.memory["challenger"] = weights_mb(model.model.model)


def _score_base(evaluation: Evaluation, loaded: LoadedBase, store: AnswerStore) -> None:
    bare, more = evaluation.bare_model(evaluation.config, loaded)
    evaluation.memory["base"] = weights_mb(bare.model)
    evaluation.answers["base"] = evaluation.score(CachedModel(
        prediction_cache.identity(None, loaded, **more), lambda: bare, store, check=True))


def _score_earlier(run: StepRun, evaluation: Evaluation, loaded: LoadedBase, store: AnswerStore
                   ) -> None:
    """Add the answers of the earlier versions by number, and why the others have none."""
    champion, kind = evaluation.champion, type(evaluation)
    for version, why in version_scores.earlier(
            run.workspace, run.config.tracking.registered_model,
            version_scores.challenger_number(run), champion.number if champion else None):
        if why is None:
            try:
                files = model_records.version_files(run.workspace, version)
                kind.require_comparable(
                    evaluation.meta, read_meta(files[0]), str(version))
                one = _Version.of(kind, loaded, *files, evaluation.rows)
                if not one.unanswerable.any():
                    evaluation.earlier[version.number] = one.score(
                        run, evaluation, store, check=False)
                    continue
                why = (f"it has no room for {int(one.unanswerable.sum()):,} of these rows, or cuts "
                       "their answer elsewhere")
            except ModelError as error:  # shown in the report, in place of its score
                why = version_scores.reason(error)
        evaluation.apart[version.number] = why
    store.forget_others()


@dataclass
class _Version:
    """A registered version: on the loaded base if that is its own, else on another.

    rows: the test rows as it reads them; unanswerable: which of them it cannot answer as the
    challenger does.
    """

    folder: Path
    base: BaseSpec | LoadedBase
    loaded: LoadedBase
    rows: pd.DataFrame
    unanswerable: np.ndarray

    @classmethod
    def of(cls, kind: type[Evaluation], loaded: LoadedBase, folder: Path, spec: BaseSpec,
           test: pd.DataFrame) -> "_Version":
        meta = read_meta(folder)
        same = (meta["base"]["weight_hash"], meta["tokenizer_hash"]) == (
            loaded.weight_hash, loaded.tokenizer_hash)
        tokenizer = loaded.tokenizer if same else load_tokenizer(spec.source, spec.revision)
        return cls(folder, loaded if same else spec, loaded,
                   *kind.read_by(test, meta, tokenizer, same))

    def score(self, run: StepRun, evaluation: Evaluation, store: AnswerStore, *, check: bool
              ) -> Any:
        """Return its answers; check: whether it decides the verdict, so known ones are checked."""
        with _on_base(run, self.folder, self.base, self.loaded, store, check=check) as model:
            answers = evaluation.score(model, self.rows[~self.unanswerable].reset_index(drop=True),
                                       decides=check)
            if check and model.opened:
                evaluation.memory["champion"] = weights_mb(model.model.model)
        return answers


@contextmanager
def _on_base(run: StepRun, folder: Path, base: BaseSpec | LoadedBase, loaded: LoadedBase,
             store: AnswerStore, **how: bool) -> Iterator[CachedModel]:
    """Yield the model of an adapter, which is taken off the loaded base afterwards."""
    model = CachedModel(prediction_cache.identity(folder, base),
                        lambda: run.task.predictor.open_predictor(folder, base), store, **how)
    with with_labels(loaded, read_meta(folder)["labels"]):
        try:
            yield model
        finally:
            if base is loaded and model.opened:
                adapter.detach(loaded)
