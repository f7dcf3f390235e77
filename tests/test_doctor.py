"""The doctor: a whole workspace is well, each thing that breaks is named, and mended if that loses
nothing. Looking changes no byte."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from ftzard import doctor
from ftzard.core.artifacts import ArtifactRef, sha256, write_atomically
from ftzard.doctor import (
    OK,
    WARNING,
    WRONG,
    leftovers,
    machine,
    records,
    registered,
    versioned,
)
from ftzard.orchestration.create_workspace import config_for, create
from ftzard.tracking import registry, runs
from ftzard.tracking.workspace_store import connect
from ftzard.versioning.commit import version
from ftzard.workspace.workspace import Workspace

pytestmark = pytest.mark.slow

NAME = "FalconSentiAnalysis"


def git(place: Workspace, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=place.root, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    return ended.pid


def add_version(place: Workspace, tracking: runs.Tracking, *, promoted: bool, ended: bool = True
                ) -> registry.Version:
    """Register a version with its adapter and its record, as step 4 does; returns it."""
    parent = runs.top_level(tracking, "CHOOSE_BEST_MODEL", place.state / "mlflow.lock")
    run = runs.start_child(tracking, parent, {})
    made = tracking.client.create_model_version(NAME, source=f"runs:/{run.id}/model",
                                                run_id=run.id)
    found = registry.version(tracking, NAME, int(made.version))
    folder = place.root / "models" / NAME
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{found.number}.zip", "w") as archive:
        archive.writestr("adapter.safetensors", f"weights {found.number}")
    (folder / f"{found.number}.yaml").write_text(yaml.safe_dump({
        "model": NAME, "version": found.number, "mlflow_run": run.id,
        "created": f"2026-01-0{found.number}T00:00:00+00:00", "verdict": {"promoted": promoted}}))
    if ended:
        run.end()
        registry.move(tracking, NAME, **{"champion" if promoted else "challenger": found})
        commit(place, f"models/{NAME}/{found.number}.zip",
               also=[folder / f"{found.number}.yaml"], push=True)
    return found


def commit(place: Workspace, path: str, also=(), push: bool = False) -> None:
    handle = ArtifactRef("artifact", path, sha256(place.root / path), None, Path(path).suffix[1:])
    version(place.root, [handle], also=also, message=f"Write {path}", run_id="run-1", push=push,
            say=lambda text: None)


@pytest.fixture(scope="module")
def tended(tmp_path_factory) -> Path:
    """A neighbourhood that is well: workspace and remotes, one artifact, one champion."""
    home = tmp_path_factory.mktemp("tended")
    place = create(home / "ws", config={"paths": {"min_free_mb": 1}}, invent_identity=True,
                   git_remote=home / "git", dvc_remote=home / "dvc")
    git(place, "remote", "set-url", "origin", "../git")
    config = place.root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(home / "dvc"), "../../dvc"))
    git(place, "commit", "--quiet", "-m", "Relative remotes\n\nFTzard-Run: init", "-a")
    write_atomically(place.root / "data/cleaned/cleaned.parquet",
                     lambda part: part.write_text("the first rows"))
    commit(place, "data/cleaned/cleaned.parquet", push=True)
    tracking = connect(place, place.config())
    tracking.client.create_registered_model(NAME)
    add_version(place, tracking, promoted=True)
    return home


@pytest.fixture
def place(tended, tmp_path) -> Workspace:
    return Workspace(Path(shutil.copytree(tended, tmp_path / "home", symlinks=True)) / "ws")


def states(found: list[doctor.Finding]) -> list[str]:
    return [finding.state for finding in found]


def only(found: list[doctor.Finding], state: str) -> doctor.Finding:
    finding, = (f for f in found if f.state != OK)
    assert finding.state == state and (finding.command or finding.mend), finding
    return finding


def mended(check, place: Workspace, state: str) -> str:
    """Let the check's one finding be mended and the check be content; return what was said."""
    said: list[str] = []
    finding = only(check(place), state)
    assert finding.mend is not None, finding
    assert doctor.mend(place, [finding], said.append) == 1, said
    assert states(check(place)) == [OK], check(place)
    return f"{finding.sentence} {' '.join(said)}"


def every_byte(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*"))
            if p.is_file()}


