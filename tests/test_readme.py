"""Every command that README and the documentation show is run here, or says what it needs.

All pages share one folder and its workspaces, in the order of `PAGES`, so that each model is
trained once: a line that an earlier page has run is not run again. A line may be marked with what
this machine need not have (`# GPU`, `# cluster`, `# Docker`, `# pixi`, `# server`); the few that
only serve or that are this test run itself are named with the test that holds them.
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

import pyarrow.parquet
import pytest
import yaml

from ftzard.config.compose import compose
from ftzard.orchestration.launchpad_file import split_launchpad
from ftzard.tasks.instruction_tuning import instructions
from tests import warm_processes
from tests.tasks.multi_label.made_up import make_rows

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Pages whose commands need what an earlier one has made, in that order; the others follow.
FIRST = ["README.md", "docs/start.md", "docs/how-to/own-data.md", "docs/how-to/new-texts.md",
         "docs/how-to/several-labels.md", "docs/how-to/instructions.md",
         "docs/how-to/change-a-run.md", "docs/how-to/notebooks.md", "docs/how-to/models.md",
         "docs/how-to/rebuild.md", "docs/how-to/trouble.md", "docs/how-to/remotes.md"]
PAGES = [*FIRST, *sorted(name for path in DOCS.rglob("*.md")
                         if (name := path.relative_to(ROOT).as_posix()) not in FIRST)]
NEEDS = ("# GPU", "# cluster", "# Docker", "# pixi", "# server")
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
    f"parcel {n} for {rng.choice('xyz')}{rng.randrange(99)} came {state} and {rng.choice(words)}"
    for n in range(300) for state, words in [
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
#: Of the table of another artifact ("the same without label").
COLUMNS_OF_THE_SAME = {"id", "batch", "split", "text", "input_ids", "length", "cut"}
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", flags=re.S | re.M)


def blocks(page: str, *languages: str) -> list[tuple[str, str | None, str]]:
    """Return (language, title or None, text) of a page's blocks in some languages."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [found for match in BLOCK.finditer(text) if (found := match.groups())[0] in languages]


def lines(block: str) -> list[str]:
    return [line.strip() for line in block.splitlines() if line.strip()]


def bare(line: str) -> str:
    return re.sub(r"\s+#.*$", "", line)


def yaml_blocks() -> list[dict]:
    return [yaml.safe_load(text) for page in PAGES for _, _, text in blocks(page, "yaml")]


def reviews(path: Path) -> None:
    """Write 1,200 short reviews whose words tell the stars."""
    rng = random.Random(5)
    words = {"good": ["solid", "lovely", "quick", "friendly", "great"],
             "bad": ["broken", "late", "rude", "noisy", "awful"]}
    rows = ["review,stars"]
    while len(rows) <= 1200:
        stars = rng.choice(["good", "bad"])
        opinion = " ".join(rng.sample(words[stars], 2))
        order = f"order {len(rows)} for {rng.choice('abcdefgh')}{rng.randrange(999)}"
        rows.append(f"{order} was {opinion},{stars}")
    path.write_text("\n".join(rows) + "\n")


def test_every_block_has_a_language_and_every_command_is_run_or_says_what_it_needs():
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", (ROOT / page).read_text(encoding="utf-8"), flags=re.M)
        opened = {fence.split()[0] if fence else "" for fence in fences[::2]}
        assert opened <= {"sh", "python", "yaml", "text", "json"}, page
    known = [line for page in PAGES for _, _, text in blocks(page, "sh") for line in lines(text)
             if not any(mark in line for mark in NEEDS)]
    assert {bare(line) for line in known} >= {*ELSEWHERE, *BEFORE}
    assert len(known) > 30


def test_the_yaml_and_the_chat_that_are_shown_are_understood(tmp_path):
    (launchpad,) = [split_launchpad(shown) for shown in yaml_blocks() if "resources" in shown]
    config = compose(launchpad.experiment)
    assert (config.training.epochs, config.tuning.trials) == (2, 1)
    for shown in yaml_blocks():
        if "resources" not in shown and "<" not in str(shown):
            compose(shown)
    page = (DOCS / "how-to/instructions.md").read_text(encoding="utf-8")
    chat = re.search(r'`(\{"conversations".*?\})`', page, flags=re.S)
    (tmp_path / "chats.jsonl").write_text(chat[1].replace("\n", " "))
    row = instructions.read(tmp_path / "chats.jsonl", instruction_column="instruction",
                            output_column="output", messages_column="conversations")
    assert len(instructions.clean(row, batch="b")[0]) == 1


