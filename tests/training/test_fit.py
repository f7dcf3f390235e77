"""A fit that is cut off goes on from its last complete checkpoint, as if nothing had happened."""

import shutil
from pathlib import Path

import pytest

import ftzard
from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError
from ftzard.modeling import reproducibility
from ftzard.modeling.adapter import WEIGHTS
from ftzard.modeling.reproducibility import made_with
from ftzard.training import fit as fitting
from ftzard.training.fit import rows_digest
from tests.training_calls import fit, search

pytestmark = pytest.mark.slow

PARAMS = {"rank": 4, "alpha": 8.0, "dropout": 0.1, "learning_rate": 5e-3, "batch_size": 16,
          "weight_decay": 0.01}
EPOCHS = 3  # of ten steps each
LAST = 10 * EPOCHS


class Cut(BaseException):
    """The end of a process in the middle of training."""


@pytest.fixture
def fitted(loaded, train_rows, validation_rows, tmp_path):
    """Fit into a folder of the given name; `until`: the step at which the process ends."""

    def run(name, until=None, steps=4, **changes):
        seen = {"steps": [], "epochs": []}

        def on_step(done, total):
            seen["steps"].append(done)
            if done == until:
                raise Cut

        values = {"params": PARAMS, "seed": 3, "metric": "accuracy",
                  "training": {"epochs": EPOCHS}, "checkpoints": tmp_path / "checkpoints",
                  "checkpoint_steps": steps, **changes}
        try:
            return fit(loaded, train_rows, validation_rows, folder=tmp_path / name,
                       on_step=on_step, on_epoch=lambda e: seen["epochs"].append(e["epoch"]),
                       **values), seen
        except Cut:
            return None, seen

    return run


@pytest.fixture
def uninterrupted(fitted):
    return fitted("whole", checkpoints=None)[0]


def kept(folder):
    return sorted(p.name for p in (folder / "checkpoints").rglob("*") if p.is_file())


# In the first epoch, on a checkpoint, behind one, at the end of an epoch, in the last step.
@pytest.mark.parametrize(("until", "resumed"), [(3, 0), (8, 4), (9, 8), (11, 10), (27, 24),
                                                (30, 28)])
def test_a_fit_that_was_cut_off_gives_the_same_losses_and_the_same_weights(
    fitted, uninterrupted, until, resumed
):
    nothing, _ = fitted("first", until)
    assert nothing is None
    second, seen = fitted("second")
    assert second.trained.resumed_at == resumed
    assert seen["steps"] == list(range(resumed + 1, LAST + 1))
    assert seen["epochs"] == [1, 2, 3]  # those of the first run are told again
    assert second.recipe == uninterrupted.recipe  # every loss of its history, to the last digit
    assert len(second.recipe["history"]) == EPOCHS
    assert sha256(second.folder / WEIGHTS) == sha256(uninterrupted.folder / WEIGHTS)


def test_a_fit_may_be_cut_off_again_and_again(fitted, uninterrupted):
    for until in (5, 9, 14, 22):
        fitted("cut", until)
    last, _ = fitted("last")
    assert last.recipe == uninterrupted.recipe


