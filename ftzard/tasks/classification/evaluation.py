"""A contest: several models answer the same test rows, and the gate decides on their answers."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.core import custom_functions
from ftzard.data import storage
from ftzard.errors import ModelError
from ftzard.evaluation import gate
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.gate import Predicted, Verdict
from ftzard.evaluation.intervals import wilson_interval
from ftzard.modeling import adapter, prediction_cache
from ftzard.modeling.base_model import LoadedBase, load_base
from ftzard.modeling.prediction_cache import AnswerStore, Question
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import encode, load_tokenizer
from ftzard.registry import champion_alias, model_records
from ftzard.steps import drift_reference, first_model, row_accounts, temperature, version_scores
from ftzard.steps.step_run import StepRun
from ftzard.tasks.benchmark import weights_mb
from ftzard.tasks.classification import baselines, calibration
from ftzard.tasks.classification.calibration import Calibration
from ftzard.tasks.classification.checks import same_labels, tokenized_as
from ftzard.tasks.classification.comparison import disagreements
from ftzard.tasks.classification.metrics import classification_metrics, flat, reliability
from ftzard.tasks.classification.predictor import Classifier, bare_classifier, open_classifier
from ftzard.tracking.registry import Version


@dataclass
class Evaluation:
    """What came of it.

    rows: the test rows; classes: label names in the order of the columns; probabilities: (rows,
    classes) per model, by its role; verdict: the gate's; champion: who was challenged, if anyone;
    calibration: of the challenger, its temperature from validation rows; memory: MiB that the
    weights of each model take, by its role; sample: what drift is
    told of the test rows and the challenger's answers, with which later batches are compared;
    earlier: probabilities of further versions, by number; apart: {number: why} of those that did
    not answer these rows; own: the workspace's own metrics of each model, by its role.
    """

    rows: pd.DataFrame
    classes: list[str]
    probabilities: dict[str, np.ndarray]
    verdict: Verdict
    champion: Version | None
    calibration: Calibration
    sample: Sample
    memory: dict[str, float]
    earlier: dict[int, np.ndarray] = field(default_factory=dict)
    apart: dict[int, str] = field(default_factory=dict)
    own: dict[str, dict[str, float]] = field(default_factory=dict)

    def metrics(self, role: str) -> dict:
        """Return every score of one model on all test rows."""
        return classification_metrics(self.rows["label"], self.probabilities[role], self.classes)

    def table(self) -> pd.DataFrame:
        """Return a line per model: accuracy with its interval, macro F1, rows."""
        return pd.DataFrame([{"model": role, **self._line(chances), **self.own.get(role, {})}
                             for role, chances in self.probabilities.items()])

    def versions(self, version: Version) -> pd.DataFrame:
        """Return a line per version that answered these rows, the judged one under its number."""
        return pd.DataFrame([{"version": number, **line}
                             for number, line in self.scores(version).items()])

    def scores(self, version: Version) -> dict[int, dict]:
        """Return {number: line} of every version that answered these rows, oldest first.

        version: the challenger. A line holds accuracy, lower, upper, macro_f1 and n.
        """
        return {number: self._line(chances)
                for number, chances in sorted(self._by_number(version).items())}

    def _by_number(self, version: Version) -> dict[int, np.ndarray]:
        found = {**self.earlier, version.number: self.probabilities["challenger"]}
        if self.champion is not None:
            found[self.champion.number] = self.probabilities["champion"]
        return found

    def _line(self, chances: np.ndarray) -> dict:
        scores = classification_metrics(self.rows["label"], chances, self.classes)
        lower, upper = wilson_interval(round(scores["accuracy"] * scores["n"]), scores["n"])
        return {"accuracy": scores["accuracy"], "lower": lower, "upper": upper,
                "macro_f1": scores["macro_f1"], "n": scores["n"]}

    def costs(self) -> pd.DataFrame:
        """Return a line per model that was opened: memory_mb of its weights."""
        return pd.DataFrame([{"model": role, "memory_mb": told}
                             for role, told in self.memory.items()])

    def disagreements(self, most: int = 10) -> pd.DataFrame:
        """Return test rows that the champion (or the base) and the challenger answer differently.

        Those both are surest of come first; who is right is 'first', 'second' or 'neither'.
        """
        before = "champion" if self.champion is not None else "base"
        found = disagreements(
            self.rows["text"].tolist(), self.rows["label"].tolist(), self.probabilities[before],
            self.probabilities["challenger"], self.classes)
        shown = found[["text", "label", "first", "second", "right"]].head(most)
        return shown.rename(columns={"first": f"{before} says", "second": "challenger says"}
                            ).assign(right=shown["right"].replace(
                                {"first": before, "second": "challenger"}))

    def tested(self, version: Version) -> dict[str, dict[str, dict]]:
        """Return what was measured batch by batch, as a record keeps it for the forgetting matrix.

        {version: {batch: {accuracy, n}}}, of every version that answered these rows.
        """
        return {str(number): self._by_batch(chances)
                for number, chances in sorted(self._by_number(version).items())}

    def by_batch(self, role: str) -> dict[str, dict]:
        """Return a model's accuracy and rows on the test set of each batch."""
        return self._by_batch(self.probabilities[role])

    def _by_batch(self, chances: np.ndarray) -> dict[str, dict]:
        chosen = np.array(self.classes)[chances.argmax(axis=1)]
        right = pd.Series(chosen == self.rows["label"].to_numpy(), self.rows.index)
        return {str(batch): {"accuracy": float(part.mean()), "n": len(part),
                             "rows": storage.rows_digest(self.rows.loc[part.index])[:12]}
                for batch, part in right.groupby(self.rows["batch"], sort=False)}

    def entries(self) -> dict:
        """Return what the model's record keeps of it, beside verdict and tests by batch."""
        return {"test_metrics": self.metrics("challenger"),
                "answered_by": version_scores.BY_SET,
                "calibration": self.calibration.to_dict(), "abstention": self.abstention()}

    def facts(self) -> dict:
        """Return what the step says of it for the report and the next steps."""
        return {"calibration": self.calibration.to_dict()}

    def reliability(self) -> tuple[list[dict], list[dict]]:
        """Return the challenger's bins of confidence, as it answers and temperature scaled."""
        chances = self.probabilities["challenger"]
        scaled = calibration.scaled(np.log(np.clip(chances, 1e-300, None)),
                                    self.calibration.temperature)
        return (reliability(self.rows["label"], chances, self.classes),
                reliability(self.rows["label"], scaled, self.classes))

    def abstention(self) -> list[dict]:
        """Return the challenger's accuracy against coverage on all test rows."""
        return calibration.abstention(self.rows["label"], self.probabilities["challenger"],
                                      self.classes)

    def flat(self) -> dict[str, float]:
        """Return the scores of all models under names that tracking takes."""
        scores = flat(self.metrics("challenger"), "test_")
        for role in self.probabilities:
            name = role.replace(" ", "_").replace("-", "_").lower()
            scores |= flat(self.metrics(role), f"{name}_test_")
        scores |= {f"{role.replace(' ', '_').replace('-', '_').lower()}_test_{name}": value
                   for role, told in self.own.items() for name, value in told.items()}
        scores |= {f"{role}_memory_mb": value for role, value in self.memory.items()}
        verdict = self.verdict
        return {**scores, **self.calibration.flat(), "gate_difference": verdict.difference,
                "gate_lower": verdict.lower, "gate_upper": verdict.upper}


