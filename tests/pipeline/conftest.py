"""One small workspace in which every shipped Launchpad YAML is run once, for all job tests.

The texts are easy on purpose (two words of each tell its label): what is tested here is that the
steps fit together and leave the right records, not how well a model of two layers can learn.
"""

import os
import random
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import yaml

import ftzard.config
from ftzard.notebooks.chapter import connect
from ftzard.tracking.runs import Tracking
from ftzard.workspace import Workspace

SHIPPED = Path(ftzard.config.__file__).parent / "dagster"
WORDS = {"glad": "lovely happy great sunny enjoy sweet calm proud".split(),
         "sad": "awful boring broken hate gloomy bitter lost tired".split()}
FILLERS = ("the a my this day phone song train lunch with and again really very some house street "
           "music friend morning winter coffee ticket window garden market river story people "
           "paper letter number school doctor weather holiday weekend office kitchen").split()
SMALL = {
    "model": {"build": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 1024, "seed": 0}},
    "training": {"epochs": 2},
    "tuning": {"trials": 2, "rank": [8], "batch_size": [16], "learning_rate": [0.004, 0.008]},
    "sampling": {"budget": 40, "audit_rows": 30},
    "gate": {"min_rows": 50, "resamples": 500},
}


def easy_texts(count: int, seed: int) -> pd.DataFrame:
    """Return different short texts with their mood; two words of each tell it."""
    draw, seen = random.Random(seed), {}
    while len(seen) < count:
        mood = draw.choice(sorted(WORDS))
        words = draw.choices(FILLERS, k=draw.randint(5, 14)) + draw.choices(WORDS[mood], k=2)
        draw.shuffle(words)
        seen[" ".join(words)] = mood
    return pd.DataFrame({"tweet": list(seen), "mood": list(seen.values())})


def mood_of(text: str) -> str:
    """Return the mood that a person would see in an easy text."""
    return "glad" if set(text.split()) & set(WORDS["glad"]) else "sad"


@dataclass(frozen=True)
class Ran:
    """One command that ran a job: its exit code, what it said, and HEAD before and after."""

    code: int
    said: str
    before: str
    after: str


@dataclass
class Story:
    """The workspace after all twelve YAMLs, and what each command said."""

    workspace: Workspace
    remotes: Path
    tool: object
    ran: dict[str, Ran] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.workspace.root

    def git(self, *arguments: str, at: Path | None = None) -> str:
        done = subprocess.run(["git", *arguments], cwd=at or self.root, text=True,
                              capture_output=True, check=True)
        return done.stdout.strip()

    def tracking(self) -> Tracking:
        return connect(self.workspace, self.workspace.config())

    def run(self, job: str, *more: str, command: str = "ftzard") -> Ran:
        """Run a job with its shipped YAML as a user does; raise with what it said if it fails."""
        before = self.git("rev-parse", "HEAD")
        yaml_file = SHIPPED / f"{job}.yaml"
        if command == "ftzard":
            done = self.tool("ftzard", "run", job, "-w", self.root, "-c", yaml_file, *more,
                             at=self.root)
        else:
            done = self.tool("dagster", "job", "execute", "-m", "ftzard.definitions", "-j", job,
                             "-c", yaml_file, at=self.root, FTZARD_WORKSPACE=str(self.root),
                             DAGSTER_HOME=str(self.workspace.dagster_home))
        ran = Ran(done.returncode, done.stdout, before, self.git("rev-parse", "HEAD"))
        assert ran.code == 0, f"{job}:\n{ran.said[-4000:]}"
        self.ran[job] = ran
        return ran


@pytest.fixture(scope="session")
def story(tmp_path_factory, tool) -> Story:
    """Every shipped YAML, run once and unchanged, the chains first."""
    home = tmp_path_factory.mktemp("story")
    root, remotes = home / "ws", home / "remotes"
    easy_texts(700, seed=1).to_csv(home / "mine.csv", index=False)
    made = tool("ftzard", "init", root, "--data", home / "mine.csv", "--text", "tweet",
                "--label", "mood", "--git-remote", remotes / "git", "--dvc-remote",
                remotes / "dvc", at=home)
    assert made.returncode == 0, made.stdout
    story = Story(Workspace(root), remotes, tool)
    marker = root / "ftzard.yaml"
    marker.write_text(yaml.safe_dump(yaml.safe_load(marker.read_text()) | SMALL))
    story.run("training_pipeline_job")
    easy_texts(600, seed=2)[["tweet"]].to_csv(story.workspace.incoming / "new_data.csv",
                                              index=False)
    story.run("inference_pipeline_job")
    story.run("inference_preprocessing_job")
    story.run("inference_job", command="dagster")
    story.run("sampling_job")
    hand_in(story)
    story.run("retraining_pipeline_job")
    for job in ("cleaning_job", "preprocessing_job", "tuning_job", "choosing_job",
                "retraining_job", "evaluation_job"):
        story.run(job)
    return story


def hand_in(story: Story) -> None:
    """Fill in the queue as a person does, with three slips, and drop it."""
    queue_file, = story.workspace.labelling.glob("*.csv")
    queue = pd.read_csv(queue_file, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    queue["label"] = queue["text"].map(mood_of)
    queue.loc[0, "label"] = "gladd"
    queue.loc[1, "text"] = "another text altogether"
    queue.loc[2, "label"] = ""
    queue.to_csv(story.workspace.labelled / "labelled.csv", index=False)


def processes_below(group: int) -> list[str]:
    """Return the command lines of living processes of a process group or its children."""
    found, parents = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(entry.name)] = (line, int(fields[1]), int(fields[2]))
            parents[int(entry.name)] = int(fields[1])
    return [line for pid, (line, parent, its_group) in found.items()
            if its_group == group or parent == group]


def interrupt(process: subprocess.Popen) -> None:
    """Send what Ctrl-C sends: SIGINT to the whole foreground process group."""
    os.killpg(process.pid, signal.SIGINT)
