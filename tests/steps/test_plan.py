"""`ftzard plan`: what a job would take, from artifacts or a raw file, before anything loads."""

import json

import pandas as pd
import pytest
import yaml

from ftzard.data.reading import read_raw
from ftzard.data.storage import write_parquet
from ftzard.errors import ConfigError
from ftzard.modeling.memory import Device
from ftzard.registry import model_records
from ftzard.steps import cluster_plan, plan, plan_rows, plan_text
from ftzard.training.memory_estimate import MB
from tests.orchestration.texts import easy_texts

ROOMY = Device("cpu", "a large machine", 64 << 30, 64 << 30)


@pytest.fixture
def ready(workspace):
    """A workspace with 400 texts to train on, and its small base."""
    easy_texts(400, seed=1).to_csv(workspace.root / "mine.csv", index=False)
    (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump({
        "data": {"source": "mine.csv", "text_column": "tweet", "label_column": "mood"},
        "tuning": {"trials": 3}, "training": {"epochs": 2}}))
    return workspace


@pytest.fixture
def tokenized(ready):
    """The same after preprocessing: ten rows of 8 tokens and two of 40, cut by 3."""
    rows = pd.DataFrame({
        "id": [str(n) for n in range(12)], "batch": "b", "text": "some words",
        "split": ["train"] * 8 + ["validation"] * 2 + ["test"] * 2,
        "label": ["glad", "sad"] * 6, "length": [8] * 6 + [40] * 2 + [8] * 4,
        "cut": [0] * 6 + [3] * 2 + [0] * 4, "input_ids": [[1]] * 12})
    write_parquet(rows, ready.root / "data/tokenized/tokenized.parquet")
    return ready


def told(workspace, job="training_pipeline_job", *overrides: str, device=ROOMY):
    return plan.plan(workspace, job, {"overrides": list(overrides)}, device=device)


def refusal(workspace, job="training_pipeline_job", *overrides: str) -> str:
    with pytest.raises(ConfigError) as refused:
        told(workspace, job, *overrides)
    return str(refused.value)


def test_the_plan_says_where_each_value_comes_from(ready):
    found = told(ready, "training_pipeline_job", "seed=3")
    said = [line.split() for line in plan_text.lines(found) if line.startswith("config ")]
    assert ["config", "training.epochs=2", "ftzard.yaml"] in said
    assert ["config", "seed=3", "override"] in said
    assert found.to_dict()["config"]["sources"]["threads"] == "default"


def test_the_plan_offers_only_changes_that_the_job_reads(ready):
    config = ready.config()
    offered = plan._gentlest_first(config, "training_pipeline_job")
    assert any(change.startswith("model.max_length") for change in offered)
    kept = plan._gentlest_first(config, "retraining_job")
    assert kept and all(change.startswith("training.") for change in kept)
    assert "training.method=lora" not in kept


