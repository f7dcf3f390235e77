"""An adapter leaves no residue on its base, reopens to the same logits, and fits one base only."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file

from ftzard.core.archive import pack
from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach, detach, read_meta, save
from ftzard.modeling.base_model import load_base
from ftzard.modeling.tiny_falcon import build
from ftzard.tasks import verification
from ftzard.tasks.base import base_spec
from ftzard.tasks.classification.predictor import bare_classifier, open_classifier
from ftzard.tasks.verification import verify_saved
from tests.training_calls import train

LABELS = ["negative", "positive"]

LORA = dict(rank=4, alpha=8, dropout=0.1, seed=5)

#: What a kernel with a copy of its beginning does, where no interpreter can be started.
IN_A_COPY = """
import json, numpy, sys
from pathlib import Path
from ftzard.core import forked_worker
from ftzard.tasks import verification as verify
from ftzard.tasks.base import base_spec
from ftzard.orchestration.kernel_server import call_function
asked = json.loads(Path(sys.argv[1]).read_text())
expected = numpy.load(asked["expected"])
verify.subprocess = None
for off in (0, 1):
    forked_worker.prepare(call_function)
    try:
        print(verify.verify_saved(Path(asked["folder"]), base_spec(asked["spec"]),
                                  asked["rows"], expected + off))
    except verify.ModelError as error:
        print(error)
