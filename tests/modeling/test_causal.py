"""A base that writes: loaded as it must be, learned from answers alone, and brought back."""

import json
import shutil
from dataclasses import replace

import numpy
import pandas
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError
from ftzard.modeling import base_model as base_module
from ftzard.modeling import checks
from ftzard.modeling.adapter import attach, detach, save
from ftzard.modeling.adapter_meta import read_meta, weights_file
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.batching import pad
from ftzard.tasks import verification
from ftzard.tasks.base import base_spec
from ftzard.tasks.classification import TASK as CLASSIFICATION
from ftzard.tasks.classification.predictor import bare_classifier, open_classifier
from ftzard.tasks.instruction_tuning import TASK as INSTRUCTIONS
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning import objective as answer_objective
from ftzard.tasks.instruction_tuning.checks import answered_as
from ftzard.tasks.instruction_tuning.objective import Answers
from ftzard.tasks.instruction_tuning.predictor import bare_generator, open_generator
from ftzard.tasks.instruction_tuning.token_loss import row_losses
from ftzard.tasks.instruction_tuning.tokenization import encode
from ftzard.tasks.verification import verify_saved
from ftzard.training import trainer
from ftzard.training.fit import rows_digest
from ftzard.training.objective import better
from tests.modeling.families import FAMILIES, LAYERS, LINEAR, build
from tests.modeling.instruction_rows import EXTRA, LENGTH, rows_of
from tests.training_calls import fit, search, train

pytestmark = pytest.mark.slow

DECODERS = [family for family in FAMILIES if family != "distilbert"]
METHODS = [("lora", "none"), ("lora", "nf4"), ("lora", "int8"), ("rslora", "none"),
           ("dora", "none"), ("full", "none")]
MATRIX = [(family, *way) for family in DECODERS for way in METHODS]
PARAMS = {"rank": 4, "alpha": 8.0, "dropout": 0.1, "learning_rate": 5e-3, "batch_size": 16,
          "weight_decay": 0.01}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, texts):
    place = tmp_path_factory.mktemp("causal")
    return {family: build(place / family, family, texts["text"]) for family in FAMILIES}


@pytest.fixture(scope="module")
def base_of(folders):
    """Return a base of a family in a quantisation, loaded once for all tests."""
    kept = {}

    def load(family, quantisation="none"):
        key = family, quantisation
        if key not in kept:
            kept[key] = load_base(spec_of(folders, family, quantisation=quantisation),
                                  device="cpu")
        detach(kept[key])
        return kept[key]

    return load


def spec_of(folders, family, **values) -> BaseSpec:
    return BaseSpec(source=folders[family], name=family, lora_targets=None, max_length=LENGTH,
                    head=INSTRUCTIONS.head, **{"quantisation": "none", **values})


@pytest.fixture
def falcon(base_of):
    base = base_of("falcon")
    yield base
    detach(base)


@pytest.fixture(scope="module")
def rows(texts, base_of):
    return rows_of(texts, base_of("falcon").tokenizer)


def fitted(base, rows, folder, method="lora", **changes):
    values = dict(params=PARAMS, seed=3, metric="perplexity", folder=folder, extra=EXTRA,
                  training={"epochs": 2, "method": method})
    return fit(base, rows[:64], rows[160:200], **{**values, **changes})


def losses(answerer, rows):
    return answerer.losses(rows["input_ids"].tolist(), rows["prompt_length"].to_numpy())[0]


def bare(base):
    return bare_generator(base, {**EXTRA, "max_new_tokens": 4})


# A load


@pytest.mark.parametrize("quantisation", ["none", "nf4", "int8"])
@pytest.mark.parametrize("family", DECODERS)
def test_every_linear_layer_is_stored_as_asked_and_the_head_never(family, quantisation, base_of):
    base = base_of(family, quantisation)
    count = LAYERS * len(LINEAR[family])
    assert base.quantised == (count if quantisation != "none" else 0)
    assert base.inspection.head == ("lm_head",) and base.labels == []
    assert len(base.inspection.linear) == count and base.inspection.is_causal_lm
    head = base.model.lm_head
    assert type(head) is torch.nn.Linear and head.weight.dtype == torch.float32
    assert base.inspection.tied == (head.weight is base.model.get_input_embeddings().weight)
    assert base.inspection.tied == (family == "falcon")
    assert base.inspection.parameters == sum(p.numel() for p in AutoModelForCausalLM.from_config(
        base.model.config).parameters())


