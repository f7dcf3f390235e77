"""Every command that the README shows is run here, in its order, or says what it needs.

A line may be marked with what this machine need not have (`# GPU`, `# Docker`, `# pixi`); the few
that only serve or that are this test run itself are named with the test that holds them.
"""

import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDS = ("# GPU", "# Docker", "# pixi", "# server")
ELSEWHERE = {
    "make demo": "it is a whole demo; run by hand on a fresh clone",
    "make test": "it is this test run",
    "ftzard ui -w reviews": "tests/pipeline/test_story.py serves it and launches a job",
    "ftzard lab -w reviews": "test_lab_serves_the_notebooks",
}


def blocks() -> list[list[str]]:
    """Return the README's shell blocks, each as its lines."""
    found = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in found]


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
    assert {bare(line) for line in known} >= set(ELSEWHERE)
    assert len(known) > 12


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
    clean = {k: v for k, v in os.environ.items() if k not in ("FTZARD_WORKSPACE", "DAGSTER_HOME")}
    return {**clean, "PATH": path, "HOME": str(folder), "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "1000"}


@pytest.mark.jobs
def test_the_readme_runs_from_top_to_bottom(tmp_path):
    reviews(tmp_path / "my.csv")
    (tmp_path / "tuning.yaml").write_text(
        "resources:\n  experiment:\n    config:\n      training: {epochs: 1}\n"
        "      tuning: {trials: 1}\n")
    said = ""
    for block in blocks():
        script = [bare(line) for line in block
                  if not any(mark in line for mark in NEEDS) and bare(line) not in ELSEWHERE]
        done = subprocess.run(["bash", "-ec", "\n".join(script)], cwd=tmp_path,
                              capture_output=True, text=True, env=environment(tmp_path))
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        said += done.stdout
    assert re.search(r"^bad  [01]\.\d+  arrived broken", said, flags=re.M), said
    assert "champion   FalconSentiAnalysis@1" in said
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