def hold(run: StepRun, rows: pd.DataFrame, challenger: Path) -> Evaluation:
    """Let challenger, champion, bare base and baselines answer all test rows; ask the gate.

    rows: tokenized rows of all splits and batches; challenger: its unpacked adapter. The base is
    loaded once and the adapters are put on it in turn; a champion on another base brings its own.
    The earlier versions answer the same rows, too (see `measured_again`).
    """
    config, workspace = run.config, run.workspace
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    train, validation = rows[rows["split"] == "train"], rows[rows["split"] == "validation"]
    meta = adapter.read_meta(challenger)
    classes = meta["labels"]
    champion = champion_alias.champion(workspace, run.tracking, config.tracking.registered_model)
    defender = None
    if champion is not None:
        defender = model_records.version_files(workspace, champion)
        same_labels(classes, adapter.read_meta(defender[0])["labels"],
                           whose="the challenger", others=str(champion))
    loaded = load_base(model_records.base_spec(workspace, config.model), classes,
                       continues=challenger)
    tokenized_as(test, loaded.tokenizer, meta["max_length"])
    hashes = {"base_hash": loaded.weight_hash, "tokenizer_hash": loaded.tokenizer_hash}
    run.mlflow_run.tags(hashes)
    run.record_facts(**hashes, quantised_layers=loaded.quantised)
    test_rows = _TestRows(test, loaded, version_scores.store(run, loaded))
    fitted = temperature.known(run)
    logits, embeddings, validated = test_rows.challenger(
        challenger, validation if fitted is None else None)
    calibrated = calibration.calibrate(
        validation["label"], validated, test["label"], logits, classes
    ) if fitted is None else calibration.measure(
        fitted["temperature"], fitted["validation_rows"], test["label"], logits, classes)
    answers = {"challenger": logits}
    if defender is not None:
        answers["champion"] = test_rows.version(*defender, check=True)
    answers["base"] = test_rows.base()
    earlier, apart = _earlier(run, test_rows, classes, champion)
    chances = {role: calibration.scaled(logits, 1.0) for role, logits in answers.items()}
    chances["TF-IDF"] = baselines.tfidf(train["text"], train["label"], test["text"], classes,
                                        config.seed)
    chances["majority"] = baselines.majority(train["label"], len(test), classes)
    predicted = {role: _by_batch(test, p, classes) for role, p in chances.items()}
    limits = vars(config.gate)
    verdict = gate.judge(
        predicted["challenger"], predicted.get("champion"), classes,
        baselines={"TF-IDF": predicted["TF-IDF"], "majority": predicted["majority"]},
        seed=config.seed, calibration_error=calibrated.ece_after,
        calibration_chance=calibrated.ece_chance, **limits)
    vanished = row_accounts.vanished_test_rows(run.workspace, champion, rows)
    run.log(test_rows_vanished=sum(vanished.values()))
    verdict = row_accounts.with_vanished(verdict, vanished, champion)
    verdict = first_model.advised(run, verdict, rows)
    own = {role: custom_functions.measured(
        run.own_metrics, test["label"], np.array(classes)[p.argmax(axis=1)],
        pd.DataFrame(p, columns=classes)) for role, p in chances.items()}
    print(version_scores.said(test_rows.store))
    run.log(rows_answered=test_rows.store.computed, answers_known=test_rows.store.recalled)
    return Evaluation(
        test, classes, chances, verdict, champion, calibrated,
        drift_reference.sample(test, chances["challenger"], embeddings), test_rows.memory,
        {number: calibration.scaled(told, 1.0) for number, told in earlier.items()}, apart, own)