class TestWhole:
    def test_a_workspace_that_is_well_has_a_line_per_area_and_no_byte_is_changed(self, place,
                                                                                 ftzard):
        before = every_byte(place.root.parent)
        code, said = ftzard("doctor", "-w", place.root)
        assert code == 0, said
        assert every_byte(place.root.parent) == before
        lines = [line for line in said.splitlines() if not line.lstrip().startswith("→")]
        assert [line[:1] for line in lines] == ["✓"] * len(lines), said
        assert all(any(line[2:].startswith(area) for line in lines) for area, _ in doctor.CHECKS)

    def test_a_folder_that_is_no_workspace_is_refused(self, tmp_path, ftzard):
        code, said = ftzard("doctor", "-w", tmp_path)
        assert code == 1 and "is no workspace" in said

    def test_everything_broken_at_once_is_described_and_does_not_crash(self, place, ftzard):
        (place.root / "ftzard.yaml").write_bytes(b"\xff\xfe not yaml: [")
        shutil.rmtree(place.root / ".git")
        (place.state / "mlflow.db").write_text("no database\n" * 200)
        (place.root / ".dvc" / "config").unlink()
        (place.dagster_home / "dagster.yaml").write_text("a: [")
        (place.root / "models" / NAME / "1.yaml").write_text("{")
        (place.notebooks / "Step1_Data_Cleaning.ipynb").write_text("{}")
        code, said = ftzard("doctor", "--json", "-w", place.root)
        found = json.loads(said)["findings"]
        wrong = {f["area"]: f["sentence"] for f in found if f["state"] == WRONG}
        assert code == 1
        assert {"config", "git", "MLflow", "DVC", "Dagster", "models", "notebooks"} <= set(wrong)
        assert not any("could not be looked at" in sentence for sentence in wrong.values())
        assert "mlflow.db" in wrong["MLflow"] and "is not a git repository" in wrong["git"]

    def test_a_check_that_fails_is_a_finding(self, place, monkeypatch):
        def broken(place):
            raise RuntimeError("nobody has foreseen this")

        monkeypatch.setattr(doctor, "CHECKS", (("git", broken), ("locks", leftovers.locks)))
        first, second = doctor.examine(place)
        assert first.state == WRONG and "RuntimeError: nobody has foreseen this" in first.sentence
        assert second.state == OK

    def test_fix_finishes_what_a_killed_run_had_begun_and_sends_it(self, place, ftzard):
        """Killed between DVC and git, with a run open: committed, closed, pushed, well."""
        write_atomically(place.root / "data/cleaned/cleaned.parquet",
                         lambda part: part.write_text("the second rows"))
        subprocess.run([str(Path(sys.executable).parent / "dvc"), "add", "--quiet",
                        "data/cleaned/cleaned.parquet"], cwd=place.root, check=True)
        tracking = connect(place, place.config())
        run = runs.start_child(tracking, runs.top_level(
            tracking, "DATA_CLEANING", place.state / "mlflow.lock"), {})
        run.tags({runs.PID: dead_pid()})
        (place.root / "data/cleaned/.cleaned.parquet.x1.part").write_text("half")
        before = git(place, "rev-parse", "HEAD")
        assert ftzard("doctor", "-w", place.root)[0] == 1
        assert git(place, "rev-parse", "HEAD") == before
        code, said = ftzard("doctor", "--fix", "-w", place.root)
        assert code == 0, said
        assert said.count("mended ") == 4, said
        assert git(place, "rev-list", "--count", f"{before}..HEAD") == "1"
        assert git(place, "status", "--porcelain") == ""
        assert git(place, "ls-remote", "origin", "main").split()[0] == git(place, "rev-parse",
                                                                           "HEAD")
        assert runs.status(run) == "KILLED"

    def test_nothing_is_mended_while_a_run_works(self, place, ftzard):
        part = place.root / "data/cleaned/.cleaned.parquet.x1.part"
        part.write_text("being written")
        with leftovers_lock(place):
            (place.state / "mlflow.lock").write_text('{"pid": 1}')
            code, said = ftzard("doctor", "--fix", "-w", place.root)
            assert code == 0 and "nothing is mended while a run works here" in said
        assert part.exists()


def leftovers_lock(place: Workspace):
    from ftzard.core.locks import locked

    return locked(place.state / "run.lock", {"pid": os.getpid(), "run_id": "r1"})


