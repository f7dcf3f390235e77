"""Packed rows do not see each other: the same losses, the same training, less padding."""

from dataclasses import replace

import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy

from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach, detach
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.tasks.instruction_tuning import TASK as INSTRUCTIONS
from ftzard.tasks.instruction_tuning import packing
from ftzard.tasks.instruction_tuning.checks import assert_packing
from ftzard.tasks.instruction_tuning.objective import Answers
from ftzard.tasks.instruction_tuning.token_loss import row_losses
from ftzard.training import trainer
from tests.modeling.families import FAMILIES, build
from tests.modeling.instruction_rows import EXTRA, LENGTH, rows_of
from tests.training_calls import fit, train

DECODERS = [family for family in FAMILIES if family != "distilbert"]
PARAMS = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "learning_rate": 5e-3, "batch_size": 16,
          "weight_decay": 0.0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, texts):
    place = tmp_path_factory.mktemp("packing")
    return {family: build(place / family, family, texts["text"]) for family in DECODERS}


def spec_of(folders, family, **values) -> BaseSpec:
    return BaseSpec(source=folders[family], name=family, lora_targets=None, max_length=LENGTH,
                    head=INSTRUCTIONS.head, **{"quantisation": "none", **values})


@pytest.fixture(scope="module")
def falcon(folders):
    return load_base(spec_of(folders, "falcon"), device="cpu")


@pytest.fixture(scope="module")
def rows(texts, falcon):
    return rows_of(texts, falcon.tokenizer)


@pytest.fixture
def loaded(falcon):
    yield falcon
    detach(falcon)


def packed_losses(model, objective, rows, pad_id):
    """Return each row's mean loss, of rows that are packed, in their order."""
    found = numpy.zeros(len(rows))
    for part in objective.parts(rows, None):
        batch, targets = objective.batch(part, pad_id, torch.device("cpu"))
        with torch.no_grad():
            each = cross_entropy(model(**batch).logits.float(), torch.from_numpy(targets),
                                 reduction="none").numpy()
        order = [row for sequence in part for row in sequence]
        ends = numpy.cumsum([objective.weight(numpy.array([row])) for row in order])[:-1]
        found[order] = [losses.mean() for losses in numpy.split(each, ends)]
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", DECODERS)
def test_a_packed_row_has_the_loss_that_it_has_alone(family, attention, folders, texts):
    base = load_base(spec_of(folders, family, attention=attention), device="cpu")
    rows = rows_of(texts, base.tokenizer)[:24]
    objective = Answers(base.model, rows, rows, LENGTH)
    pad_id = base.tokenizer.pad_token_id
    sequences = [s for part in objective.parts(numpy.arange(24), None) for s in part]
    assert len(sequences) < 18 and max(len(sequence) for sequence in sequences) > 2
    found = packed_losses(base.model, objective, numpy.arange(24), pad_id)
    alone = row_losses(base.model, rows["input_ids"].tolist(), rows["prompt_length"],
                       pad_id=pad_id, batch_size=1)
    assert numpy.abs(found - alone.loss).max() < 1e-5
    assert found.std() > 0.01, "losses that are all alike would show nothing"


def test_without_the_mask_rows_would_see_each_other(loaded, rows, monkeypatch):
    """The same measurement, where places alone tell packed rows apart."""
    real = packing.together

    def without(packed, pad_id, device, **more):
        batch = real(packed, pad_id, device, **more)
        return {**batch, "attention_mask": (batch["input_ids"] != pad_id).long()}

    monkeypatch.setattr(packing, "together", without)
    objective = Answers(loaded.model, rows[:24], rows[:24], LENGTH)
    found = packed_losses(loaded.model, objective, numpy.arange(24), 0)
    alone = row_losses(loaded.model, rows["input_ids"][:24].tolist(), rows["prompt_length"][:24],
                       pad_id=0)
    assert numpy.abs(found - alone.loss).max() > 1e-2
    with pytest.raises(ModelError, match="packed into one sequence .*packing=false"):
        assert_packing(loaded.model, loaded.tokenizer, loaded.spec)


def moved(loaded, rows, **changes):
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1, train_embeddings=True)
    done = train(
        model, rows[:96], rows[160:200], labels=[], metric="perplexity",
        **{"epochs": 1, "learning_rate": 5e-3, "batch_size": 16, "seed": 3, **changes})
    weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    detach(loaded)
    return done, weights


@pytest.mark.parametrize("tokens", [None, 2 * LENGTH])
def test_training_on_packed_rows_is_training_on_the_same_steps(loaded, rows, tokens):
    plain, weights = moved(loaded, rows)
    packed, others = moved(loaded, rows, packed_length=LENGTH, micro_batch_tokens=tokens)
    assert packed.steps == plain.steps == 6
    for key in ("train_loss", "validation_loss", "supervised_tokens"):
        assert packed.best[key] == pytest.approx(plain.best[key], abs=1e-5)
    # AdamW divides by a gradient's own size, so rounding shows; a wrong row shows far more.
    assert max(float((weights[n] - others[n]).abs().max()) for n in weights) < 1e-3


