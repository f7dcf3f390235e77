"""Every command that the README shows is run here, in its order, or says what it needs.

A line may be marked with what this machine need not have (`# GPU`, `# Docker`, `# pixi`,
`# cluster`); the few that only serve or that are this test run itself are named with the test that
holds them.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ftzard.config.compose import compose
from ftzard.orchestration.launchpad_file import split_launchpad
from ftzard.tasks.instruction_tuning import instructions
from tests.tasks.multi_label.made_up import make_rows

ROOT = Path(__file__).parents[1]
NEEDS = ("# GPU", "# Docker", "# pixi", "# server", "# cluster")
ELSEWHERE = {
    "make demo": "it is a whole demo; run by hand on a fresh clone",
    "make test": "it is this test run",
    "ftzard ui -w reviews": "tests/orchestration/test_story.py serves it and launches a job",
    "ftzard lab -w reviews": "test_lab_serves_the_notebooks",
}


#: What a person does before a line: a file is dropped, the rows that were asked for get labels.
MARCH = """
import random
rng = random.Random(6)
lines = ["review"] + [
    f"parcel {n} for {rng.choice('xyz')}{rng.randrange(99)} came {said} and {rng.choice(said_too)}"
    for n in range(300) for said, said_too in [
        rng.choice([("solid", ["lovely", "quick"]), ("broken", ["late", "rude"])])]]
open("reviews/data/incoming/march.csv", "w").write("\\n".join(lines) + "\\n")
"""
LABELS = """
import pathlib, pandas
asked, = pathlib.Path("reviews/data/labelling").glob("*.csv")
rows = pandas.read_csv(asked, dtype="str", keep_default_na=False, encoding="utf-8-sig")
rows["label"] = ["good" if " solid " in text else "bad" for text in rows["text"]]
rows.to_csv("reviews/data/labelled/march.csv", index=False)
"""
#: A small model for the second task: the first shows what the defaults do.
SMALL = """
import pathlib, yaml
marker = pathlib.Path("tutor/ftzard.yaml")
config = yaml.safe_load(marker.read_text())
config["model"]["build"] = {"layers": 2, "width": 64, "heads": 2, "vocabulary": 1024, "seed": 0}
marker.write_text(yaml.safe_dump(config))
"""
BEFORE = {
    "ftzard run training_pipeline_job -w tutor training.epochs=3 tuning.trials=1": SMALL,
    "ftzard run inference_pipeline_job -w reviews data.incoming=data/incoming/march.csv": MARCH,
    "ftzard run retraining_pipeline_job -w reviews data.labelled=data/labelled/march.csv": LABELS}


def fenced(language: str) -> list[str]:
    """Return the README's blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)


def blocks() -> list[list[str]]:
    """Return the README's shell blocks, each as its lines."""
    return [[line.strip() for line in block.splitlines() if line.strip()]
            for block in fenced("sh")]


def bare(line: str) -> str:
    return re.sub(r"\s+#.*$", "", line)


def reviews(path: Path) -> None:
    """Write 1,200 short reviews whose words tell the stars."""
    rng = random.Random(5)
    words = {"good": ["solid", "lovely", "quick", "friendly", "great"],
             "bad": ["broken", "late", "rude", "noisy", "awful"]}
    lines = ["review,stars"]
    while len(lines) <= 1200:
        stars = rng.choice(["good", "bad"])
        said = " ".join(rng.sample(words[stars], 2))
        order = f"order {len(lines)} for {rng.choice('abcdefgh')}{rng.randrange(999)}"
        lines.append(f"{order} was {said},{stars}")
    path.write_text("\n".join(lines) + "\n")


def test_every_command_is_run_or_says_what_it_needs():
    known = [line for block in blocks() for line in block
             if not any(mark in line for mark in NEEDS)]
    assert {bare(line) for line in known} >= {*ELSEWHERE, *BEFORE}
    assert len(known) > 12


def test_the_yaml_and_the_chat_that_it_shows_are_understood(tmp_path):
    yaml_shown = [yaml.safe_load(block) for block in fenced("yaml")]
    (told,) = [split_launchpad(shown) for shown in yaml_shown if "resources" in shown]
    config = compose(told.experiment)
    assert (config.training.epochs, config.tuning.trials) == (2, 1)
    chat = re.search(r'`(\{"conversations".*?\})`', (ROOT / "README.md").read_text(), flags=re.S)
    (tmp_path / "chats.jsonl").write_text(chat[1].replace("\n", " "))
    row = instructions.read(tmp_path / "chats.jsonl", instruction_column="instruction",
                            output_column="output", messages_column="conversations")
    assert len(instructions.clean(row, batch="b")[0]) == 1


def test_every_promise_under_a_fault_names_a_test_that_exists():
    table = (ROOT / "README.md").read_text().partition("| what happens |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines()[2:] if line.startswith("|")]
    code = "".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named and all(f"def {name}(" in code for name in named), row


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    not_ours = ("FTZARD_WORKSPACE", "DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    clean = {k: v for k, v in os.environ.items() if k not in not_ours}
    return {**clean, "PATH": path, "HOME": str(folder), "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "1000"}


@pytest.mark.jobs
def test_the_readme_runs_from_top_to_bottom(tmp_path):
    reviews(tmp_path / "my.csv")
    (shown,) = [block for block in fenced("yaml") if block.startswith("resources:")]
    (tmp_path / "tuning.yaml").write_text(shown)
    make_rows(300, seed=1).to_csv(tmp_path / "moods.csv", index=False)
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps({"conversations": [
        {"from": "human", "value": f"Say {n}"}, {"from": "gpt", "value": str(n)}]}) + "\n"
        for n in range(5)))
    for number, code in enumerate(BEFORE.values()):
        (tmp_path / f"before_{number}.py").write_text(code)
    said = ""
    for block in blocks():
        script = [bare(line) for line in block
                  if not any(mark in line for mark in NEEDS) and bare(line) not in ELSEWHERE]
        for number, line in enumerate(BEFORE):
            if line in script:
                script.insert(script.index(line), f"python before_{number}.py")
        done = subprocess.run(["bash", "-ec", "\n".join(script)], cwd=tmp_path,
                              capture_output=True, text=True, env=environment(tmp_path))
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        said += done.stdout
    for code in fenced("python"):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                              text=True, env=environment(tmp_path))
        assert done.returncode == 0, f"{code}\n{done.stderr[-3000:]}"
        assert re.search(r"\bbad\b|s; notebooks as executed: ", done.stdout), done.stdout
    assert re.search(r"^bad  [01]\.\d+  arrived broken", said, flags=re.M), said
    assert "champion   reviews@1" in said
    assert "not pushed: 0 commits" in said


@pytest.mark.jobs
def test_lab_serves_the_notebooks(tmp_path):
    ftzard = [sys.executable, "-m", "ftzard.cli"]
    subprocess.run([*ftzard, "init", "empty"], cwd=tmp_path, check=True, capture_output=True,
                   env=environment(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [*ftzard, "lab", "-w", "empty", "--no-browser", "--port", str(port)], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(tmp_path))
    try:
        address = next(line for line in server.stdout if "/lab/tree/notebooks?token=" in line)
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    assert str(port) in address
    assert server.returncode == 130