class TestFiles:
    def test_half_written_files_and_folders_are_removed(self, place):
        left = [place.root / "data/cleaned/.cleaned.parquet.ab.part",
                place.state / ".mlflow.db.ab.part", place.root / "models" / NAME / ".1.zip.x.part"]
        folders = [place.root / "data/.ftzard-push/abc", place.cache / ".unpack.xy",
                   place.cache / ".adapter.xy/new"]
        for path in left:
            path.write_text("half")
        for folder in folders:
            folder.mkdir(parents=True)
        (place.cache / "adapter").mkdir()
        said: list[str] = []
        assert doctor.mend(place, leftovers.half_written(place), said.append) == 2, said
        assert not any(path.exists() for path in (*left, *folders))
        assert (place.cache / "adapter").is_dir()
        assert states(leftovers.half_written(place)) == [OK]

    def test_a_folder_that_was_taken_away_and_not_replaced_comes_back(self, place):
        old = place.cache / ".adapter.xy/old"
        old.mkdir(parents=True)
        (old / "weights").write_text("the last ones")
        assert "adapter" in mended(leftovers.half_written, place, WRONG)
        assert (place.cache / "adapter/weights").read_text() == "the last ones"

    def test_locks_of_the_dead_are_named_and_emptied_those_of_the_living_stay(self, place):
        (place.state / "git_dvc.lock").write_text(f"process {dead_pid()} (run x)")
        assert "git_dvc.lock" in mended(leftovers.locks, place, WARNING)
        with leftovers_lock(place):
            finding, = leftovers.locks(place)
            assert finding.state == OK and "a run works here" in finding.sentence

    @pytest.mark.parametrize("text", ["", '{"write": {"/x": {"pid": %d, "cmd": "dvc add"}}}'])
    def test_dvc_s_list_of_locks_left_by_the_dead_is_removed(self, place, text):
        rwlock = place.root / ".dvc/tmp/rwlock"
        rwlock.write_text(text % dead_pid() if text else text)
        mended(leftovers.locks, place, WARNING if text else WRONG)
        assert not rwlock.exists()

    def test_a_worktree_that_nobody_works_in_is_removed(self, place):
        tree = place.state / "worktrees" / "one"
        git(place, "worktree", "add", "--quiet", "--detach", str(tree))
        assert "one" in mended(leftovers.worktrees, place, WARNING)
        assert not tree.exists() and "worktrees" not in git(place, "worktree", "list")


class TestGit:
    def test_without_a_repository_an_identity_or_a_branch(self, place):
        git(place, "switch", "--quiet", "--detach")
        git(place, "config", "--unset", "user.name")
        first, second = versioned.repository(place)
        assert (first.state, second.state) == (WRONG, WARNING)
        assert "user.name" in first.command and "detached" in second.sentence
        shutil.rmtree(place.root / ".git")
        assert "not a git repository" in only(versioned.repository(place), WRONG).sentence

    @pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
    def test_a_lock_of_a_killed_git_is_removed(self, place, lock):
        (place.root / ".git" / lock).touch()
        assert lock in mended(versioned.repository, place, WRONG)
        assert not (place.root / ".git" / lock).exists()

    def test_a_lock_of_a_living_git_stays(self, place):
        with subprocess.Popen(["git", "cat-file", "--batch"], cwd=place.root,
                              stdin=subprocess.PIPE) as process:
            (place.root / ".git/index.lock").touch()
            finding, = versioned.repository(place)
            assert finding.state == OK and finding.mend is None
            process.stdin.close()

    def test_a_merge_in_progress_is_the_user_s(self, place):
        (place.root / ".git/MERGE_HEAD").write_text(git(place, "rev-parse", "HEAD") + "\n")
        finding = only(versioned.repository(place), WARNING)
        assert "a merge of yours" in finding.sentence and finding.mend is None

    def test_remotes_that_are_away_are_named_with_the_reason(self, place):
        for folder in ("git", "dvc"):
            (place.root.parent / folder).rename(place.root.parent / f"{folder}-away")
        assert "was not found" in only(versioned.git_remote(place), WRONG).sentence
        finding = only(versioned.dvc(place), WRONG)
        assert "does not exist" in finding.sentence and "mkdir" in finding.command

    def test_a_remote_that_does_not_answer_is_not_waited_for(self, place, monkeypatch):
        monkeypatch.setattr(versioned, "NETWORK_S", 0.5)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            port = silent.getsockname()[1]
            git(place, "remote", "set-url", "origin", f"git://127.0.0.1:{port}/x")
            assert "timed out" in only(versioned.git_remote(place), WRONG).sentence

    def test_commits_of_the_user_s_own_are_counted_and_not_sent(self, place):
        git(place, "commit", "--quiet", "--allow-empty", "-m", "Mine")
        finding = only(versioned.unpushed(place), WARNING)
        assert finding.sentence.startswith("1 commit only here, 1 of them your own")
        assert finding.mend is None and "ftzard push" in finding.command


