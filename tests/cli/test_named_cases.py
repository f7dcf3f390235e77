"""Words that mean nothing are answered with what there is; pages agree; a plan for elsewhere."""

import json
import re
import subprocess

import pytest

from ftzard.registry import lineage
from ftzard.versioning import publish
from tests.tracking.stores import registered

NAME = "FalconSentiAnalysis"


@pytest.fixture
def store(workspace):
    registered(workspace, NAME, versions=2, champion=1)
    return workspace


def test_a_role_with_a_version_is_told_what_a_role_is(store, ftzard):
    for which, words in (
            ("champion@9", ["'champion@9' names no model: 'champion' means the version that has "
                            f"this role, now {NAME}@1, and takes no version.",
                            f"{NAME} has no version 9; it has 1, 2.",
                            f"Name 'champion', or a version by its model's name, as {NAME}@2."]),
            ("champion@2", [f"or that version by its model's name: {NAME}@2."]),
            ("previous@1", ["now none, and takes no version."]),
            ("base@1", ["'base' means the bare base, and takes no version."])):
        code, said = ftzard("models", "show", which, "-w", store.root)
        assert code == 1 and all(word in said for word in words), said
        assert "no model named" not in said and "no model 'champion'" not in said


def test_lineage_takes_roles_and_refuses_a_role_with_a_version(rounds, ftzard):
    code, said = ftzard("lineage", "champion@9", "-w", rounds.root)
    assert code == 1 and "'champion' means the version that has this role" in said
    assert "has no version 9; it has 1, 2." in said
    assert ftzard("lineage", "champion", "-w", rounds.root) == ftzard(
        "lineage", "-w", rounds.root)
    code, said = ftzard("lineage", "challenger", "-w", rounds.root)
    assert code == 1 and "has no challenger with a record" in said


def test_an_unknown_artifact_is_answered_with_what_there_is(rounds, ftzard):
    code, said = ftzard("history", "nosuch", "-w", rounds.root)
    assert code == 1 and said.startswith("✗ there is no artifact 'nosuch'. There are versions of ")
    assert {"cleaned", "tokenized", "delivery", "adapter"} <= set(re.findall(r"\w+", said))
    assert not re.search("[0-9a-f]{12}", said) and len(said) < 300
    code, said = ftzard("history", "clened", "-w", rounds.root)
    assert code == 1 and "did you mean 'cleaned'?" in said


class TestAnotherRemote:
    """What was sent to another remote than today's was not sent, and every page says so."""

    def pages(self, place, ftzard) -> tuple[int, int, bool]:
        said = ftzard("status", "--json", "-w", place.root)[1]
        state = json.loads(said)
        assert "error" not in state, said
        versions = json.loads(ftzard("history", "--json", "-w", place.root)[1])
        local = {v["commit"] for v in versions if not v["pushed"]}
        listed = {c["commit"] for c in state["commits_not_pushed"]}
        assert local <= listed, "history and status agree"
        said = ftzard("status", "-w", place.root)[1]
        count = re.search(r"not pushed: (\d+) commit", said)[1]
        assert int(count) == len(listed)
        fine = "every commit" in " ".join(
            line for line in ftzard("doctor", "-w", place.root)[1].splitlines() if "pushed" in line)
        return len(local), len(listed), fine

    @pytest.fixture
    def place(self, rounds, tmp_path):
        copy = rounds.copy(tmp_path)
        for queue in copy.workspace.labelling.glob("*.csv"):
            queue.unlink()  # its rows, and those of the table, are none that status could count
        return copy

    def test_of_dvc(self, place, ftzard, tmp_path):
        assert self.pages(place, ftzard) == (0, 0, True)
        config = place.root / ".dvc" / "config"
        (tmp_path / "elsewhere").mkdir()
        config.write_text(config.read_text().replace(
            next(line for line in config.read_text().splitlines() if "url" in line),
            f"    url = {tmp_path / 'elsewhere'}"))
        local, listed, fine = self.pages(place, ftzard)
        assert local and listed and not fine
        said = ftzard("status", "-w", place.root)[1]
        assert f"the DVC remote is {tmp_path / 'elsewhere'}, and the last push went to" in said
        assert publish.push(place.root, lambda line: None) == ("pushed", None)
        assert self.pages(place, ftzard) == (0, 0, True)
        assert any((tmp_path / "elsewhere").rglob("*"))

    def test_of_git(self, place, ftzard, tmp_path):
        subprocess.run(["git", "init", "-q", "--bare", tmp_path / "other.git"], check=True)
        place.git("remote", "set-url", "origin", str(tmp_path / "other.git"))
        commits = len(place.git("rev-list", "HEAD").split())
        local, listed, fine = self.pages(place, ftzard)
        assert listed == commits and local and not fine
        assert "the git remote is" in ftzard("status", "-w", place.root)[1]
        assert publish.push(place.root, lambda line: None) == ("pushed", None)
        assert self.pages(place, ftzard) == (0, 0, True)
        assert len(subprocess.run(["git", "rev-list", "--all"], cwd=tmp_path / "other.git",
                                  text=True, capture_output=True, check=True).stdout.split()
                   ) == commits