def test_half_precision_holds_for_the_head_too_and_a_quantised_one_is_refused(folders):
    base = load_base(spec_of(folders, "falcon", compute_dtype="bfloat16"), device="cpu")
    assert base.model.lm_head.weight.dtype == torch.bfloat16
    with pytest.raises(ModelError, match="head 'lm_head' is Linear of torch.bfloat16"):
        checks.assert_head(base.model)
    with pytest.raises(ModelError, match="train_embeddings with compute_dtype bfloat16"):
        attach(base, seed=1, rank=4, alpha=8.0, train_embeddings=True)


def test_a_head_that_the_quantiser_takes_does_not_pass_a_load(folders, monkeypatch):
    real = base_module._quantisation

    def all_of_them(spec, inspection):
        config = real(spec, inspection)
        config.llm_int8_skip_modules = ["nothing"]
        return config

    monkeypatch.setattr(base_module, "_quantisation", all_of_them)
    with pytest.raises(ModelError, match="head 'lm_head' is Linear4bit"):
        load_base(spec_of(folders, "llama", quantisation="nf4"), device="cpu")


@pytest.mark.parametrize(("family", "change", "labels", "said"), [
    ("distilbert", {}, (), "'distilbert' is an encoder, .*task=classification"),
    ("falcon", {}, ("a", "b"), "labels are .'a', 'b'.*free text"),
    ("falcon", {"head": CLASSIFICATION.head}, (), "at least 2, each once"),
])
def test_what_cannot_write_is_refused_before_any_weight_is_loaded(
    family, change, labels, said, folders, monkeypatch
):
    monkeypatch.setattr(base_module, "_load_model", None)
    with pytest.raises(ModelError, match=said):
        load_base(replace(spec_of(folders, family), **change), labels, device="cpu")


def classifier_of(folders, family, place):
    """Return the folder of a checkpoint that was saved from a classifier."""
    spec = replace(spec_of(folders, family), head=CLASSIFICATION.head)
    classifier = load_base(spec, ["a", "b"], device="cpu")
    classifier.model.save_pretrained(place)
    classifier.tokenizer.save_pretrained(place)
    return place


def test_a_classifier_s_checkpoint_cannot_write_unless_its_head_is_tied(
    folders, base_of, tmp_path
):
    lost = classifier_of(folders, "llama", tmp_path / "llama")
    with pytest.raises(ModelError, match="lacks weights .'lm_head.weight'.*that it writes with"):
        load_base(replace(spec_of(folders, "llama"), source=lost), device="cpu")
    there = classifier_of(folders, "falcon", tmp_path / "falcon")
    found = load_base(replace(spec_of(folders, "falcon"), source=there), device="cpu")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(found.model(ids).logits, base_of("falcon").model(ids).logits)


def test_two_matrices_stay_two_whatever_the_config_says(folders, rows, tmp_path):
    folder = shutil.copytree(folders["falcon"], tmp_path / "two")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["transformer.word_embeddings.weight"] * 0.5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    base = load_base(replace(spec_of(folders, "falcon"), source=folder), device="cpu")
    assert not base.inspection.tied
    assert base.inspection.parameters == sum(p.numel() for p in base.model.parameters())
    done = fitted(base, rows, tmp_path / "adapter", train_embeddings=True)
    kept = load_file(weights_file(done.folder))
    assert not torch.equal(*(kept[f"base_model.model.{name}.weight"]
                             for name in ("lm_head", "transformer.word_embeddings")))
    assert numpy.average(losses(open_generator(done.folder, base), rows[160:200]),
                         weights=(rows["input_ids"].str.len() - rows["prompt_length"])[160:200]
                         ) == done.trained.best["validation_loss"]


def test_a_mask_that_is_not_used_does_not_pass_a_load(folders, monkeypatch):
    real = checks._to_the_left
    monkeypatch.setattr(checks, "_to_the_left", lambda values, mask: torch.ones_like(values)
                        if values is mask else real(values, mask))
    with pytest.raises(ModelError, match="padded on the left .* differ"):
        load_base(spec_of(folders, "mistral"), device="cpu")


# Every family with every method


