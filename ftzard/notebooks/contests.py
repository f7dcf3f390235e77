"""A contest: several models answer the same test rows, and the gate decides on their answers."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.evaluation import baselines, calibration, gate
from ftzard.evaluation.calibration import Calibration
from ftzard.evaluation.drift import Sample
from ftzard.evaluation.gate import Predicted, Verdict
from ftzard.evaluation.metrics import (
    classification_metrics,
    flat,
    reliability,
    wilson_interval,
)
from ftzard.evaluation.side_by_side import disagreements
from ftzard.models import adapter, checks, measured
from ftzard.models.base import BaseSpec, LoadedBase, load_base
from ftzard.models.prediction import Classifier
from ftzard.models.tokenizing import encode
from ftzard.notebooks import first_model, model_files, reference, reigning, temperature
from ftzard.notebooks.chapter import Chapter
from ftzard.tracking.registry import Version


@dataclass
class Contest:
    """What came of it.

    rows: the test rows; classes: label names in the order of the columns; probabilities: (rows,
    classes) per model, by its role; verdict: the gate's; champion: who was challenged, if anyone;
    calibration: of the challenger, its temperature from validation rows; cost: what the answers of
    each model cost, by its role; sample: what drift is
    told of the test rows and the challenger's answers, with which later batches are compared.
    """

    rows: pd.DataFrame
    classes: list[str]
    probabilities: dict[str, np.ndarray]
    verdict: Verdict
    champion: Version | None
    calibration: Calibration
    sample: Sample
    cost: dict[str, dict[str, float]]

    def metrics(self, role: str) -> dict:
        """Return every score of one model on all test rows."""
        return classification_metrics(self.rows["label"], self.probabilities[role], self.classes)

    def table(self) -> pd.DataFrame:
        """Return a line per model: accuracy with its interval, macro F1, rows."""
        lines = []
        for role in self.probabilities:
            scores = self.metrics(role)
            right = round(scores["accuracy"] * scores["n"])
            lower, upper = wilson_interval(right, scores["n"])
            lines.append({"model": role, "accuracy": scores["accuracy"], "lower": lower,
                          "upper": upper, "macro_f1": scores["macro_f1"], "n": scores["n"]})
        return pd.DataFrame(lines)

    def costs(self) -> pd.DataFrame:
        """Return a line per model: latency_ms of one row, rows_per_second, memory_mb of weights."""
        return pd.DataFrame([{"model": role, **told} for role, told in self.cost.items()])

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

        {version: {batch: {accuracy, n}}}, of the challenger under its number and of the champion.
        """
        measured = {str(version.number): self.by_batch("challenger")}
        if self.champion is not None:
            measured[str(self.champion.number)] = self.by_batch("champion")
        return measured

    def by_batch(self, role: str) -> dict[str, dict]:
        """Return a model's accuracy and rows on the test set of each batch."""
        chosen = np.array(self.classes)[self.probabilities[role].argmax(axis=1)]
        right = pd.Series(chosen == self.rows["label"].to_numpy(), self.rows.index)
        return {str(batch): {"accuracy": float(part.mean()), "n": len(part)}
                for batch, part in right.groupby(self.rows["batch"], sort=False)}

    def entries(self) -> dict:
        """Return what the model's record keeps of it, beside verdict and tests by batch."""
        return {"test_metrics": self.metrics("challenger"),
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
        scores |= {f"{role}_{name}": value for role, told in self.cost.items()
                   for name, value in told.items()}
        verdict = self.verdict
        return {**scores, **self.calibration.flat(), "gate_difference": verdict.difference,
                "gate_lower": verdict.lower, "gate_upper": verdict.upper}


def hold(chapter: Chapter, rows: pd.DataFrame, challenger: Path) -> Contest:
    """Let challenger, champion, bare base and baselines answer all test rows; ask the gate.

    rows: tokenized rows of all splits and batches; challenger: its unpacked adapter. The base is
    loaded once and the adapters are put on it in turn; a champion on another base brings its own.
    """
    config, workspace = chapter.config, chapter.workspace
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    train, validation = rows[rows["split"] == "train"], rows[rows["split"] == "validation"]
    meta = adapter.read_meta(challenger)
    classes = meta["labels"]
    champion = reigning.champion(workspace, chapter.tracking, config.tracking.registered_model)
    defender = None
    if champion is not None:
        defender = model_files.version_files(workspace, champion)
        checks.same_labels(classes, adapter.read_meta(defender[0])["labels"],
                           whose="the challenger", others=str(champion))
    loaded = load_base(model_files.base_spec(workspace, config.model), classes,
                       continues=challenger)
    checks.tokenized_as(test, loaded.tokenizer, meta["max_length"])
    hashes = {"base_hash": loaded.weight_hash, "tokenizer_hash": loaded.tokenizer_hash}
    chapter.run.tags(hashes)
    chapter.say(**hashes, quantised_layers=loaded.quantised)
    fitted = temperature.known(chapter)
    logits, embeddings, validated, spent = _challenger_answers(
        loaded, challenger, test, validation if fitted is None else None)
    calibrated = calibration.calibrate(
        validation["label"], validated, test["label"], logits, classes
    ) if fitted is None else calibration.measure(
        fitted["temperature"], fitted["validation_rows"], test["label"], logits, classes)
    answers, cost = {"challenger": logits}, {"challenger": spent}
    if defender is not None:
        answers["champion"], cost["champion"] = _champion_answers(loaded, *defender, test)
    answers["base"], cost["base"] = _answered(
        adapter.bare_classifier(loaded), test["input_ids"].tolist())
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
    verdict = first_model.advised(chapter, verdict, rows)
    return Contest(
        test, classes, chances, verdict, champion, calibrated,
        reference.sample(test, chances["challenger"], embeddings), cost)


def _challenger_answers(loaded: LoadedBase, folder: Path, test: pd.DataFrame,
                        validation: pd.DataFrame | None
                        ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, float]]:
    """Return its logits and embeddings of test rows, its logits of validation rows, its costs.

    validation: None where its temperature is known already; then there are none of these logits.
    """
    classifier = adapter.open_classifier(folder, loaded)
    try:
        input_ids = test["input_ids"].tolist()
        began = time.perf_counter()
        logits, embeddings = classifier.answers(input_ids)
        spent = _costs(classifier, input_ids, time.perf_counter() - began)
        validated = None if validation is None else classifier.logits(
            validation["input_ids"].tolist())
        return logits, embeddings, validated, spent
    finally:
        adapter.detach(loaded)


