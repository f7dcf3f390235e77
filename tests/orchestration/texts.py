"""Easy texts for the job tests, and the processes that work on a workspace."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd

from ftzard.config.compose import PACKAGED
from ftzard.workspace.workspace import Workspace

SHIPPED = PACKAGED / "dagster"
WORDS = {"glad": "lovely happy great sunny enjoy sweet calm proud".split(),
         "sad": "awful boring broken hate gloomy bitter lost tired".split()}
FILLERS = ("the a my this day phone song train lunch with and again really very some house street "
           "music friend morning winter coffee ticket window garden market river story people "
           "paper letter number school doctor weather holiday weekend office kitchen").split()


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


def started(workspace: Workspace, *arguments: object) -> subprocess.Popen:
    """Start `ftzard …` as a terminal does: in a process group of its own, its output readable."""
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "ftzard"), *map(str, arguments), "-w",
         str(workspace.root)], cwd=workspace.root, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def processes(workspace: Workspace) -> dict[int, str]:
    """Return pid and command line of all processes that work on a workspace.

    They name it in their environment, or stand in it: a fork of a warm process shows the
    environment that this one was started with.
    """
    mark, found = f"FTZARD_WORKSPACE={workspace.root}".encode(), {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            at = Path(os.readlink(entry / "cwd"))
            if int(entry.name) != os.getpid() and at.is_relative_to(workspace.root) or (
                    mark in (entry / "environ").read_bytes().split(b"\0")):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(entry.name)] = line
        except OSError:
            continue  # it has ended in the meantime, or belongs to somebody else
    return {pid: line for pid, line in found.items() if line}


def living(workspace: Workspace) -> list[str]:
    """Return the command lines of all processes that work on a workspace."""
    return list(processes(workspace).values())


def interrupt(process: subprocess.Popen) -> None:
    """Send what Ctrl-C sends: SIGINT to the whole foreground process group."""
    os.killpg(process.pid, signal.SIGINT)


def end(process: subprocess.Popen) -> None:
    """Leave nothing of a command behind, whatever its test found."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def queued(job: str, tags: dict[str, str]):
    """Return a run as a sensor's daemon puts it into Dagster's queue."""
    from dagster import DagsterRun, DagsterRunStatus
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(module_name="ftzard.definitions"),
        location_name="ftzard.definitions")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)
    return DagsterRun(job_name=job, tags=tags, status=DagsterRunStatus.QUEUED,
                      remote_job_origin=origin)