class TestRowsAndSteps:
    def test_a_raw_file_is_cleaned_and_split_to_know(self, ready):
        found = told(ready)
        assert "mine.csv, cleaned and split here: 400 rows" in found.source
        assert 200 < found.rows["train"] < 320 and found.rows["test"] > 40
        assert any("a token for every 4 characters" in line for line in found.assumptions)
        assert found.training.steps == 3 * 2 * -(-found.rows["train"] // 32)
        assert not (ready.root / "data" / "cleaned").exists()

    def test_rows_that_are_tokenized_are_counted_as_they_stand(self, tokenized):
        found = told(tokenized, "tuning_job", "tuning.batch_size=4")
        assert found.source == "data/tokenized/tokenized.parquet (12 rows)"
        assert found.rows == {"train": 8, "validation": 2, "test": 2}
        assert (found.tokens.real, found.tokens.cut, found.tokens.rows_cut) == (128, 6, 2)
        assert found.tokens.padded == 4 * 8 + 4 * 40 and found.batch == (4, 40)
        assert found.training.steps == 3 * 2 * 2

    def test_a_delivery_that_is_among_the_rows_is_not_read_again(self, ready, tmp_path):
        from ftzard.data.reading import batch_of
        from ftzard.modeling.tokenizer import encode, load_tokenizer

        texts = read_raw(ready.root / "mine.csv", text_column="tweet", label_column="mood")
        model = ready.config().model
        model_records.build_base(ready, model, texts["text"], tmp_path)
        tokenizer = load_tokenizer(model_records.base_spec(ready, model).source)
        ids, lengths, cut = encode(texts["text"].tolist(), tokenizer, model.max_length)
        sides = (["train"] * 6 + ["validation"] * 2 + ["test"] * 2) * 40
        write_parquet(pd.DataFrame({
            "id": [str(n) for n in range(400)], "batch": batch_of(ready.root / "mine.csv"),
            "text": texts["text"], "split": sides, "label": texts["label"], "length": lengths,
            "cut": cut, "input_ids": ids}), ready.root / "data/tokenized/tokenized.parquet")
        found = told(ready)
        assert "where mine.csv is already" in found.source
        assert found.rows == {"train": 240, "validation": 80, "test": 80}

        shorter = told(ready, "training_pipeline_job", "model.max_length=8")
        assert "mine.csv, cleaned and split here" in shorter.source
        assert shorter.tokens.real < found.tokens.real and shorter.tokens.cut > 0
        assert "Run the preprocessing step again" in refusal(
            ready, "tuning_job", "model.max_length=8")

    def test_rows_of_another_base_are_counted_anew_or_said_to_be_assumed(self, tokenized):
        found = told(tokenized, "tuning_job")
        assert any("counted for another base" in line for line in found.assumptions)
        assert "mine.csv, cleaned and split here" in told(tokenized).source

    def test_rows_that_leave_no_side_to_train_on_are_refused_like_the_job_does(self, ready):
        words = "the cat sat on a very long wall and looked at {} for hours and hours".format
        pd.DataFrame({"tweet": [words(f"thing{n}") for n in range(120)],
                      "mood": ["glad", "sad"] * 60}).to_csv(ready.root / "mine.csv", index=False)
        assert "train" in refusal(ready)

    def test_of_a_large_file_a_part_is_looked_at_and_scaled(self, ready, monkeypatch):
        monkeypatch.setattr(plan_rows, "LOOKED_AT", 100)
        found = told(ready)
        assert 180 < found.rows["train"] < 340
        assert any("stand for" in line for line in found.assumptions)

    def test_micro_batches_bound_the_batch_that_needs_most(self, tokenized):
        found = told(tokenized, "tuning_job", "tuning.batch_size=4", "model.max_length=40",
                     "training.micro_batch_tokens=80")
        assert found.batch == (2, 40)

    def test_a_job_without_a_model_needs_none(self, ready):
        found = told(ready, "cleaning_job")
        assert found.memory is None and found.fits and found.seconds == 0
        assert "no model is loaded by this job" in found.assumptions

    def test_a_job_that_only_answers_has_no_gradients(self, tokenized):
        found = told(tokenized, "evaluation_job")
        assert found.training is None and found.memory.gradients == 0 and found.seconds > 0


class TestMemoryAndTime:
    def test_what_does_not_fit_comes_with_what_to_change(self, ready):
        wide = ("model.build.width=512", "model.build.heads=8", "training.batch_size=256",
                "tuning.batch_size=256")
        needed = told(ready, "training_pipeline_job", *wide).memory.total
        tight = Device("cpu", "a small machine", needed, plan.IMPORTED + needed // 2)
        found = told(ready, "training_pipeline_job", *wide, device=tight)
        assert not found.fits
        change, size = found.changes[-1]
        assert change.startswith("training.micro_batch_tokens=") and size <= plan.room(tight)
        said = dict(c.split("=") for c, _ in found.changes)
        after = told(ready, "training_pipeline_job", *wide,
                     *(f"{key}={value}" for key, value in said.items()), device=tight)
        assert after.fits and after.memory.total == size

    def test_where_nothing_helps_it_says_so(self, ready):
        found = told(ready, device=Device("cpu", "no machine", MB, MB))
        assert len(found.changes) > 2
        assert "nothing here makes it fit" in "\n".join(plan_text.lines(found))
        sizes = [found.memory.total, *(size for _, size in found.changes)]
        assert sizes == sorted(set(sizes), reverse=True), "what saves nothing is not offered"

    def test_the_full_method_takes_more_than_an_adapter(self, ready):
        lora = told(ready, "training_pipeline_job", "model.quantisation=none")
        full = told(ready, "training_pipeline_job", "model.quantisation=none",
                    "training.method=full")
        assert full.sizes.trainable == full.sizes.parameters > lora.sizes.trainable
        assert full.memory.optimizer == 8 * full.sizes.parameters

    def test_the_speed_is_that_of_an_earlier_run_of_the_same_base(self, tokenized):
        from ftzard.tracking import runs
        from ftzard.tracking.workspace_store import connect

        before = told(tokenized, "tuning_job")
        assert any("until a run here has measured it" in line for line in before.assumptions)
        tracking = connect(tokenized, tokenized.config())
        top = runs.top_level(tracking, "HP_TUNING", tokenized.state / "mlflow.lock")
        child = runs.start_child(tracking, top, {})
        child.params({"model.name": "falcon_tiny", "model.quantisation": "nf4",
                      "model.compute_dtype": "float32", "threads": 2})
        trial = child.trial(0, {})
        trial.metrics({"tokens_per_second": 1234.0})
        trial.end()
        child.end()
        after = told(tokenized, "tuning_job")
        assert after.rate == 1234.0
        assert any(f"HP_TUNING {child.name}" in line for line in after.assumptions)
        assert told(tokenized, "tuning_job", "threads=1").rate != 1234.0


class TestMistakes:
    def test_all_config_errors_come_at_once(self, ready):
        lines = refusal(ready, "training_pipeline_job", "training.epoch=3", "model=falcon_8b",
                        "tuning.trials=x", "training.rank=0", "seed", "gate.resamples=3"
                        ).splitlines()
        for words in ("override 'seed' cannot be read", "no choice 'falcon_8b'",
                      "unknown key 'training.epoch'", "tuning.trials is 'x'",
                      "training.rank is 0", "gate.resamples is 3"):
            assert any(words in line for line in lines), words
        assert len(lines) == 6

    def test_base_and_data_are_both_named(self, ready):
        sentence = refusal(ready, "training_pipeline_job", "data.source=elsewhere.csv",
                           "model=local", "model.source=models/nowhere")
        assert "elsewhere.csv does not exist" in sentence and "models/nowhere" in sentence

    @pytest.mark.parametrize(("overrides", "words"), [
        (["model=falcon_7b", "model.revision=main"], "expected the 40 hex digits"),
        (["model=llama_3_8b"], "is gated"),
        (["model.lora_targets=[query_key_vale]"], "did you mean 'query_key_value'"),
    ])
    def test_a_base_that_cannot_be_had_is_refused_without_a_network(
            self, ready, monkeypatch, overrides, words):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        assert words in refusal(ready, "training_pipeline_job", *overrides)

    def test_class_weights_have_to_name_the_labels_of_the_data(self, tokenized):
        file = tokenized.root / "ftzard.yaml"
        said = yaml.safe_load(file.read_text())
        for weights, words in (({"glad": 1, "sat": 2}, "did you mean 'sad'"),
                               ({"glad": 1}, "lacks the label 'sad'")):
            said["training"] = {"class_weights": weights}
            file.write_text(yaml.safe_dump(said))
            assert words in refusal(tokenized, "tuning_job")
        said["training"] = {"class_weights": {"glad": 1, "sad": 2}}
        file.write_text(yaml.safe_dump(said))
        assert told(tokenized, "tuning_job").training.trials == 3

    def test_a_learning_rate_far_from_the_preset_s_is_warned_of(self, tokenized):
        found = told(tokenized, "tuning_job", "training.learning_rate=0.5")
        warned, = [line for line in plan_text.lines(found) if line.startswith("warning")]
        assert "0.5 (override), 62.5 times above" in warned and "preset falcon_tiny" in warned
        assert found.to_dict()["warnings"] == [warned.removeprefix("warning").strip()]
        assert told(tokenized, "tuning_job").to_dict()["warnings"] == []

    def test_retraining_needs_a_champion(self, tokenized):
        assert "no champion" in refusal(tokenized, "retraining_job")


class TestCommand:
    def test_a_person_reads_what_fits_and_what_was_assumed(self, ftzard, ready):
        code, said = ftzard("plan", "training_pipeline", "-w", ready.root)
        assert code == 0, said
        for word in ("rows", "tokens", "base", "trains", "steps", "memory", "fits", "time",
                     "assumed"):
            assert f"\n{word} " in f"\n{said}", word

    def test_json_holds_the_same_and_falcon_7b_needs_no_hub(self, ftzard, ready):
        code, said = ftzard("plan", "training_pipeline_job", "model=falcon_7b",
                            "model.max_length=16", "training.micro_batch_tokens=32", "--json",
                            "-w", ready.root)
        assert code == 0, said
        found = json.loads(said)
        assert found["sizes"]["quantised"] == 128
        assert found["memory"]["weights_mb"] == pytest.approx(4120, rel=0.02)
        assert found["fits"] or found["changes"]
        assert not list(ready.root.rglob("*.safetensors"))

    def test_a_refusal_lists_every_line_and_ends_with_1(self, ftzard, ready):
        code, said = ftzard("plan", "tuning_job", "training.epoch=1", "tuning.trails=2", "-w",
                            ready.root)
        assert code == 1 and "did you mean 'training.epochs'" in said
        assert "did you mean 'tuning.trials'" in said


CLUSTER = ["compute=ray", "compute.address=http://head:8265", "compute.storage=file:///shared"]


def test_on_a_cluster_trials_share_the_time_until_there_are_no_more_of_them(tokenized):
    here = told(tokenized, "tuning_job", "tuning.trials=8")
    assert here.cluster is None and "cluster" not in here.to_dict()
    found = {n: told(tokenized, "tuning_job", "tuning.trials=8", f"compute.parallel={n}",
                     "compute.gpus=1", *CLUSTER).cluster for n in (1, 4, 8, 16)}
    assert [found[n].jobs for n in (1, 4, 8, 16)] == [1, 4, 8, 8]
    assert found[1].seconds == pytest.approx(here.seconds + 8 * cluster_plan.START_S, abs=0.1)
    assert found[4].seconds == pytest.approx(here.seconds / 4 + 2 * cluster_plan.START_S, abs=0.1)
    assert found[8].seconds == found[16].seconds and found[4].saturates_at == 8
    assert found[4].gpu_hours == pytest.approx(4 * found[4].seconds / 3600, abs=1e-3)
    assert found[4].memory_mb > plan.megabytes(here.memory.total)


def test_a_person_reads_where_predictions_on_a_cluster_saturate(tokenized):
    rows = pd.read_parquet(tokenized.root / "data/tokenized/tokenized.parquet")
    write_parquet(rows, tokenized.root / tokenized.config().paths.incoming_tokenized)
    lines = plan_text.lines(told(tokenized, "inference_job", *CLUSTER))
    (cluster,) = [line for line in lines if line.startswith("cluster ")]
    assert "1 job at once" in cluster and "rows/s" in cluster
    assert any("more than 1 at once would hardly be faster" in line for line in lines)


@pytest.mark.jobs
def test_the_estimate_stands_beside_the_measurement(story):
    """Tuning and retraining record both; the plan they were told is kept with the run."""
    from ftzard.tracking import runs

    tracking = story.tracking()
    for step in ("HP_TUNING", "RETRAINING"):
        # A run that only took over what an earlier one had trained has nothing to measure.
        run = next(r for r in runs.children(tracking, step) if "measured_peak_mb" in r.data.metrics)
        assert run.data.metrics["estimated_peak_mb"] > 60
        assert run.data.metrics["measured_peak_mb"] > 5
        kept = json.loads(runs.read(tracking, run.info.run_id, "plan.json"))
        assert kept["memory"]["total_mb"] == run.data.metrics["estimated_peak_mb"]
