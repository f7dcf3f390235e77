"""Completion in a real bash: commands, options, jobs, models and versions, config keys."""

import os
import pty
import re
import select
import subprocess
import time

import pytest

from ftzard.cli import completion
from ftzard.config.pipeline import JOBS
from ftzard.tracking.store import make_sqlite
from tests.conftest import TOOLS
from tests.tracking.stores import registered


def asked(line: str, cwd, **environment: str) -> list[str]:
    """Return what bash offers behind a line, by the function that the script has defined."""
    script = f"""
source <(ftzard completion bash)
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}
_ftzard_complete ftzard
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=cwd, text=True, capture_output=True,
        env={**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", **environment})
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def place(template, tmp_path_factory):
    """A workspace whose store has two versions of a model."""
    import shutil
    from pathlib import Path

    from ftzard.workspace.workspace import Workspace

    workspace = Workspace(Path(shutil.copytree(
        template, tmp_path_factory.mktemp("completing") / "ws", symlinks=True)))
    make_sqlite(workspace.mlflow_uri)
    registered(workspace, "FalconSentiAnalysis", versions=2, champion=1)
    return workspace


def test_bash_completes_as_a_person_types(place):
    """An interactive bash with a terminal: a tab behind a few letters."""
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=theirs, stdout=theirs, stderr=theirs,
        cwd=place.root, start_new_session=True,
        env={**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", "PS1": "> ",
             "TERM": "dumb", "FTZARD_WORKSPACE": str(place.root)})
    os.close(theirs)
    try:
        said = ""

        def until(words: str) -> None:
            nonlocal said
            deadline = time.monotonic() + 60
            while words not in said:
                assert time.monotonic() < deadline, said
                if select.select([ours], [], [], 1)[0]:
                    said += os.read(ours, 65536).decode()

        os.write(ours, b"source <(ftzard completion bash); echo rea''dy\n")
        until("ready")
        for typed, completed in (("ftzard lin\t", "ftzard lineage "),
                                 ("ftzard run training_p\t", "training_pipeline_job "),
                                 ("ftzard models show Fal\t\t\t", "1  2"),
                                 ("ftzard plan tuning_job training.epo\t", "training.epochs=")):
            said = ""
            os.write(ours, f"\x15{typed}".encode())
            until(completed)
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def test_the_kinds_of_words(place):
    here = {"FTZARD_WORKSPACE": str(place.root)}
    for line, offered in (
            ("ftzard hi", ["history"]),
            ("ftzard models ", ["list", "show", "tag", "delete"]),
            ("ftzard run clea", ["cleaning_job"]),
            ("ftzard predict cham", ["champion"]),
            ("ftzard models show Falcon", ["FalconSentiAnalysis@1", "FalconSentiAnalysis@2"]),
            # Behind @ and = bash replaces only what follows them.
            ("ftzard models show FalconSentiAnalysis@", ["1", "2"]),
            ("ftzard promote ", ["1", "2"]),
            ("ftzard run tuning_job model=falcon_t", ["falcon_tiny", "falcon_tiny_answers"]),
            ("ftzard history clea", ["cleaned"]),
            ("ftzard ui --onl", ["--only"]), ("ftzard ui --only ml", ["mlflow"])):
        found = asked(line, place.root, **here)
        assert found[:len(offered)] == offered, (line, found)


def words(line: str) -> list[str]:
    from typer.main import get_command

    from ftzard.cli import app

    return [found.split("\t")[0] for found in completion.answer(get_command(app), line)]


def test_every_job_command_and_key_is_offered():
    assert words("ftzard run ") == list(JOBS)
    from ftzard.cli.start import COMMANDS

    assert words("ftzard ") == list(COMMANDS)
    keys = words("ftzard config ")
    assert {"training.epochs=", "data.source=", "model.build.layers=", "seed=",
            "gate.min_rows="} <= set(keys)


def test_what_is_typed_before_is_understood():
    assert words("ftzard run -w /tmp training_pi") == ["training_pipeline_job"]
    assert words("ftzard run --workspace=/tmp tuning_job threads") == ["threads="]
    assert words("ftzard run tuning_job -- --") == []
    assert words("ftzard predict 'a text") == []
    assert words("ftzard nothing ") == [] and words("ftzard export champion ") == []


def test_a_workspace_that_cannot_be_read_offers_the_roles_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(tmp_path))
    assert words("ftzard models show c") == ["champion", "challenger"]
    (tmp_path / "ftzard.yaml").write_text("[")
    assert words("ftzard models show c") == ["champion", "challenger"]


def test_an_unknown_shell_names_those_there_are(ftzard):
    code, said = ftzard("completion", "fsh")
    assert code == 1 and "there is no completion for 'fsh'; did you mean 'fish'?" in said
    for shell in completion.SCRIPTS:
        code, said = ftzard("completion", shell)
        assert code == 0 and completion.LINE in said and re.search(r"\bftzard\b", said)