@pytest.mark.parametrize(("family", "method", "quantisation"), MATRIX)
def test_it_learns_answers_and_comes_back_to_the_same_losses(
    family, method, quantisation, base_of, texts, tmp_path
):
    base = base_of(family, quantisation)
    rows = rows_of(texts, base.tokenizer)
    validation = rows[160:200]
    before = losses(bare(base), validation)
    done = fitted(base, rows, tmp_path / "adapter", method)
    first, last = done.trained.history
    assert last["train_loss"] < first["train_loss"]
    assert last["validation_loss"] < 0.9 * before.mean()
    meta = read_meta(done.folder)
    assert (meta["task"], meta["method"], meta["quantisation"]) == (
        "instruction_tuning", method, quantisation)
    assert meta["labels"] == [] and base_spec({
        **meta["base"]["spec"], "source": base.spec.source}) == base.spec
    answerer = open_generator(done.folder, base)
    pad_id = base.tokenizer.pad_token_id
    found = row_losses(answerer.model, validation["input_ids"].tolist(),
                       validation["prompt_length"], pad_id=pad_id, batch_size=16)
    assert float(numpy.average(found.loss, weights=found.tokens)) == (
        done.trained.best["validation_loss"])
    # LLM.int8 computes the large activations of a whole batch apart, and so depends on them.
    assert numpy.abs(losses(answerer, validation) - found.loss).max() < (
        0.1 if quantisation == "int8" else 1e-5)
    detach(base)
    assert numpy.array_equal(losses(bare(base), validation), before)


# Embeddings and head


def test_tied_embeddings_are_trained_as_one_matrix_and_come_back_so(
    falcon, folders, rows, tmp_path, monkeypatch
):
    adapted = attach(falcon, seed=1, rank=4, alpha=8.0, train_embeddings=True)
    trained = {n: p for n, p in adapted.named_parameters() if p.requires_grad and "lora" not in n}
    assert [tuple(p.shape) for p in trained.values()] == [
        (falcon.model.config.vocab_size, 64)]
    detach(falcon)
    done = fitted(falcon, rows, tmp_path / "adapter", train_embeddings=True)
    assert read_meta(done.folder)["lora"]["train_embeddings"] is True
    answerer = open_generator(done.folder, falcon)
    inside = answerer.model.base_model.model
    head = inside.lm_head.modules_to_save["default"].weight
    assert head is inside.transformer.word_embeddings.modules_to_save["default"].weight
    assert not torch.equal(head, inside.lm_head.original_module.weight)
    validation = rows[160:200]
    expected = losses(answerer, validation)
    detach(falcon)
    assert verify_saved(done.folder, falcon.spec, validation, expected) == 0.0
    for answer, said in ((expected + 0.5, "by up to 0.5"),
                         (expected[1:], "losses of shape .39,.; expected .40,")):
        monkeypatch.setattr(verification, "_fingerprint", lambda *given, answer=answer: answer)
        with pytest.raises(ModelError, match=said):
            verify_saved(done.folder, falcon.spec, validation, expected)
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folders["falcon"]), done.folder).eval()
    found = row_losses(plain, validation["input_ids"].tolist(), validation["prompt_length"],
                       pad_id=0)
    assert numpy.abs(found.loss - expected).max() < 1e-6


def test_training_goes_on_from_tied_embeddings_that_were_saved(falcon, rows, tmp_path):
    first = fitted(falcon, rows, tmp_path / "one", train_embeddings=True)
    expected = losses(open_generator(first.folder, falcon), rows[160:200])
    detach(falcon)
    adapted = attach(falcon, seed=3, rank=4, alpha=8.0, train_embeddings=True,
                     start_from=first.folder)
    found = row_losses(adapted, rows["input_ids"][160:200].tolist(),
                       rows["prompt_length"][160:200], pad_id=0)
    assert numpy.abs(found.loss - expected).max() < 1e-6
    detach(falcon)
    later = fitted(falcon, rows, tmp_path / "two", train_embeddings=True, start_from=first.folder)
    assert later.trained.history[0]["train_loss"] < first.trained.history[0]["train_loss"]


def test_untied_embeddings_and_head_are_both_trained(base_of, texts, tmp_path):
    base = base_of("llama")
    done = fitted(base, rows_of(texts, base.tokenizer), tmp_path / "adapter",
                  train_embeddings=True)
    kept = load_file(weights_file(done.folder))
    for name in ("lm_head", "model.embed_tokens"):
        now = kept[f"base_model.model.{name}.weight"]
        assert not torch.equal(now, base.model.get_submodule(name).weight)
    whole = set(kept)
    save_file({n: t for n, t in kept.items() if "lm_head" not in n}, weights_file(done.folder))
    with pytest.raises(ModelError, match=f"lacks 1 of {len(whole)} weights .first: .*lm_head"):
        open_generator(done.folder, base)