def test_a_push_file_that_says_nothing_is_named_with_its_remedy(workspace, ftzard):
    (workspace.state / "push.json").write_text("[")
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 1 and "push.json does not say what was pushed" in said and "remove it" in said


class TestPlanElsewhere:
    @pytest.fixture
    def ready(self, workspace):
        from tests.orchestration.texts import easy_texts

        easy_texts(200, seed=1).to_csv(workspace.root / "mine.csv", index=False)
        (workspace.root / "ftzard.yaml").write_text(json.dumps({
            "data": {"source": "mine.csv", "text_column": "tweet", "label_column": "mood"}}))
        return workspace

    def test_what_does_not_fit_ends_with_1_and_what_fits_with_0(self, ready, ftzard):
        asked = ("plan", "training_pipeline_job", "-w", ready.root)
        code, said = ftzard(*asked, "--gpu", "24GB")
        assert code == 0 and "fits      yes: 24,064 MB are free on a GPU of 24 GB" in said
        assert "assumed   a GPU of 24 GB with nothing else on it; 512 MB are CUDA's own" in said
        code, said = ftzard(*asked, "--gpu", "520MB")
        assert code == 1 and "fits      NO: 8 MB are free on a GPU of 520 MB" in said
        code, said = ftzard(*asked, "--ram", "1GB", "--json")
        told = json.loads(said)
        assert told["fits"] is (code == 0) and told["device"]["kind"] == "cpu"
        assert told["device"]["total_mb"] == 1024
        seconds = {}
        for cpus in (2, 8):
            told = json.loads(ftzard(*asked, "--ram", "64GB", "--cpus", cpus, "--json")[1])
            seconds[cpus] = told["seconds"]
            assert any(f"computes with {cpus} threads" in line for line in told["assumptions"])
        assert seconds[2] == pytest.approx(4 * seconds[8])

    @pytest.mark.parametrize(("options", "words"), [
        (["--gpu", "much"], "--gpu is 'much'; expected a size such as 24GB or 24576MB."),
        (["--ram", "0GB"], "--ram is '0GB'; expected a size"),
        (["--gpu", "24GB", "--ram", "64GB"], "--ram has no effect beside --gpu"),
        (["--gpu", "24GB", "--cpus", "8"], "--cpus has no effect beside --gpu"),
        (["--cpus", "0"], "--cpus is 0; expected at least 1.")])
    def test_what_is_no_machine_is_refused(self, ready, ftzard, options, words):
        code, said = ftzard("plan", "training_pipeline_job", *options, "-w", ready.root)
        assert code == 1 and words in said


def test_history_asks_git_again_only_after_a_change(rounds, tmp_path, monkeypatch):
    place = rounds.copy(tmp_path)
    first = lineage.history(place.workspace)
    monkeypatch.setattr(lineage, "_trained", lambda workspace: pytest.fail("worked out again"))
    assert lineage.history(place.workspace) == first
    monkeypatch.undo()
    place.git("commit", "-q", "--allow-empty", "-m", "Something")
    asked = []
    trained = lineage._trained
    monkeypatch.setattr(lineage, "_trained", lambda w: asked.append(w) or trained(w))
    assert lineage.history(place.workspace) == first and asked