def test_every_promise_under_a_fault_names_a_test_that_exists():
    text = (DOCS / "reference/faults.md").read_text(encoding="utf-8")
    table = text.partition("| what happens |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines()[2:] if line.startswith("|")]
    code = "".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named and all(f"def {name}(" in code for name in named), row


def test_the_readme_is_one_screen_and_a_little_more():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose `ftzard` is the installed one, begun as a fork."""
    path = os.pathsep.join((str(warm_processes.script(folder / "bin")),
                            str(Path(sys.executable).parent), os.environ["PATH"]))
    not_ours = ("FTZARD_WORKSPACE", "DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    return {**{k: v for k, v in os.environ.items() if k not in not_ours}, "PATH": path}


def run_in(folder: Path, command: list[str], page: str) -> str:
    """Run a block in the folder that all pages share, and return what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True,
                          env=environment(folder))
    assert done.returncode == 0, (f"{page}: {command[-1]}\n{done.stdout[-3000:]}\n"
                                  f"{done.stderr[-3000:]}")
    return done.stdout


@pytest.mark.jobs
@pytest.mark.timeout(2400)  # many jobs, one after the other
def test_every_page_runs_from_top_to_bottom(tmp_path):
    reviews(tmp_path / "my.csv")
    (launchpad,) = [text for page in PAGES for _, _, text in blocks(page, "yaml")
                    if text.startswith("resources:")]
    (tmp_path / "tuning.yaml").write_text(launchpad)
    make_rows(300, seed=1).to_csv(tmp_path / "moods.csv", index=False)
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps({"conversations": [
        {"from": "human", "value": f"Say {n}"}, {"from": "gpt", "value": str(n)}]}) + "\n"
        for n in range(5)))
    for number, code in enumerate(BEFORE.values()):
        (tmp_path / f"before_{number}.py").write_text(code)
    printed, done = "", set()
    for page in PAGES:
        for language, title, text in blocks(page, "sh", "python"):
            if language == "python" and title:
                file = tmp_path / "reviews" / title
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
            elif language == "python":
                shown = run_in(tmp_path, [sys.executable, "-c", text], page)
                assert re.search(r"\bbad\b|s; notebooks as executed: ", shown), shown
            elif script := to_run(text, done):
                printed += run_in(tmp_path, ["bash", "-ec", "\n".join(script)], page)
    assert re.search(r"^bad  [01]\.\d+  arrived broken", printed, flags=re.M), printed
    assert "champion   reviews@1" in printed
    assert "not pushed: 0 commits" in printed
    assert_columns_are_documented(tmp_path / "reviews" / "data")


def assert_columns_are_documented(data: Path) -> None:
    """Compare the tables of a workspace after a round with Pipeline.md's table of artifacts."""
    documented = dict(re.findall(r"^\| \w+ \| `data/([^|]+\.parquet)` \| ([^|]+) \|",
                                 (ROOT / "Pipeline.md").read_text(encoding="utf-8"), flags=re.M))
    tables = {name: file for name in documented if (file := data / name).is_file()}
    assert len(tables) >= 5
    for name, file in tables.items():
        columns = set(pyarrow.parquet.read_schema(file).names)
        assert columns <= set(re.findall(r"\w+", documented[name])) | COLUMNS_OF_THE_SAME, name


def to_run(text: str, done: set[str]) -> list[str]:
    """Return the lines of a block that are run, and what a person does before them.

    done: lines of ftzard that earlier blocks have run; those of this one are added.
    """
    script = []
    for line in map(str, lines(text)):
        command = bare(line)
        if any(mark in line for mark in NEEDS) or command in {*ELSEWHERE, *done}:
            continue
        if command in BEFORE:
            script.append(f"python before_{list(BEFORE).index(command)}.py")
        if command.startswith("ftzard "):
            done.add(command)
        script.append(command)
    return script


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