def test_without_them_neither_head_nor_embeddings_train(falcon):
    adapted = attach(falcon, seed=1, rank=4, alpha=8.0)
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * LAYERS * 4 and all("lora" in name for name in trained)


@pytest.mark.parametrize("family", ["falcon", "llama"])
def test_a_model_trained_in_full_is_opened_by_a_fresh_process(family, base_of, texts, tmp_path):
    base = base_of(family)
    rows = rows_of(texts, base.tokenizer)
    done = fitted(base, rows, tmp_path / "whole", "full")
    assert ("lm_head.weight" in load_file(weights_file(done.folder))) == (family == "llama")
    answerer = open_generator(done.folder, base)
    assert (answerer.model.lm_head.weight is answerer.model.get_input_embeddings().weight) == (
        family == "falcon")
    expected = losses(answerer, rows[160:180])
    detach(base)
    assert verify_saved(done.folder, base.spec, rows[160:180], expected) == 0.0


# What belongs to which task


def test_a_task_s_adapter_is_not_opened_as_the_other_s(
    falcon, folders, loaded, spec, tmp_path, monkeypatch
):
    attach(falcon, seed=1, rank=4, alpha=8.0)
    writing = save(falcon, tmp_path / "writing", EXTRA)
    untold = save(falcon, tmp_path / "untold")
    attach(loaded, seed=1, rank=4, alpha=8.0)
    labelling = save(loaded, tmp_path / "labelling")
    kept = json.loads((labelling / "ftzard.json").read_text())
    assert "task" not in kept and "task" not in kept["base"]["spec"]
    assert read_meta(labelling)["task"] == "classification"
    detach(falcon)
    detach(loaded)
    monkeypatch.setattr(base_module, "_load_model", None)
    with pytest.raises(ModelError, match="for instruction_tuning; expected one for classif"):
        open_classifier(writing, falcon.spec)
    with pytest.raises(ModelError, match="for classification; expected one for instruction"):
        open_generator(labelling, spec)
    with pytest.raises(ModelError, match="trained with task instruction_tuning, but the base has"):
        load_base(replace(falcon.spec, head=CLASSIFICATION.head), ["a", "b"], continues=writing)
    with pytest.raises(ModelError, match="names no template and no max_new_tokens"):
        open_generator(untold, falcon.spec)
    with pytest.raises(ModelError, match="base 'falcon' is for instruction_tuning"):
        bare_classifier(falcon)
    with pytest.raises(ModelError, match="base 'falcon_test' is for classification"):
        bare(loaded)


# What is learned


def test_the_history_says_what_was_learned(falcon, rows, tmp_path):
    done = fitted(falcon, rows, tmp_path / "adapter", training={"epochs": 3})
    first, *_, last = done.trained.history
    assert set(first) == {"epoch", "train_loss", "validation_loss", "perplexity",
                          "token_accuracy", "supervised_tokens", "learning_rate",
                          "tokens_per_second", "padding_share"}
    assert first["supervised_tokens"] == sum(
        len(ids) - n for ids, n in
        zip(rows["input_ids"][:64], rows["prompt_length"][:64], strict=False))
    assert first["perplexity"] == pytest.approx(numpy.exp(first["validation_loss"]))
    assert last["token_accuracy"] > 0.5 and last["perplexity"] < first["perplexity"]


def test_only_the_tokens_of_answers_are_learned(falcon, rows):
    """As transformers has it with the labels of a prompt left out, gradients included."""
    ids, prompts = rows["input_ids"][:12].tolist(), rows["prompt_length"][:12].tolist()
    model = attach(falcon, seed=1, rank=4, alpha=8.0, train_embeddings=True)
    objective = Answers(model, rows[:12], rows[:12], None)
    parts = [objective.batch(part, 0, torch.device("cpu"))
             for part in objective.parts(numpy.arange(12), 3 * LENGTH)]
    assert len(parts) > 2
    loss = trainer._gradients(model, parts, 0, objective, objective.weight(numpy.arange(12)))
    ours = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    batch = pad(ids, 0)
    labels = batch["input_ids"].clone()
    for row, (values, prompt) in enumerate(zip(ids, prompts, strict=False)):
        labels[row, :prompt], labels[row, len(values):] = -100, -100
    theirs = model(**batch, labels=labels).loss
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), abs=1e-6)
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert max(float((ours[n] - gradients[n]).abs().max()) for n in ours) < 1e-6
    assert max(float(g.abs().max()) for g in ours.values()) > 1e-3


