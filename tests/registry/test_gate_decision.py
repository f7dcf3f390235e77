"""`ftzard gate`: the decision on record, its exit code, and the workflow that asks for it."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ftzard.orchestration import ci_workflow
from ftzard.registry import gate_decision, model_records
from tests.hostile import HOSTILE, markdown_is_safe
from tests.trained import trained  # noqa: F401 - the fixture

TOOL = Path(sys.executable).parent / "ftzard"


@pytest.fixture
def decided(workspace):
    """Write a record with a decision; the numbers are those of a gate that saw 400 rows."""
    def write(decision: str, number: int = 2, reasons=("It is so.",), **entries) -> None:
        name = workspace.config().tracking.registered_model
        path = workspace.root / "models" / name / f"{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        verdict = {"decision": decision, "promoted": decision == "promote",
                   "reasons": list(reasons), "warnings": [], "against": "champion",
                   "challenger_accuracy": 0.81, "champion_accuracy": 0.78, "difference": 0.03,
                   "lower": 0.004, "upper": 0.056, "n": 400, "discordant": 40, "mcnemar_p": 0.02,
                   "rows_needed": 900 if decision == "cannot tell" else None,
                   "limits": {"trial": False}}
        path.write_text(yaml.safe_dump({
            "model": name, "version": number, "challenged": 1,
            **({"verdict": verdict} if decision else {}), **entries}))

    return write


@pytest.mark.parametrize(("decision", "code"), [
    ("promote", 0), ("refuse", 10), ("no champion yet", 10), ("cannot tell", 20)])
def test_the_decision_on_record_is_returned_with_its_exit_code(decided, workspace, ftzard,
                                                               decision, code):
    decided("promote", 1)
    decided(decision)
    ended, said = ftzard("gate", "-w", workspace.root)
    assert ended == code and f"@2: {decision}" in said and "It is so." in said
    ended, said = ftzard("gate", "--json", "-w", workspace.root)
    told = json.loads(said)
    assert ended == told["exit_code"] == code and told["decision"] == decision
    assert (told["version"], told["champion"], told["measure"]) == (2, 1, "accuracy")
    ended, said = ftzard("gate", "--markdown", "-w", workspace.root)
    assert ended == code and "version 2: " in said
    assert "| version 2 | 81.0 % |" in said and "| champion, version 1 | 78.0 % |" in said
    assert "+3.0 points (+0.4 to +5.6)" in said and ("900" in said) == (decision == "cannot tell")


def test_nothing_to_decide_is_an_error_and_a_deleted_version_is_passed_over(
        decided, workspace, ftzard):
    ended, said = ftzard("gate", "-w", workspace.root)
    assert ended == 1 and "there is nothing to decide" in said
    decided("promote", 1)
    decided("refuse", 2, deleted={"time": "2026-01-01"})
    assert ftzard("gate", "-w", workspace.root)[0] == 0
    ended, said = ftzard("gate", "--json", "--markdown", "-w", workspace.root)
    assert ended == 1 and "exclude each other" in said


def test_a_version_without_a_decision_gets_one_from_the_evaluation(
        decided, workspace, ftzard, monkeypatch):
    decided("promote", 1)
    decided("", 2)
    from ftzard import api

    asked = []

    def run(self, job, **_):
        asked.append(job)
        decided("refuse", 2)

    monkeypatch.setattr(api.Workspace, "run", run)
    assert ftzard("gate", "-w", workspace.root)[0] == 10 and asked == ["evaluation_job"]
    assert ftzard("gate", "-w", workspace.root)[0] == 10 and len(asked) == 1


def test_on_a_trained_workspace_it_says_what_the_record_says(trained, ftzard):  # noqa: F811
    name, number, record = gate_decision.newest(trained)
    assert record["version"] == model_records.last_number(trained, name) == number
    ended, said = ftzard("gate", "--json", "-w", trained.root)
    assert json.loads(said)["verdict"] == json.loads(json.dumps(record["verdict"]))
    assert ended == gate_decision.EXIT_CODES[record["verdict"]["decision"]]


def test_reasons_are_text_in_markdown(decided, workspace, ftzard):
    decided("refuse", reasons=list(HOSTILE.values()))
    markdown_is_safe(ftzard("gate", "--markdown", "-w", workspace.root)[1])


class TestWorkflow:
    @pytest.fixture
    def runner(self, decided, workspace, tmp_path):
        """The steps of the workflow, run as a runner does; training and GitHub are recorded."""
        steps = yaml.safe_load(ci_workflow.text())["jobs"]["round"]["steps"]
        scripts = {step.get("id") or step["name"]: step["run"] for step in steps if "run" in step}
        bin = tmp_path / "bin"
        bin.mkdir()
        calls = tmp_path / "calls"
        for name, rest in (("gh", ""), ("ftzard", f'[ "$1" = run ] || exec {TOOL} "$@"\n')):
            file = bin / name
            file.write_text(f'#!/bin/bash\n{rest}echo "{name} $*" >> {calls}\n')
            file.chmod(file.stat().st_mode | stat.S_IXUSR)
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
        (workspace.root / "labels").mkdir()

        def commit(file: str) -> None:
            (workspace.root / "labels" / file).write_text("id,label\n")
            for arguments in (["add", "-f", "labels"], ["commit", "-qm", file]):
                subprocess.run([*git, *arguments], cwd=workspace.root, check=True)

        def run(step: str, **environment: str) -> tuple[int, dict[str, str], str]:
            output = tmp_path / "output"
            output.write_text("")
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", scripts[step]],
                cwd=workspace.root, text=True, capture_output=True, env={
                    **os.environ, "PATH": f"{bin}:{os.environ['PATH']}",
                    "RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(output),
                    "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "GITHUB_SHA": "abc",
                    "GITHUB_REPOSITORY": "o/r", "BEFORE": "", **environment})
            pairs = dict(line.split("=", 1) for line in output.read_text().splitlines())
            called = calls.read_text() if calls.exists() else ""
            return done.returncode, pairs, called + done.stderr

        run.commit, run.summary = commit, tmp_path / "summary"
        return run

    def test_retrains_on_each_file_that_was_merged_and_posts_the_verdict(self, runner, decided):
        runner.commit("old.csv")
        before = "HEAD"
        runner.commit("new one.csv")
        runner.commit("two.csv")
        code, pairs, called = runner("retrain", BEFORE=f"{before}~2")
        assert code == 0 and pairs == {"ran": "yes"}
        assert called.splitlines() == [
            f"ftzard run retraining_pipeline_job data.labelled=labels/{file}"
            for file in ("new one.csv", "two.csv")]
        for decision in ("promote", "refuse", "cannot tell"):
            decided(decision)
            code, pairs, said = runner("gate")
            assert code == 0 and pairs == {"decision": decision}, said
        assert runner.summary.read_text().count("version 2: ") == 3
        code, _, called = runner("Post the verdict on the commit")
        assert code == 0 and "gh api repos/o/r/commits/abc/comments -F body=@" in called

    def test_without_a_file_nothing_is_trained_and_an_error_is_none_of_the_decisions(self, runner):
        runner.commit("old.csv")
        code, pairs, called = runner("retrain", BEFORE="HEAD")
        assert code == 0 and pairs == {"ran": "no"} and "ftzard" not in called
        code, pairs, said = runner("gate")
        assert code == 1 and pairs == {}

    def test_it_is_printed_for_the_workspace(self, ftzard):
        code, said = ftzard("gate", "--workflow")
        assert code == 0 and yaml.safe_load(said) == yaml.safe_load(ci_workflow.text())
        whole = yaml.safe_load(said)
        assert whole["concurrency"]["cancel-in-progress"] is False
        assert all("secrets." not in str(step.get("run", "")) for step in
                   whole["jobs"]["round"]["steps"]), "no secret is written into a script"