class TestData:
    ROWS = "data/cleaned/cleaned.parquet"

    def cached(self, place: Workspace) -> Path:
        md5 = yaml.safe_load((place.root / f"{self.ROWS}.dvc").read_text())["outs"][0]["md5"]
        return place.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]

    def test_an_artifact_that_is_gone_comes_back_from_the_cache(self, place):
        (place.root / self.ROWS).unlink()
        assert "not in the workspace" in mended(versioned.data, place, WRONG)
        assert (place.root / self.ROWS).read_text() == "the first rows"

    def test_a_cache_that_lost_or_tore_an_artifact_gets_it_again(self, place):
        cached = self.cached(place)
        cached.chmod(0o644)
        cached.write_text("torn")
        mended(versioned.data, place, WRONG)
        assert cached.read_text() == "the first rows"
        assert git(place, "status", "--porcelain") == ""

    def test_what_neither_has_is_to_be_pulled(self, place):
        self.cached(place).unlink()
        (place.root / self.ROWS).unlink()
        finding = only(versioned.data(place), WRONG)
        assert finding.command == f"dvc pull {self.ROWS}.dvc" and finding.mend is None

    def test_a_changed_artifact_is_the_user_s_to_decide(self, place):
        (place.root / self.ROWS).write_text("other rows, of the same length or not")
        finding = only(versioned.data(place), WARNING)
        assert "changed since its version" in finding.sentence and finding.mend is None

    def test_a_torn_dvc_file_comes_back_a_conflict_does_not(self, place):
        pointer = place.root / f"{self.ROWS}.dvc"
        whole = pointer.read_text()
        pointer.write_text("outs:\n- md5: ab")
        pointer.write_text("outs:\n")
        mended(versioned.data, place, WRONG)
        assert pointer.read_text() == whole
        pointer.write_text("<<<<<<< HEAD\nouts:\n")
        assert only(versioned.data(place), WRONG).mend is None

    def test_a_record_that_was_not_committed_is_committed_with_its_adapter(self, place):
        add_version(place, connect(place, place.config()), promoted=False, ended=False)
        said = mended(versioned.uncommitted, place, WRONG)
        assert f"models/{NAME}/2.yaml" in said
        assert git(place, "ls-files", "models").splitlines() == [
            "models/.gitignore", f"models/{NAME}/1.yaml", f"models/{NAME}/1.zip.dvc",
            f"models/{NAME}/2.yaml", f"models/{NAME}/2.zip.dvc"]
        assert "FTzard-Run: doctor" in git(place, "log", "-1", "--format=%B")

    def test_own_code_in_no_commit_is_named_and_outputs_are_no_code(self, place):
        assert states(versioned.code(place)) == [OK]
        notebook = place.notebooks / "Step1_Data_Cleaning.ipynb"
        told = json.loads(notebook.read_text())
        cell = next(c for c in told["cells"] if c["cell_type"] == "code")
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["ran"]}]
        notebook.write_text(json.dumps(told))
        assert states(versioned.code(place)) == [OK]
        cell["source"] = [*cell["source"], "\n# mine"]
        notebook.write_text(json.dumps(told))
        (place.root / "custom").mkdir()
        (place.root / "custom" / "texts.py").write_text("x = 1\n")
        (place.notebooks / "Step6_Sampling.ipynb").unlink()
        changed, gone = versioned.code(place)
        assert {changed.state, gone.state} == {WARNING}
        assert "notebooks/Step1_Data_Cleaning.ipynb" in changed.sentence
        assert "custom/texts.py" in changed.command and "Step6_Sampling" in gone.sentence

    def test_files_of_the_user_s_own_are_left_alone(self, place):
        (place.root / "notes.txt").write_text("mine")
        (place.root / "ftzard.yaml").write_text("seed: 3\n")
        assert states(versioned.uncommitted(place)) == [OK]