def test_a_row_s_loss_is_the_mean_over_its_answer_and_no_row_changes_another_s(falcon, rows):
    ids, prompts = rows["input_ids"][:20].tolist(), rows["prompt_length"][:20].to_numpy()
    seen = []
    found = row_losses(falcon.model, ids, prompts, pad_id=0, batch_size=6,
                       on_step=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20) and len(seen) == 4
    for row in (0, 7, 19):
        with torch.no_grad():
            scores = falcon.model(torch.tensor([ids[row]])).logits[0].log_softmax(-1)
        places = range(prompts[row], len(ids[row]))
        each = [-float(scores[place - 1, ids[row][place]]) for place in places]
        assert found.loss[row] == pytest.approx(numpy.mean(each), abs=1e-5)
        assert found.tokens[row] == len(each)
        assert found.hits[row] == sum(
            int(scores[place - 1].argmax()) == ids[row][place] for place in places)


def test_an_epoch_s_loss_is_the_mean_over_all_its_supervised_tokens(falcon, rows):
    """Steps of as many rows have different numbers of tokens; the last has fewer rows, too."""
    some = rows[:41]
    model = attach(falcon, seed=1, rank=4, alpha=8.0)
    first = row_losses(model, some["input_ids"].tolist(), some["prompt_length"], pad_id=0)
    done = train(model, some, rows[160:170], labels=[], epochs=1, learning_rate=1e-7,
                 batch_size=4, metric="validation_loss")
    assert len(set(first.tokens)) > 1
    expected = numpy.average(first.loss, weights=first.tokens)
    assert done.best["train_loss"] == pytest.approx(expected, abs=1e-4)
    assert abs(expected - first.loss.mean()) > 1e-3


def test_rows_without_a_token_to_learn_are_named(falcon, rows, tmp_path):
    cut = rows.copy()
    cut.loc[5, "prompt_length"] = len(cut["input_ids"][5])
    empty = rows.assign(prompt_length=0)
    with pytest.raises(ModelError, match="training row 'row-5' has .* supervised token after it"):
        fitted(falcon, cut, tmp_path / "a")
    with pytest.raises(ModelError, match="row 'row-0' .* 0 are its prompt .such rows: 64"):
        fitted(falcon, empty, tmp_path / "b")
    with pytest.raises(ModelError, match="given row 1 has 2 tokens of which 2 are its prompt"):
        row_losses(falcon.model, [[5, 6], [5, 6]], [1, 2], pad_id=0)
    with pytest.raises(ModelError, match="no column 'prompt_length'"):
        fitted(falcon, rows.drop(columns="prompt_length"), tmp_path / "c")
    with pytest.raises(ModelError, match="1 training and 40 validation rows"):
        fit(falcon, rows[:1], rows[160:200], params=PARAMS, seed=3, metric="perplexity",
            folder=tmp_path / "d", extra=EXTRA, training={"epochs": 1})
    assert falcon.attachment is None


def test_a_loss_that_misses_a_token_stops_the_training(falcon, rows, tmp_path, monkeypatch):
    real = answer_objective.asked_alone

    def fewer(batch, ids, prompts):
        return real(batch, ids, [[n + 1 for n in row] for row in prompts])

    monkeypatch.setattr(answer_objective, "asked_alone", fewer)
    promised = r"the loss at step 1 would see \d+ targets; expected \d+"
    with pytest.raises(ModelError, match=promised):
        fitted(falcon, rows, tmp_path / "fewer")

    def unasked(batch, ids, prompts):
        found, targets = real(batch, ids, prompts)
        return {**found, "logits_to_keep": found["logits_to_keep"] | True}, targets

    monkeypatch.setattr(answer_objective, "asked_alone", unasked)
    with pytest.raises(ModelError, match=promised):
        fitted(falcon, rows, tmp_path / "unasked")


def test_metrics_of_the_other_task_are_refused_and_the_lower_perplexity_is_better(
    falcon, rows, tmp_path, loaded, train_rows, validation_rows
):
    with pytest.raises(ModelError, match="metric is 'accuracy'"):
        fitted(falcon, rows, tmp_path / "a", metric="accuracy")
    with pytest.raises(ModelError, match="metric is 'perplexity'"):
        fit(loaded, train_rows, validation_rows, params=PARAMS, seed=1, metric="perplexity",
            training={"epochs": 1}, folder=tmp_path / "b")
    one = {"perplexity": 9.0, "validation_loss": 2.2}
    assert better({"perplexity": 8.0, "validation_loss": 2.1}, one, "perplexity")
    assert not better(one, one, "perplexity")