def _answered(classifier: Classifier, input_ids: list) -> tuple[np.ndarray, dict[str, float]]:
    began = time.perf_counter()
    logits = classifier.logits(input_ids)
    return logits, _costs(classifier, input_ids, time.perf_counter() - began)


def _costs(classifier: Classifier, input_ids: list, seconds: float) -> dict[str, float]:
    return measured.costs(classifier.model, lambda ids: classifier.logits([ids]), input_ids,
                          seconds)


def _champion_answers(loaded: LoadedBase, folder: Path, spec: BaseSpec, test: pd.DataFrame
                      ) -> tuple[np.ndarray, dict[str, float]]:
    """Let the champion answer: on the loaded base, or with its own if it has another one."""
    meta = adapter.read_meta(folder)
    same = (meta["base"]["weight_hash"], meta["tokenizer_hash"]) == (
        loaded.weight_hash, loaded.tokenizer_hash)
    if same:
        classifier = adapter.open_classifier(folder, loaded)
        try:
            return _answered(classifier, test["input_ids"].tolist())
        finally:
            adapter.detach(loaded)
    classifier = adapter.open_classifier(folder, spec)
    input_ids, _, _ = encode(test["text"].tolist(), classifier.tokenizer, classifier.max_length)
    return _answered(classifier, input_ids)


def _by_batch(test: pd.DataFrame, chances: np.ndarray, classes: list[str]) -> dict[str, Predicted]:
    chosen = np.array(classes)[chances.argmax(axis=1)]
    return {batch: Predicted(part["id"], part["label"], chosen[part.index])
            for batch, part in test.groupby("batch", sort=False)}
