"""The examples: their data is usable as it is made, and each runs from its one command."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ftzard.config.compose import compose
from tests import warm_processes

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NAMES = ("sentiment", "emotion", "instructions", "team")
#: What `ftzard init` writes for another task.
INIT = {"emotion": {"task": {"choice": "multi_label"}},
        "instructions": {"task": {"choice": "instruction_tuning"},
                         "model": {"choice": "falcon_tiny_answers"},
                         "tuning": {"metric": "validation_loss"}}}
#: What each says when it has run.
SAYS = {"sentiment": r"champion +workspace@\d+[\s\S]*evaluation +1 +FINISHED",
        "emotion": r"gloomy[\s\S]*tuning +1 +FINISHED",
        "instructions": r"Greet Ada 7 from Oslo\.[\s\S]*tuning +1 +FINISHED",
        "team": r"\bbob\b[\s\S]*champion +ada_reviews@1"}


def test_every_example_is_listed_with_its_command():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"make example-(\w+)`", text)) == set(NAMES) == {
        folder.name for folder in EXAMPLES.iterdir() if (folder / "run.sh").is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_its_config_is_understood_and_its_data_is_the_same_each_time(name, tmp_path):
    merged = runpy.run_path(str(EXAMPLES / "set_values.py"))["merged"]
    values = yaml.safe_load((EXAMPLES / name / "ftzard.yaml").read_text(encoding="utf-8"))
    assert compose(merged(INIT.get(name, {}), values))
    made = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        subprocess.run([sys.executable, EXAMPLES / name / "data.py"], cwd=folder, check=True)
        made.append({file.name: file.read_bytes() for file in folder.iterdir()
                     if file.suffix in (".csv", ".jsonl")})
    assert made[0] == made[1] and made[0]


@pytest.mark.parametrize("name", ["sentiment", "emotion"])
def test_few_of_its_texts_are_nearly_the_same(name, tmp_path):
    subprocess.run([sys.executable, EXAMPLES / name / "data.py"], cwd=tmp_path, check=True)
    texts = pd.read_csv(tmp_path / "labelled.csv", keep_default_na=False)["text"]
    assert texts.is_unique and len(texts) == 900
    words = texts.str.split().str[:3].str.join(" ")  # made-up names at the start
    assert words.duplicated().mean() < 0.05


@pytest.mark.system
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_its_one_command(name, tmp_path):
    path = os.pathsep.join((str(warm_processes.script(tmp_path / "bin")),
                            str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run([EXAMPLES / "run.sh", name, tmp_path / "made"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(SAYS[name], done.stdout), done.stdout[-4000:]