def test_the_gradient_of_packed_rows_is_that_of_the_rows(loaded, rows):
    model = attach(loaded, rank=4, alpha=8, dropout=0.0, seed=1, train_embeddings=True)
    found = []
    for length in (None, LENGTH):
        objective = Answers(model, rows[:16], rows[:16], length)
        model.zero_grad()
        parts = [objective.batch(part, 0, torch.device("cpu"))
                 for part in objective.parts(numpy.arange(16), 2 * LENGTH)]
        loss = trainer._gradients(model, parts, 0, objective, objective.weight(numpy.arange(16)))
        found.append((loss, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}))
    (loss, one), (summed, other) = found
    assert summed == pytest.approx(loss, abs=1e-6)
    sizes = [float(g.abs().max()) for g in one.values()]
    assert max(float((one[n] - other[n]).abs().max()) for n in one) < 1e-5 < max(sizes)


def test_padding_is_less_where_rows_are_of_many_lengths(loaded, rows):
    """As where a data set is too small to fill batches with rows of one length."""
    numbers = numpy.arange(16)
    shares = []
    for length in (None, LENGTH):
        objective = Answers(loaded.model, rows[:16], rows[:16], length)
        shares.append(objective.padding(objective.parts(numbers, None)))
    assert shares[1] < 0.6 * shares[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_bins_are_those_of_trl(seed):
    from datasets import Dataset
    from trl import pack_dataset

    lengths = numpy.random.default_rng(seed).integers(1, 40, 60).tolist()
    found = packing.bins(lengths, 40)
    assert sorted(row for rows in found for row in rows) == list(range(60))
    assert max(sum(lengths[row] for row in rows) for rows in found) <= 40
    theirs = pack_dataset(Dataset.from_dict({"ids": [[0] * n for n in lengths]}), 40,
                          map_kwargs={"load_from_cache_file": False})
    # Which of two bins with the same room a row goes to is all that may differ.
    assert sorted(sum(lengths[row] for row in rows) for rows in found) == sorted(
        map(sum, theirs["seq_lengths"]))


def test_a_batch_says_what_stands_where():
    batch = packing.together([[[5, 6], [7, 8, 9]], [[4]]], 0)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9], [4, 0, 0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 2], [0, 0, 0, 0, 0]]
    seen = batch["attention_mask"][:, 0].int().tolist()
    assert seen[0] == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0],
                       [0, 0, 1, 1, 1]]
    assert seen[1][0] == [1, 0, 0, 0, 0] and seen[1][2] == [0, 1, 1, 0, 0]
    added = packing.together([[[5], [6]]], 0, additive=torch.bfloat16)["attention_mask"]
    assert added.dtype == torch.bfloat16 and added[0, 0, 1, 1] == 0
    assert added[0, 0, 1, 0] == torch.finfo(torch.bfloat16).min


# What is refused


def fitted(loaded, rows, folder, **changes):
    values = dict(params=PARAMS, seed=1, metric="perplexity", folder=folder, extra=EXTRA,
                  training={"epochs": 1, "packing": True})
    return fit(loaded, rows[:32], rows[160:176], **{**values, **changes})


def test_fit_packs_if_it_is_told_to(loaded, rows, tmp_path, monkeypatch):
    seen, real = [], packing.together
    monkeypatch.setattr(packing, "together", lambda *given, **more: seen.append(
        max(sum(map(len, s)) for s in given[0])) or real(*given, **more))
    done = fitted(loaded, rows, tmp_path / "packed")
    assert len(seen) == 1 + done.trained.steps and max(seen) <= LENGTH  # one to look at the base
    assert done.recipe["training"]["packing"] is True
    seen.clear()
    fitted(loaded, rows, tmp_path / "plain", training={"epochs": 1, "packing": False})
    assert seen == []


def test_an_attention_without_masks_and_a_short_window_are_refused(loaded, rows, tmp_path):
    flash = replace(loaded, spec=replace(loaded.spec, attention="flash_attention_2"))
    with pytest.raises(ModelError, match="flash_attention_2, which takes no mask .*=sdpa"):
        fitted(flash, rows, tmp_path / "flash")
    loaded.model.config.sliding_window = 16
    try:
        with pytest.raises(ModelError, match="looks back 16 tokens .*model.max_length=16"):
            fitted(loaded, rows, tmp_path / "window")
    finally:
        del loaded.model.config.sliding_window
    assert loaded.attachment is None


def test_a_row_that_is_longer_than_a_sequence_is_named(loaded, rows):
    longest = int(rows["input_ids"].str.len().idxmax())
    with pytest.raises(ModelError, match=f"row 'row-{longest}' has .* expected at most 20"):
        Answers(loaded.model, rows[longest:longest + 2], rows[:2], 20)


def test_labels_are_not_packed(shared_base, train_rows, validation_rows, tmp_path):
    with pytest.raises(ModelError, match="packing is asked for .*classification"):
        fit(shared_base, train_rows, validation_rows, params=PARAMS, seed=1, metric="accuracy",
            training={"epochs": 1, "packing": True}, folder=tmp_path / "labels")
    assert shared_base.attachment is None