def test_a_torn_checkpoint_is_passed_over_for_the_one_before(
    fitted, uninterrupted, tmp_path
):
    fitted("cut", 9)
    newest = max((tmp_path / "checkpoints").rglob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    second, _ = fitted("second")
    assert second.trained.resumed_at == 4
    assert second.recipe == uninterrupted.recipe


def test_a_checkpoint_without_its_marker_does_not_count(fitted, tmp_path):
    fitted("cut", 9)
    max((tmp_path / "checkpoints").rglob("*.json")).unlink()
    assert fitted("second")[0].trained.resumed_at == 4


def test_only_two_checkpoints_are_kept_and_none_of_a_fit_that_has_ended(fitted, tmp_path):
    fitted("cut", 29)
    assert kept(tmp_path) == ["000000024.json", "000000024.pt", "000000028.json", "000000028.pt"]
    fitted("second")
    assert [name for name in kept(tmp_path) if name.endswith(".pt")] == []


@pytest.mark.parametrize("change", [
    {"params": {**PARAMS, "learning_rate": 4e-3}}, {"seed": 4}, {"training": {"epochs": 4}},
    {"metric": "macro_f1"}, {"extra": {"cleaning": {"link": "url"}}},
])
def test_another_fit_does_not_take_a_checkpoint_that_is_not_its_own(fitted, change):
    fitted("cut", 9)
    assert fitted("other", **change)[0].trained.resumed_at == 0


@pytest.mark.parametrize("training", [{"optimizer": "adamw_8bit"}, {"micro_batch_tokens": 100},
                                      {"gradient_checkpointing": True}, {"method": "dora"}])
def test_every_way_to_train_is_gone_on_from_as_if_nothing_had_happened(fitted, training):
    training = {"epochs": 1, **training}
    whole, _ = fitted("whole", checkpoints=None, training=training)
    fitted("cut", 9, training=training)
    second, _ = fitted("second", training=training)
    assert second.trained.resumed_at == 8
    assert second.recipe == whole.recipe


@pytest.mark.parametrize("name", ["transformers", "code"])
def test_a_state_of_other_code_or_another_library_is_not_gone_on_from(fitted, monkeypatch, name):
    fitted("cut", 9)
    now = made_with()
    assert set(now) == {"torch", "transformers", "peft", "bitsandbytes", "code"}
    monkeypatch.setattr(fitting, "made_with", lambda: {**now, name: "another"})
    assert fitted("other")[0].trained.resumed_at == 0
    monkeypatch.undo()
    assert fitted("same")[0].trained.resumed_at == 8


def test_the_hash_of_the_code_follows_every_file_of_the_package(tmp_path, monkeypatch):
    one = reproducibility.made_with.__wrapped__()
    assert one == made_with()
    package = shutil.copytree(Path(ftzard.__file__).parent, tmp_path / "ftzard")
    monkeypatch.setattr(reproducibility, "__file__",
                        str(package / "modeling" / "reproducibility.py"))
    assert reproducibility.made_with.__wrapped__() == one
    for place in ("modeling/batching.py", "training/trainer.py",
                  "tasks/classification/predictor.py"):
        before = reproducibility.made_with.__wrapped__()["code"]
        with open(package / place, "a") as stream:
            stream.write("# another\n")
        assert reproducibility.made_with.__wrapped__()["code"] != before


def test_other_rows_begin_anew(fitted, loaded, train_rows, validation_rows, tmp_path):
    fitted("cut", 9)
    fewer = train_rows.iloc[1:].reset_index(drop=True)
    assert rows_digest(fewer) != rows_digest(train_rows)
    done = fit(loaded, fewer, validation_rows, params=PARAMS, seed=3, metric="accuracy",
               training={"epochs": 1}, folder=tmp_path / "other",
               checkpoints=tmp_path / "checkpoints", checkpoint_steps=4)
    assert done.trained.resumed_at == 0


def test_without_checkpoints_nothing_is_kept(fitted, tmp_path):
    fitted("cut", 9, steps=0)
    assert not (tmp_path / "checkpoints").exists()
    assert fitted("again", steps=0)[0].trained.resumed_at == 0


def test_a_search_that_was_cut_off_goes_on_in_the_trial_it_was_in(
    loaded, train_rows, validation_rows, tmp_path
):
    def run(name, cut_at=None):
        steps = []

        def on_step(done, total):
            steps.append(done)
            if len(steps) == cut_at:
                raise Cut

        found = search(
            loaded, train_rows, validation_rows, trials=3, metric="accuracy", seed=1,
            space={"rank": [2, 4], "batch_size": 16, "learning_rate": [1e-3, 1e-2],
                   "weight_decay": 0.0, "dropout": 0.0},
            training={"epochs": 2}, folder=tmp_path / name,
            checkpoints=tmp_path / f"{name}-kept", checkpoint_steps=5, on_step=on_step)
        return found, len(steps)

    expected, total = run("whole")
    assert total == 60
    with pytest.raises(Cut):
        run("cut", cut_at=33)  # in the second trial
    found, steps = run("cut")
    assert steps == 60 - 30
    assert [t.number for t in found] == [t.number for t in expected]
    assert [t.recipe for t in found] == [t.recipe for t in expected]
    assert {t.number: t.trained.resumed_at for t in found} == {0: 20, 1: 10, 2: 0}


def test_an_unknown_metric_is_named_before_anything_is_attached(fitted, loaded):
    with pytest.raises(ModelError, match="did you mean 'accuracy'"):
        fitted("other", metric="accurracy")
    assert loaded.attachment is None
