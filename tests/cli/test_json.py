"""--json: the numbers that the text shows, as numbers, nothing else on standard output, and errors
with the same sentence. What the keys are stands in Pipeline.md."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ftzard.cli.start import COMMANDS
from tests.tracking.stores import registered
from tests.trained import trained  # noqa: F401 - a fixture

NAME = "FalconSentiAnalysis"
PIPELINE = (Path(__file__).parents[2] / "Pipeline.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(template, tmp_path_factory):
    """A workspace with two versions, the second with a record."""
    import shutil

    from ftzard.workspace.workspace import Workspace

    workspace = Workspace(Path(shutil.copytree(
        template, tmp_path_factory.mktemp("json") / "ws", symlinks=True)))
    registered(workspace, NAME, versions=2, champion=2)
    record = workspace.root / "models" / NAME / "2.yaml"
    record.parent.mkdir(parents=True)
    record.write_text(yaml.safe_dump({
        "model": NAME, "version": 2, "labels": ["glad", "sad"],
        "metrics": {"challenger": {"accuracy": 0.8125, "lower": 0.75, "upper": 0.875,
                                   "macro_f1": 0.8, "n": 1600}},
        "verdict": {"decision": "promote", "reasons": ["It is so."]},
        "base": {"name": "falcon_tiny", "source": None, "revision": None}}))
    return workspace


@pytest.fixture
def both(monkeypatch, capsys):
    """Run a command as text and as JSON; return the text and the value."""
    from ftzard import cli

    def run(*arguments: object) -> tuple[str, object]:
        said = []
        for more in ((), ("--json",)):
            monkeypatch.setattr("sys.argv", ["ftzard", *map(str, arguments), *more])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            captured = capsys.readouterr()
            said.append((ended.value.code, captured.out, captured.err))
        assert said[0][0] == said[1][0], "the same exit code"
        assert said[1][2] == "", "nothing beside the JSON"
        return said[0][1] + said[0][2], json.loads(said[1][1])

    return run


def test_status(both, place):
    text, told = both("status", "-w", place.root)
    champion = told["champion"]
    assert f"{champion['name']}@{champion['version']}" in text and champion["version"] == 2
    assert champion["metrics"]["accuracy"] == 0.8125 and "81.2%" in text or "81.3%" in text
    assert f"not pushed: {len(told['commits_not_pushed'])} commit" in text
    assert f"rules of identity: version {told['identity']}" in text
    for name, step in told["steps"].items():
        assert re.search(rf"^{name} +{step['runs']} +{step['state'] or '-'} ", text, re.M)
        assert isinstance(step["runs"], int)
    assert told["steps"]["retraining"]["runs"] == 2


def test_models(both, place):
    text, lines = both("models", "list", "-w", place.root)
    assert [(line["version"], line["aliases"]) for line in lines] == [(2, ["champion"]), (1, [])]
    first = lines[0]
    assert (first["accuracy"], first["lower"], first["upper"], first["test_rows"]) == (
        0.8125, 0.75, 0.875, 1600)
    assert "(75.0–87.5) of 1,600" in text and first["size_bytes"] == 2000 and "2.0 kB" in text
    text, told = both("models", "show", "champion", "-w", place.root)
    assert told["metrics"][f"{NAME}@2"]["n"] == 1600 and "1,600" in text
    assert told["run"]["id"] in text and told["run"]["state"] == "FINISHED"


def test_history_and_lineage(both, rounds):
    text, versions = both("history", "cleaned", "-w", rounds.root)
    assert [v["rows"] for v in versions] == [5, 3]
    lines = text.splitlines()[1:]
    assert len(lines) == len(versions)
    for version, line in zip(versions, lines, strict=True):
        assert version["commit"][:10] in line and f" {version['rows']} " in line
        assert isinstance(version["size"], int) and version["pushed"] is ("yes" in line)
    text, told = both("lineage", f"{NAME}@2", "-w", rounds.root)
    assert told["version"] == 2 and told["parents"][0]["version"] == 1
    for piece in told["data"]:
        assert piece["commit"][:10] in text
        assert piece["rows"] is None or f"{piece['rows']:,} rows" in text


def test_config_plan_and_doctor(both, place):
    text, told = both("config", "training.epochs=7", "-w", place.root)
    assert told["values"]["training"]["epochs"] == 7 == yaml.safe_load(text)["training"]["epochs"]
    text, told = both("doctor", "-w", place.root)
    assert all(finding["sentence"] in text for finding in told["findings"])
    assert {finding["state"] for finding in told["findings"]} <= {"ok", "warning", "wrong"}


def test_plan(both, workspace):
    from tests.orchestration.texts import easy_texts

    easy_texts(200, seed=1).to_csv(workspace.root / "mine.csv", index=False)
    (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump({
        "data": {"source": "mine.csv", "text_column": "tweet", "label_column": "mood"}}))
    text, told = both("plan", "training_pipeline_job", "--ram", "64GB", "-w", workspace.root)
    for side, count in told["rows"].items():
        assert f"{count:,} {side}" in text
    assert f"{told['tokens']['real']:,} in a pass" in text
    assert f"{told['memory']['total_mb']:,.0f} MB at the peak" in text
    assert f"{told['training']['steps']:,} in tuning" in text and told["fits"] is True


@pytest.mark.slow
def test_predict_and_compare(both, trained):  # noqa: F811
    text, _ = both_lines(trained, "predict", "a lovely happy day")
    label, confidence = text[0].split("  ")[:2]
    _, rows = both_lines(trained, "predict", "a lovely happy day", "--json")
    assert rows[0]["label"] == label and f"{rows[0]['confidence']:.3f}" == confidence
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)


def both_lines(place, *arguments: str) -> tuple[list[str], list[dict]]:
    from tests.conftest import TOOLS

    done = subprocess.run([str(TOOLS / "ftzard"), *arguments, "-w", str(place.root)], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return lines, [json.loads(line) for line in lines if line.startswith("{")]


def test_push_says_whether_it_went(both, workspace):
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "mine"], cwd=workspace.root,
                   check=True)
    text, told = both("push", "-w", workspace.root)
    assert told["pushed"] is False and f"not pushed: {told['reason']}" in text


@pytest.mark.parametrize("arguments", [
    ["status", "-w", "/nowhere"], ["models", "show", "nobody@3"], ["history", "nosuch"],
    ["lineage", "nobody"], ["plan", "clening_job"], ["config", "training.epoch=1"],
    ["compare", "champion", "nobody"], ["predict", "nobody@1", "hello"], ["doctor", "-w", "/tmp"],
    ["run", "tuning_job", "training.epoch=1"], ["restore", "nothing"], ["reproduce", "champion"],
    ["promote", "9", "--reason", "so"], ["rollback"], ["models", "tag", "champion", "x"],
    ["export", "champion", "there"], ["models", "list", "nobody"], ["status", "--nothing"]])
def test_an_error_is_json_with_the_same_sentence(both, place, monkeypatch, arguments):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(place.root))
    text, told = both(*arguments)
    assert list(told) == ["error"] and len(told["error"]) > 10
    if "--nothing" in arguments:  # a usage error has the usage before it
        assert told["error"] in text
    else:
        assert text == f"✗ {told['error']}\n"


def test_a_text_that_is_called_json_asks_for_none(ftzard, place):
    code, said = ftzard("predict", "-w", place.root, "nobody@1", "--", "--json")
    assert code == 1 and said.startswith("✗ ")


def test_every_command_with_json_has_its_keys_in_pipeline_md(both, place):
    from typer.main import get_command

    from ftzard.cli import app

    group = get_command(app)
    having = {name for name in COMMANDS for command in [group.commands[name]]
              if any("--json" in p.opts for p in command.params)}
    for name in ("models", "mlflow-user"):
        having |= {f"{name} {sub}" for sub, command in group.commands[name].commands.items()
                   if any("--json" in p.opts for p in command.params)}
    section = PIPELINE.partition("\n## Answers as JSON\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w -]+)` \| (.+) \|$", section, re.M))
    assert set(rows) == having
    for command in ("status", "models list", "models show", "doctor", "config"):
        more = ["champion"] if command.endswith("show") else []
        _, told = both(*command.split(), *more, "-w", place.root)
        first = told[0] if isinstance(told, list) else told
        keys = rows[command].replace("those of the list", rows["models list"])
        assert set(re.findall(r"`(\w+)`", keys)) == set(first), command