class TestMlflow:
    def test_before_the_first_run_there_is_no_store_and_looking_makes_none(self, workspace):
        for check in (records.store, records.open_runs, registered.models, records.dagster):
            assert WRONG not in states(check(workspace))
        assert not (workspace.state / "mlflow.db").exists()

    def test_a_store_of_another_version_is_named(self, place):
        with sqlite3.connect(place.state / "mlflow.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
        finding = only(records.store(place), WRONG)
        assert "another version of MLflow" in finding.sentence and finding.mend is None

    def test_a_store_that_was_cut_off_at_its_making_is_set_aside(self, place):
        file = place.state / "mlflow.db"
        file.unlink()
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE experiments (name TEXT)")
        assert "no complete tables" in mended(records.store, place, WRONG)
        assert list(place.state.glob("mlflow.db.broken-*")) and not file.exists()

    def test_a_locked_store_is_said_within_seconds(self, place):
        with sqlite3.connect(place.state / "mlflow.db", isolation_level=None) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            assert "has been locked" in only(records.store(place), WRONG).sentence
            connection.execute("ROLLBACK")

    def test_a_server_that_does_not_answer_is_named(self, place):
        (place.root / "ftzard.yaml").write_text("tracking: {uri: 'http://127.0.0.1:9'}\n")
        finding = only(records.store(place), WRONG)
        assert "nothing answers at 127.0.0.1:9" in finding.sentence

    def test_runs_of_another_machine_are_named_and_left(self, place):
        tracking = connect(place, place.config())
        run = runs.start_child(tracking, runs.top_level(
            tracking, "DATA_CLEANING", place.state / "mlflow.lock"), {})
        run.tags({runs.HOST: "the-other-one", runs.PID: dead_pid()})
        finding = only(records.open_runs(place), WARNING)
        assert "the-other-one" in finding.sentence and finding.mend is None


class TestDagster:
    def test_settings_that_are_gone_are_written_as_they_were(self, place):
        file = place.dagster_home / "dagster.yaml"
        before = file.read_text()
        file.unlink()
        mended(records.dagster, place, WRONG)
        assert file.read_text() == before

    @pytest.fixture
    def started(self, place):
        """A run that Dagster believes to be at work, and the pid and host of its worker."""

        def start(pid: int | None, host: str) -> str:
            run = DagsterRun(job_name="cleaning_job", status=DagsterRunStatus.STARTED)
            with DagsterInstance.from_config(str(place.dagster_home)) as instance:
                instance.add_run(run)
            folder = place.run_folder(run.run_id)
            folder.mkdir(parents=True)
            if pid is not None:
                (folder / "worker.json").write_text(json.dumps({"pid": pid, "host": host}))
            return run.run_id

        return start

    def test_a_run_whose_worker_is_gone_is_named_and_closed(self, place, started):
        run_id = started(dead_pid(), socket.gethostname())
        said = mended(records.dagster, place, WRONG)
        assert f"cleaning_job {run_id[:8]}" in said
        with DagsterInstance.from_config(str(place.dagster_home)) as instance:
            assert instance.get_run_by_id(run_id).is_finished

    def test_a_run_that_nobody_took_up_is_closed_once_it_had_the_time(self, place, started):
        started(None, "")
        assert states(records.dagster(place)) == [OK]
        with sqlite3.connect(place.dagster_home / "history" / "runs.db") as connection:
            connection.execute("UPDATE runs SET create_timestamp = '2026-01-01 00:00:00', "
                               "update_timestamp = '2026-01-01 00:00:00'")
        mended(records.dagster, place, WRONG)

    def test_a_run_at_work_here_or_on_another_machine_is_left(self, place, started):
        started(os.getpid(), socket.gethostname())
        started(dead_pid(), "the-other-one")
        assert states(records.dagster(place)) == [OK]


class TestModels:
    def test_a_half_registered_version_is_deleted_with_what_it_left(self, place):
        """Killed between the registry and the record."""
        tracking = connect(place, place.config())
        found = add_version(place, tracking, promoted=False, ended=False)
        runs.reopen(tracking, found.run_id).end("KILLED")
        (place.root / "models" / NAME / "2.yaml").unlink()
        mended(registered.models, place, WRONG)
        assert [v.number for v in registry.versions(tracking, NAME)] == [1]
        assert not (place.root / "models" / NAME / "2.zip").exists()
        assert registry.champion(tracking, NAME).number == 1

    def test_a_version_whose_run_ended_well_is_left(self, place):
        """Another clone registered it; its record comes with git."""
        tracking = connect(place, place.config())
        found = add_version(place, tracking, promoted=False, ended=False)
        runs.reopen(tracking, found.run_id).end()
        (place.root / "models" / NAME / "2.yaml").unlink()
        assert only(registered.models(place), WARNING).mend is None

    def test_a_promotion_that_was_cut_off_is_finished(self, place):
        tracking = connect(place, place.config())
        add_version(place, tracking, promoted=True, ended=False)
        mended(registered.models, place, WRONG)
        assert registry.aliases(tracking, NAME) == {"champion": 2, "previous": 1}

    def test_a_champion_that_a_person_moved_stays(self, place):
        tracking = connect(place, place.config())
        add_version(place, tracking, promoted=True)
        registry.move(tracking, NAME, champion=registry.version(tracking, NAME, 1))
        finding = only(registered.models(place), WARNING)
        assert "somebody moved it" in finding.sentence and finding.mend is None

    def test_a_promotion_by_hand_that_is_on_record_is_no_finding(self, place):
        tracking = connect(place, place.config())
        add_version(place, tracking, promoted=True)
        file = place.root / "models" / NAME / "1.yaml"
        file.write_text(file.read_text() + yaml.safe_dump(
            {"promotions": [{"time": "2026-02-01T00:00:00+00:00", "who": "Ada", "to": 1}]}))
        git(place, "commit", "--quiet", "-am", "By hand\n\nFTzard-Run: by-hand")
        mended(registered.models, place, WRONG)  # killed after the commit, before the alias moved
        assert registry.champion(tracking, NAME).number == 1

    def test_an_alias_of_a_version_that_does_not_exist_is_taken_away(self, place):
        with sqlite3.connect(place.state / "mlflow.db") as connection:
            connection.execute("INSERT INTO registered_model_aliases (name, alias, version, "
                               "workspace) SELECT name, 'challenger', 7, workspace FROM "
                               "registered_models")
        assert "'challenger'" in mended(registered.models, place, WRONG)

    def test_champion_and_challenger_at_once_is_a_move_cut_off(self, place):
        tracking = connect(place, place.config())
        tracking.client.set_registered_model_alias(NAME, "challenger", "1")
        mended(registered.models, place, WRONG)
        assert registry.aliases(tracking, NAME) == {"champion": 1}

    def test_an_adapter_that_is_not_there_is_to_be_pulled(self, place):
        (place.root / "models" / NAME / "1.zip").unlink()
        finding = only(registered.models(place), WRONG)
        assert "the champion" in finding.sentence
        assert finding.command == f"dvc pull models/{NAME}/1.zip.dvc"


class TestMachine:
    def test_a_config_that_cannot_be_read_is_named_and_the_rest_goes_on(self, place):
        (place.root / "ftzard.yaml").write_text("training: {epoch: 1}\n")
        assert "did you mean 'training.epochs'" in only(machine.config(place), WRONG).sentence
        assert doctor.settings(place).tracking.registered_model == NAME

    def test_too_little_space_is_named(self, place):
        (place.root / "ftzard.yaml").write_text("paths: {min_free_mb: 100000000}\n")
        assert "paths.min_free_mb" in only(machine.disk(place), WRONG).sentence

    def test_the_notebooks_that_were_changed_are_listed_and_that_is_well(self, place):
        path = place.notebooks / "Step6_Sampling.ipynb"
        book = json.loads(path.read_text())
        book["cells"][0]["source"] = ["# Mine"]
        path.write_text(json.dumps(book))
        finding, = machine.notebooks(place)
        assert finding.state == OK and "Step6_Sampling.ipynb" in finding.sentence

    def test_the_notebooks_of_another_task_are_held_against_its_own(self, tmp_path):
        other = create(tmp_path / "tutor", config=config_for(
            tmp_path / "tutor", task="instruction_tuning"), invent_identity=True)
        assert machine.notebooks(other)[0].sentence == "as packaged."

    def test_the_installed_packages_are_those_of_the_constraints(self, place):
        assert states(machine.packages(place)) == [OK], machine.packages(place)

    def test_versions_are_compared_as_requirements_say(self):
        lines = ["# a comment", "mlflow>=3.17", "torch==2.13.0  # why", 'pytest>=9 ; extra == "t"']
        assert machine.requirements(lines) == [("mlflow", ">=", "3.17"), ("torch", "==", "2.13.0")]
        assert machine.fits("3.17.2", ">=", "3.17") and machine.fits("4.0", ">=", "3.17")
        assert not machine.fits("3.9", ">=", "3.17") and not machine.fits("2.13.1", "==", "2.13.0")

    def test_a_model_for_a_gpu_without_one_is_a_warning_the_tiny_one_is_well(self, place,
                                                                             monkeypatch):
        def none():
            raise OSError("no driver")

        monkeypatch.setattr(machine, "graphics", none)
        assert states(machine.gpu(place)) == [OK]
        (place.root / "ftzard.yaml").write_text("model: falcon_7b\n")
        assert "falcon_7b is meant for a GPU" in only(machine.gpu(place), WARNING).sentence
