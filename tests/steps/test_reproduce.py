"""A registered model comes out the same when it is made again, from a clone of the remote alone."""

import re

import pytest
import yaml

from ftzard.steps.reproduce import ROUNDING, differences, rounding


@pytest.fixture(scope="module")
def clone(story, tmp_path_factory):
    """A clone of the workspace's remote at another path, with nothing but git and DVC."""
    place = tmp_path_factory.mktemp("elsewhere") / "clone"
    story.git("clone", "-q", str(story.remotes / "git"), str(place), at=story.remotes)
    return place


def record_of(root, name, number) -> dict:
    return yaml.safe_load((root / "models" / name / f"{number}.yaml").read_text())


@pytest.mark.jobs
def test_a_tuned_and_a_retrained_model_come_out_equal_in_a_fresh_clone(story, clone, tool):
    name = story.record.status["champion"]["name"]
    files = sorted((clone / "models" / name).glob("*.yaml"), key=lambda p: int(p.stem))
    records = [yaml.safe_load(p.read_text()) for p in files]
    edited = "notebooks/Step1_Data_Cleaning.ipynb"
    assert (clone / edited).read_bytes() == (story.root / edited).read_bytes()
    tuned = next(r for r in records if r["parent"] is None)
    retrained = next(r for r in records if r["parent"] is not None)
    assert retrained["recipe"]["replayed"]["known"]
    assert tuned["recipe"]["training"]["class_weights"] == "balanced"
    assert retrained["config"]["training"]["class_weights"] == "balanced"  # the champion's
    assert retrained["recipe"]["training"]["class_weights"] == "balanced"
    for record in (tuned, retrained):
        model = f"{name}@{record['version']}"
        done = tool("ftzard", "reproduce", model, "-w", clone, at=clone)
        assert done.returncode == 0, done.stdout
        assert f"✓ equal: {model}" in done.stdout
        assert record["recipe"]["weights_sha256"][:12] in done.stdout
        assert "packages" not in done.stdout and "code_hash" not in done.stdout
        assert record["clean"]["function"] == "texts:quiet" and "own_code" not in done.stdout
        assert {"custom/texts.py", "ftzard.yaml"} <= set(record["own_code"])
    assert story.git("status", "--porcelain", at=clone) == ""
    assert story.git("worktree", "list", at=clone).count("\n") == 0


@pytest.mark.jobs
def test_what_is_not_as_recorded_is_listed(story, clone, tool):
    name = story.record.status["champion"]["name"]
    file = clone / "models" / name / "1.yaml"
    record = record_of(clone, name, 1)
    record["recipe"]["seed"] += 1
    record["packages"]["torch"] = "1.0.0"
    record["clean"]["sha256"], record["own_code"]["custom/texts.py"] = "0" * 64, "1" * 64
    file.write_text(yaml.safe_dump(record))
    try:
        done = tool("ftzard", "reproduce", f"{name}@1", "-w", clone, at=clone)
    finally:
        story.git("checkout", "--", str(file), at=clone)
    assert done.returncode == 1
    assert f"✗ not equal: {name}@1" in done.stdout
    assert re.search(r"weights_sha256: recorded '\w+', now '\w+'", done.stdout)
    assert re.search(r"packages.torch: recorded '1.0.0', now '\S+'", done.stdout)
    assert re.search(r"clean: recorded '0{64}', now '\w{64}'", done.stdout)
    assert "own_code.custom/texts.py at" in done.stdout


@pytest.mark.jobs
def test_a_version_that_is_not_there_is_named_with_those_that_are(story, tool):
    name = story.record.status["champion"]["name"]
    done = tool("ftzard", "reproduce", f"{name}@99", "-w", story.root, at=story.root)
    assert done.returncode == 1 and f"{name}@99 has no record" in done.stdout
    assert "there are versions [1, " in done.stdout
    done = tool("ftzard", "reproduce", name, "-w", story.root, at=story.root)
    assert done.returncode == 1 and "names no version" in done.stdout


def test_differences_name_the_place_and_both_values():
    then = {"a": 1, "b": {"c": [1, 2.5]}, "only": "x"}
    assert differences(then, {"a": 1, "b": {"c": [1, 2.5]}, "only": "x"}) == []
    assert differences(then, {"a": 2, "b": {"c": [1, 2.25]}, "more": 3}) == [
        "a: recorded 1, now 2", "b.c[1]: recorded 2.5, now 2.25",
        "only: recorded 'x', now None", "more: recorded None, now 3"]


def test_only_fractions_and_weights_may_differ_by_rounding():
    then = {"seed": 1, "weights_sha256": "a", "history": [{"loss": 0.5}], "test": {"ece": 1e-5}}
    now = {"seed": 1, "weights_sha256": "b", "history": [{"loss": 0.50001}], "test": {"ece": 2e-6}}
    assert rounding(then, now) == pytest.approx(8e-4)
    assert rounding(then, {**now, "test": {"ece": 3e-5}}) is None
    assert rounding(then, {**now, "history": [{"loss": 0.5 * (1 + 2 * ROUNDING)}]}) is None
    assert rounding(then, {**now, "history": [{"loss": float("nan")}]}) is None
    for more in ({"seed": 2}, {"history": []}, {"other": 0.0}):
        assert rounding(then, {**now, **more}) is None