def test_logits(classifier: Classifier, test: pd.DataFrame) -> np.ndarray:
    """Return a model's logits of test rows, each test set answered by itself, as `hold` does."""
    sets, ids = version_scores.test_sets(test), test["input_ids"].tolist()
    return version_scores.whole(
        sets, [classifier.logits([ids[i] for i in places]) for places in sets], len(test))


class _TestRows:
    """The test rows, one test set after the other, and the base on which models answer them.

    memory: MiB of the weights of each model that was opened, by its role.
    """

    def __init__(self, test: pd.DataFrame, loaded: LoadedBase, store: AnswerStore):
        self.test, self.loaded, self.store = test, loaded, store
        self.sets = version_scores.test_sets(test)
        self.questions = self._questions(test["input_ids"].tolist())
        self.memory: dict[str, float] = {}

    def _questions(self, input_ids: list) -> list[Question]:
        return [Question("logits", [input_ids[i] for i in places]) for places in self.sets]

    def _whole(self, parts: list[np.ndarray]) -> np.ndarray:
        return version_scores.whole(self.sets, parts, len(self.test))

    def challenger(self, folder: Path, validation: pd.DataFrame | None
                   ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return its logits and embeddings of test rows, and its logits of validation rows.

        validation: None where its temperature is known already; then there are none of these.
        """
        classifier = open_classifier(folder, self.loaded)
        try:
            told = [classifier.answers(question.input_ids) for question in self.questions]
            model = prediction_cache.identity(folder, self.loaded)
            for question, (logits, _) in zip(self.questions, told, strict=True):
                self.store.keep(model, question, {"logits": logits})
            self.store.computed += len(self.test)
            self.memory["challenger"] = weights_mb(classifier.model)
            return (self._whole([logits for logits, _ in told]),
                    self._whole([embeddings for _, embeddings in told]),
                    None if validation is None else
                    classifier.logits(validation["input_ids"].tolist()))
        finally:
            adapter.detach(self.loaded)

    def base(self) -> np.ndarray:
        """Return the logits of the bare base."""
        classifier = bare_classifier(self.loaded)
        self.memory["base"] = weights_mb(classifier.model)
        told = self.store.answers(
            prediction_cache.identity(None, self.loaded), self.questions,
            lambda question: {"logits": classifier.logits(question.input_ids)}, check=True)
        return self._whole([part["logits"] for part in told])

    def version(self, folder: Path, spec: BaseSpec, *, check: bool) -> np.ndarray:
        """Return the logits of a version: on the loaded base, or on its own if it has another.

        It is opened only if there is something to answer. check: hold what is known against what it
        answers now; it decides the verdict.
        """
        meta = adapter.read_meta(folder)
        same = (meta["base"]["weight_hash"], meta["tokenizer_hash"]) == (
            self.loaded.weight_hash, self.loaded.tokenizer_hash)
        opened: list[Classifier] = []

        def answer(question: Question) -> dict[str, np.ndarray]:
            if not opened:
                opened.append(open_classifier(folder, self.loaded if same else spec))
            return {"logits": opened[0].logits(question.input_ids)}

        questions = self.questions
        if not same:
            tokenizer = load_tokenizer(spec.source, spec.revision)
            questions = self._questions(
                encode(self.test["text"].tolist(), tokenizer, meta["max_length"])[0])
        try:
            told = self.store.answers(
                prediction_cache.identity(folder, self.loaded if same else spec), questions, answer,
                check=check)
            if check and opened:
                self.memory["champion"] = weights_mb(opened[0].model)
            return self._whole([part["logits"] for part in told])
        finally:
            if same and opened:
                adapter.detach(self.loaded)


def _earlier(run: StepRun, test_rows: _TestRows, classes: list[str], champion: Version | None
             ) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """Return the logits of the earlier versions by number, and why the others have none."""
    name = run.config.tracking.registered_model
    found, apart = {}, {}
    for version, why in version_scores.earlier(
            run.workspace, name, version_scores.challenger_number(run),
            champion.number if champion else None):
        if why is None:
            try:
                folder, spec = model_records.version_files(run.workspace, version)
                same_labels(classes, adapter.read_meta(folder)["labels"],
                                   whose="the challenger", others=str(version))
                found[version.number] = test_rows.version(folder, spec, check=False)
                continue
            except ModelError as error:  # said in the report, in place of its score
                why = version_scores.reason(error)
        apart[version.number] = why
    test_rows.store.forget_others()
    return found, apart


def _by_batch(test: pd.DataFrame, chances: np.ndarray, classes: list[str]) -> dict[str, Predicted]:
    chosen = np.array(classes)[chances.argmax(axis=1)]
    return {batch: Predicted(part["id"], part["label"], chosen[part.index])
            for batch, part in test.groupby("batch", sort=False)}