"""


@pytest.fixture
def trained(loaded, train_rows, validation_rows, settings, tmp_path):
    """A trained adapter: its folder, and the logits that it gave before it was saved."""
    adapted = attach(loaded, **LORA, train_embeddings=True)
    train(adapted, train_rows, validation_rows, **{**settings, "epochs": 1})
    save(loaded, tmp_path / "adapter", {"cleaning": {"lower": True}})
    classifier = bare_like(loaded, adapted)
    expected = classifier.logits(validation_rows["input_ids"])
    detach(loaded)
    return tmp_path / "adapter", expected


def bare_like(loaded, model):
    classifier = bare_classifier(replace(loaded, attachment=None))
    return replace(classifier, model=model)


def state(loaded):
    modules = [(name, id(module)) for name, module in loaded.model.named_modules()]
    flags = [(name, p.requires_grad) for name, p in loaded.model.named_parameters()]
    return modules, flags, set(vars(loaded.model))


@pytest.mark.slow
def test_a_copy_of_the_kernel_s_beginning_verifies_without_another_interpreter(
        trained, spec, validation_rows, tmp_path):
    folder, expected = trained
    numpy.save(tmp_path / "expected.npy", expected)
    (tmp_path / "asked.json").write_text(json.dumps({
        "folder": str(folder), "spec": spec.to_dict(), "expected": str(tmp_path / "expected.npy"),
        "rows": {"input_ids": [list(map(int, ids)) for ids in validation_rows["input_ids"]]}},
        default=str))
    done = subprocess.run([sys.executable, "-c", IN_A_COPY, str(tmp_path / "asked.json")],
                          text=True, capture_output=True)
    equal, refused = done.stdout.splitlines()
    assert float(equal) == 0.0, done.stderr
    assert "differ from the trained model's by up to 1;" in refused


@pytest.mark.parametrize("embeddings", [False, True])
def test_a_trial_leaves_the_bare_base_as_it_was(
    loaded, train_rows, validation_rows, settings, embeddings
):
    before, modules = bare_classifier(loaded).logits(validation_rows["input_ids"]), state(loaded)
    runs = []
    for _ in range(2):
        adapted = attach(loaded, **LORA, train_embeddings=embeddings)
        train(adapted, train_rows, validation_rows, **{**settings, "epochs": 1})
        runs.append(bare_like(loaded, adapted).logits(validation_rows["input_ids"]))
        detach(loaded)
        after = bare_classifier(loaded).logits(validation_rows["input_ids"])
        assert numpy.array_equal(before, after) and state(loaded) == modules
    assert numpy.array_equal(*runs), "the second trial must equal the first bit for bit"
    assert not numpy.array_equal(runs[0], before)


def test_a_second_adapter_on_top_of_one_is_refused(loaded):
    attach(loaded, **LORA)
    with pytest.raises(ModelError, match="attached to this base already"):
        attach(loaded, **LORA)


def test_an_adapter_that_was_taken_off_does_not_answer_as_the_base(loaded):
    adapted = attach(loaded, **LORA)
    detach(loaded)
    with pytest.raises(ModelError, match="taken off its base"):
        adapted(input_ids=torch.tensor([[5, 6]]))
    with pytest.raises(ModelError, match="no adapter is attached"):
        save(loaded, "unused")


def test_the_seed_decides_the_first_weights(loaded):
    def first_weights(seed):
        attached = attach(loaded, **{**LORA, "seed": seed})
        weights = {n: p.clone() for n, p in attached.named_parameters() if p.requires_grad}
        detach(loaded)
        return weights

    one, again, other = first_weights(1), first_weights(1), first_weights(2)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_saved_adapter_reopens_to_the_same_logits(loaded, spec, trained, validation_rows):
    folder, expected = trained
    for base in (loaded, spec):
        classifier = open_classifier(folder, base)
        assert numpy.array_equal(classifier.logits(validation_rows["input_ids"]), expected)
    assert classifier.labels == LABELS and classifier.max_length == 40


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_logits(trained, spec, validation_rows, tmp_path):
    folder, expected = trained
    packed = pack(folder, tmp_path / "adapter.zip")
    assert verify_saved(packed, spec, validation_rows, expected) == 0.0


def test_a_saved_adapter_that_answers_otherwise_is_refused(
    trained, spec, validation_rows, monkeypatch
):
    folder, expected = trained
    for answer, said in (
        (expected + numpy.float32(0.5), "differ from the trained model's by up to 0.5"),
        (expected * numpy.nan, "by up to nan"),
        (expected[:, :1], "logits of shape .80, 1.; expected .80, 2."),
    ):
        monkeypatch.setattr(verification, "_fingerprint", lambda *given, answer=answer: answer)
        with pytest.raises(ModelError, match=said):
            verify_saved(folder, spec, validation_rows, expected)


def test_what_is_saved_says_where_it_comes_from(loaded, trained, folder):
    meta = read_meta(trained[0])
    assert meta["labels"] == LABELS and meta["max_length"] == 40
    assert meta["base"]["weight_hash"] == loaded.weight_hash
    assert meta["tokenizer_hash"] == loaded.tokenizer_hash
    assert meta["quantisation"] == "nf4" and meta["cleaning"] == {"lower": True}
    assert meta["lora"] == {"rank": 4, "alpha": 8, "dropout": 0.1, "train_embeddings": True}
    assert base_spec({**meta["base"]["spec"], "source": folder}) == loaded.spec
    assert (trained[0] / "tokenizer.json").is_file()
    for file in ("ftzard.json", "adapter_config.json"):
        assert str(folder) not in (trained[0] / file).read_text()


def test_the_same_training_saves_the_same_bytes(
    loaded, trained, train_rows, validation_rows, settings, tmp_path
):
    adapted = attach(loaded, **LORA, train_embeddings=True)
    train(adapted, train_rows, validation_rows, **{**settings, "epochs": 1})
    again = save(loaded, tmp_path / "again", {"cleaning": {"lower": True}})
    assert sha256(pack(again, tmp_path / "b.zip")) == sha256(pack(trained[0], tmp_path / "a.zip"))


def test_an_adapter_of_another_base_is_refused(trained, spec, texts, tmp_path):
    sizes = dict(layers=2, width=64, heads=4, vocabulary=600, max_positions=64)
    other = replace(spec, source=build(tmp_path / "o", texts["text"], seed=8, **sizes), name="o")
    with pytest.raises(ModelError, match="trained on base 'falcon_test' .* here is 'o'"):
        open_classifier(trained[0], other)
    with pytest.raises(ModelError, match="expected the same weights"):
        attach(load_base(other, LABELS), **LORA, train_embeddings=True, start_from=trained[0])


def test_other_labels_or_another_tokenizer_are_refused(trained, spec, loaded):
    with pytest.raises(ModelError, match="labels .*'negative', 'positive'.*'neg', 'pos'"):
        open_classifier(trained[0], load_base(spec, ["neg", "pos"]))
    with pytest.raises(ModelError, match="with tokenizer"):
        open_classifier(trained[0], replace(loaded, tokenizer_hash="0" * 64))


def test_a_folder_that_is_no_adapter_is_refused(tmp_path, spec):
    with pytest.raises(ModelError, match="holds no ftzard.json"):
        open_classifier(tmp_path, spec)


@pytest.mark.parametrize("part", ["score.weight", "h.1.mlp.dense_h_to_4h.lora_B.weight"])
def test_an_adapter_without_its_head_or_a_layer_is_refused(trained, loaded, part):
    weights = trained[0] / "adapter_model.safetensors"
    save_file({n: t for n, t in load_file(weights).items() if not n.endswith(part)}, weights)
    with pytest.raises(ModelError, match=f"lacks 1 of 18 weights .first: .*{part}"):
        open_classifier(trained[0], loaded)


def test_a_failed_attachment_leaves_the_base_bare(trained, loaded):
    before = state(loaded)
    weights = trained[0] / "adapter_model.safetensors"
    save_file({name: t[:1].clone() for name, t in load_file(weights).items()}, weights)
    with pytest.raises(ModelError, match="cannot be attached to base 'falcon_test'"):
        open_classifier(trained[0], loaded)
    assert state(loaded) == before
    bare_classifier(loaded)


def test_half_precision_trains_and_reopens_with_its_own_embeddings_only(
    spec, train_rows, validation_rows, settings, tmp_path
):
    half = load_base(replace(spec, compute_dtype="bfloat16", double_quantisation=True), LABELS)
    with pytest.raises(ModelError, match="train_embeddings with compute_dtype bfloat16"):
        attach(half, **LORA, train_embeddings=True)
    adapted = attach(half, **LORA)
    train(adapted, train_rows, validation_rows, **{**settings, "epochs": 1})
    before = bare_like(half, adapted).logits(validation_rows["input_ids"])
    save(half, tmp_path / "adapter")
    found = open_classifier(tmp_path / "adapter", half.spec).logits(validation_rows["input_ids"])
    assert numpy.array_equal(found, before)


def test_training_can_go_on_from_a_saved_adapter(
    loaded, trained, train_rows, validation_rows, settings
):
    folder, expected = trained
    before = {file.name: sha256(file) for file in folder.iterdir()}
    adapted = attach(loaded, **LORA, train_embeddings=True, start_from=folder)
    assert numpy.array_equal(
        bare_like(loaded, adapted).logits(validation_rows["input_ids"]), expected
    )
    train(adapted, train_rows, validation_rows, **{**settings, "epochs": 1})
    after = bare_like(loaded, adapted).logits(validation_rows["input_ids"])
    assert not numpy.array_equal(after, expected)
    assert {file.name: sha256(file) for file in folder.iterdir()} == before
    detach(loaded)
    with pytest.raises(ModelError, match="'rank': 4.*'rank': 8"):
        attach(loaded, **{**LORA, "rank": 8}, train_embeddings=True, start_from=folder)


@pytest.mark.parametrize("targets", [
    ("query_key_value",), ("query_key_value", "dense", "dense_4h_to_h")])
def test_an_adapter_goes_on_only_on_its_own_layers(spec, texts, tmp_path, targets):
    # dense_h_to_4h and dense_4h_to_h have as many parameters: their count tells nothing.
    own = replace(spec, lora_targets=("query_key_value", "dense", "dense_h_to_4h"))
    loaded = load_base(own, LABELS)
    attach(loaded, **LORA)
    folder = save(loaded, tmp_path / "adapter")
    other = load_base(replace(spec, lora_targets=targets), LABELS)
    with pytest.raises(ModelError) as refused:
        attach(other, **LORA, start_from=folder)
    said = str(refused.value)
    assert "only the adapter's: " in said and "dense_h_to_4h" in said
    assert said.endswith("Set model.lora_targets=[dense,dense_h_to_4h,query_key_value], or "
                         "retraining.start=base.")
    attach(other, **LORA)  # as retraining.start=base does; nothing was left attached
    back = ("dense", "dense_h_to_4h", "query_key_value")  # the order means nothing
    attach(load_base(replace(spec, lora_targets=back), LABELS), **LORA, start_from=folder)


def test_predictions_of_raw_texts_come_in_order(trained, loaded, texts):
    texts = texts[:50]
    classifier = open_classifier(trained[0], loaded)
    table = classifier.predict(texts["text"], batch_size=8)
    assert list(table.columns) == ["label", "confidence", "probabilities", "abstains"]
    one_by_one = [classifier.predict([text]).iloc[0] for text in texts["text"][:5]]
    assert [row["label"] for row in one_by_one] == table["label"][:5].tolist()
    for row, (_, expected) in zip(one_by_one, table.iterrows(), strict=False):
        assert row["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
        assert expected["confidence"] == max(expected["probabilities"])
        assert LABELS[int(numpy.argmax(expected["probabilities"]))] == expected["label"]


def test_logits_do_not_depend_on_the_company_and_report_progress(trained, loaded, rows):
    classifier = open_classifier(trained[0], loaded)
    input_ids, seen = rows["input_ids"].tolist(), []
    together = classifier.logits(
        input_ids, batch_size=32, on_step=lambda done, total: seen.append((done, total))
    )
    assert numpy.abs(together - classifier.logits(input_ids, batch_size=1)).max() < 1e-5
    assert seen[-1] == (240, 240) and [done for done, _ in seen] == sorted({d for d, _ in seen})
    assert classifier.logits([]).shape == (0, 2)
    with pytest.raises(ModelError, match="row 1 has 0 tokens"):
        classifier.logits([[5], []])