def test_a_search_ranks_by_the_lower_perplexity(falcon, rows, tmp_path):
    found = search(falcon, rows[:64], rows[160:200], trials=2, metric="perplexity", seed=1,
                   space={"rank": [2], "batch_size": [16], "learning_rate": [1e-5, 1e-2],
                          "weight_decay": 0.0, "dropout": 0.0},
                   training={"epochs": 1, "packing": True}, folder=tmp_path, extra=EXTRA)
    assert found[0].metrics["perplexity"] < found[1].metrics["perplexity"]
    with pytest.raises(ModelError, match="tuning.metric is 'accuracy'"):
        search(falcon, rows, rows, trials=1, metric="accuracy", seed=1, space={}, training={},
               folder=tmp_path)


# Rows and how they were made


def test_rows_of_another_template_or_length_are_refused(falcon, texts, tmp_path):
    template = chat_template.Template("alpaca", EXTRA["template"]["source"])
    messages = [[{"role": "user", "content": text}] for text in texts["text"][:40]]
    answers = ["very happy"] * 40
    made = encode(messages, answers, falcon.tokenizer, template, LENGTH)
    table = pandas.DataFrame({
        "id": texts.index[:40].astype(str), "label": answers, "input_ids": list(made.input_ids),
        "messages": [json.dumps(one) for one in messages],
        "prompt_length": made.prompt_length})[~made.lost]
    answered_as(table, falcon.tokenizer, template, LENGTH)
    shifted = table.assign(prompt_length=table["prompt_length"] + 1)
    shorter = table.assign(input_ids=[ids[:-1] for ids in table["input_ids"]])
    for wrong in (shifted, shorter):
        with pytest.raises(ModelError, match="tokenized otherwise than template 'alpaca'"):
            fit(falcon, wrong, wrong, params=PARAMS, seed=1, metric="perplexity",
                folder=tmp_path / "a", extra=EXTRA, training={"epochs": 1})
    other = {**EXTRA, "template": {"name": "mine", "source": "so: {{ messages[0]['content'] }}"}}
    with pytest.raises(ModelError, match="tokenized otherwise than template 'mine'"):
        fit(falcon, table, table, params=PARAMS, seed=1, metric="perplexity",
            folder=tmp_path / "a", extra=other, training={"epochs": 1})
    with pytest.raises(ModelError, match="entries lack template; expected"):
        fit(falcon, table, table, params=PARAMS, seed=1, metric="perplexity",
            folder=tmp_path / "a", extra={"max_new_tokens": 4}, training={"epochs": 1})


def test_the_hash_of_rows_covers_where_their_prompts_end(rows):
    one = rows_digest(rows)
    assert rows_digest(rows.assign(label="other")) == one
    assert rows_digest(rows.assign(prompt_length=rows["prompt_length"] - 1)) != one


# Again, and from where it was cut off


class Cut(BaseException):
    """The end of a process in the middle of training."""


@pytest.mark.parametrize("changes", [
    {"train_embeddings": True},
    {"training": {"epochs": 2, "packing": True, "micro_batch_tokens": 2 * LENGTH,
                  "gradient_checkpointing": True}}])
def test_a_fit_that_was_cut_off_goes_on_as_if_nothing_had_happened(
    falcon, rows, tmp_path, changes
):
    whole = fitted(falcon, rows, tmp_path / "whole", **changes)
    kept = {"checkpoints": tmp_path / "kept", "checkpoint_steps": 2}

    def cut(done, total):
        if done == 7:
            raise Cut

    with pytest.raises(Cut):
        fitted(falcon, rows, tmp_path / "cut", on_step=cut, **kept, **changes)
    assert falcon.attachment is None
    second = fitted(falcon, rows, tmp_path / "second", **kept, **changes)
    assert second.trained.resumed_at == 6
    assert second.recipe == whole.recipe
    assert sha256(weights_file(second.folder)) == sha256(weights_file(whole.folder))


def test_an_adapter_leaves_no_residue_on_its_base(falcon, rows):
    def state():
        return ([(name, id(m)) for name, m in falcon.model.named_modules()],
                [(name, p.requires_grad) for name, p in falcon.model.named_parameters()],
                set(vars(falcon.model)))

    before, expected = state(), losses(bare(falcon), rows[:20])
    for embeddings in (False, True):
        attach(falcon, seed=1, rank=4, alpha=8.0, train_embeddings=embeddings)
        detach(falcon)
        assert state() == before
    assert numpy.array_equal(losses(bare(falcon), rows[:20]), expected)
