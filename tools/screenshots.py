"""Take pictures of what a workspace shows: Dagster's and MLflow's pages, the report, the terminal.

    python tools/screenshots.py WORKSPACE OUT

Needs Debian's `chromium` (or Chrome) for the pages, and serves the workspace itself while it takes
them. Each page is taken wide in light and dark, and 390 pixels wide. OUT/dag.png and OUT/report.png
are the two pictures of the README. Pictures are looked at by people; nothing is compared.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import websocket
from rich.console import Console
from rich.text import Text

from ftzard.errors import FtzardError, WorkspaceError
from ftzard.orchestration import services
from ftzard.tracking import registry, runs
from ftzard.workspace import addresses
from ftzard.workspace.workspace import Workspace, find

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = (1400, 1000), (390, 844)
#: What is typed in a terminal of 80 columns.
COMMANDS = (("status",), ("models", "list"), ("models", "show", "champion"), ("history",),
            ("doctor",), ("--help",))
DAGSTER_READY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"


@dataclass(frozen=True)
class Page:
    """A page to be taken.

    name: of its picture; address: where it is; patience_s: how long it draws before it is taken.
    """

    name: str
    address: str
    patience_s: float = 7.0
    whole: bool = False


#: Longest wait for an answer of the browser.
PATIENCE_S = 90


def browser() -> str:
    """Return the browser that is installed; raises WorkspaceError without one."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise WorkspaceError("there is no chromium here; install it with: apt-get install chromium")


class Browser:
    """A chromium without a window, driven over its own protocol; `with` ends it."""

    def __enter__(self) -> "Browser":
        self._home = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run",
             "--force-device-scale-factor=1", f"--user-data-dir={self._home.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = Path(self._home.name) / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not told.is_file() or not told.read_text().strip():
            if time.monotonic() > deadline:
                raise WorkspaceError(f"{browser()} did not start within 60 s.")
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{told.read_text().split()[0]}/json",
                                    timeout=30) as answer:
            address = next(one["webSocketDebuggerUrl"] for one in json.load(answer)
                           if one["type"] == "page")
        self._socket, self._asked = websocket.create_connection(address, timeout=PATIENCE_S), 0
        return self

    def __exit__(self, *failure: object) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait(timeout=30)
        with contextlib.suppress(OSError):  # a helper of it may still write there
            self._home.cleanup()

    def ask(self, method: str, **values: object) -> dict:
        """Call a method of the protocol and return its answer."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": values}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._asked:
                if "error" in told:
                    raise FtzardError(f"{method}: {told['error']['message']}")
                return told["result"]

    def show(self, address: str, patience_s: float) -> None:
        """Open a page and let it draw itself."""
        self._size(*WIDE)  # a graph is laid out for the window that it is first drawn in
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=address)
        time.sleep(patience_s)

    def _size(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=width < 500)

    def take(self, file: Path, size: tuple[int, int], *, dark: bool = False,
             whole: bool = False) -> None:
        """Write a picture of the page at this width, in light or dark; whole: down to its end."""
        width, height = size
        self.ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self._size(width, height)
        time.sleep(1.5)
        if whole:
            content = self.ask("Page.getLayoutMetrics")["cssContentSize"]["height"]
            self._size(width, int(content))
            time.sleep(0.5)
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))
        small(file)


def small(file: Path) -> None:
    """Write a PNG with 256 colours, a third of its size; pages have few."""
    from PIL import Image

    with Image.open(file) as picture:
        picture.convert("RGB").quantize(256).save(file, optimize=True)


@contextlib.contextmanager
def served(workspace: Workspace) -> Iterator[None]:
    """Serve Dagster's pages and MLflow's while the block lasts; no sensor starts anything."""
    host = "127.0.0.1"
    ports = {page: services.port_for(workspace, page, host, None)
             for page in (addresses.DAGSTER, addresses.MLFLOW)}
    addresses.remember(workspace, {page: (host, number) for page, number in ports.items()})
    commands = {"webserver": services.webserver(workspace, host, ports[addresses.DAGSTER]),
                "mlflow": services.mlflow(workspace, host, ports[addresses.MLFLOW])}
    with services.serving(workspace, commands) as started:
        for name, number in zip(commands, ports.values(), strict=True):
            services.wait_for_answer(host, number, name, started[name])
        deadline = time.monotonic() + 180
        while not loaded(addresses.address(workspace, addresses.DAGSTER)):
            if time.monotonic() > deadline:
                raise WorkspaceError("Dagster has not loaded the code location within 180 s; see "
                                     ".ftzard/logs/webserver.log.")
            time.sleep(1)
        yield


def loaded(dagster: str) -> bool:
    """Return whether Dagster's web server knows the jobs."""
    request = urllib.request.Request(
        f"{dagster}/graphql", headers={"Content-Type": "application/json"},
        data=json.dumps({"query": DAGSTER_READY}).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bool(json.load(answer)["data"]["repositoriesOrError"].get("nodes"))


def pages(workspace: Workspace) -> list[Page]:
    """Return the pages of a workspace that has run the training job."""
    from dagster import DagsterInstance, RunsFilter

    config = workspace.config()
    tracking = runs.opened(workspace.mlflow_uri, config.tracking.experiment)
    if tracking is None:
        raise WorkspaceError(f"{workspace.root} has no run yet; run 'ftzard demo' first.")
    dagster = addresses.address(workspace, addresses.DAGSTER)
    mlflow = addresses.address(workspace, addresses.MLFLOW)
    with DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        run = instance.get_runs(RunsFilter(job_name="training_pipeline_job"), limit=1)[0].run_id
    name = config.tracking.registered_model
    newest = registry.versions(tracking, name)[-1].number
    top = next(found for found in runs.children(tracking, level=runs.TOP)
               if found.info.run_name in ("EVALUATION", "CHOOSE_BEST_MODEL"))
    child = runs.children(tracking, status="FINISHED", parent=top.info.run_id)[0]
    location = "locations/__repository__@ftzard.definitions"
    here = [
        Page("dagster-job", f"{dagster}/{location}/jobs/training_pipeline_job"),
        Page("dagster-job-runs", f"{dagster}/{location}/jobs/training_pipeline_job/runs"),
        Page("dagster-launchpad", f"{dagster}/{location}/jobs/training_pipeline_job/playground"),
        Page("dagster-run", f"{dagster}/runs/{run}"),
        Page("dagster-timeline", f"{dagster}/overview/activity/timeline"),
        Page("dagster-asset", f"{dagster}/assets/cleaned?view=overview"),
        Page("dagster-lineage", f"{dagster}/asset-groups"),
        Page("dagster-catalog", f"{dagster}/assets"),
        Page("mlflow-start", f"{mlflow}/"),
        Page("mlflow-run", addresses.mlflow_run(mlflow, tracking.experiment_id,
                                                child.info.run_id)),
        Page("mlflow-step", addresses.mlflow_run(mlflow, tracking.experiment_id,
                                                 top.info.run_id)),
        Page("mlflow-model", addresses.mlflow_model(mlflow, name)),
        Page("mlflow-version", addresses.mlflow_model(mlflow, name, newest)),
        Page("report", workspace.report.as_uri(), 3.0, whole=True)]
    compared = workspace.root / "reports" / "compare.html"
    if compared.is_file():
        here = [*here, Page("comparison", compared.as_uri(), 3.0, whole=True)]
    return here


def terminal(workspace: Workspace, out: Path) -> None:
    """Take what the commands print in a terminal of 80 columns, as SVG and as text."""
    environment = {**os.environ, "COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    for command in COMMANDS:
        where = [] if command == ("--help",) else ["-w", str(workspace.root)]
        done = subprocess.run([services.tool("ftzard"), *command, *where], env=environment,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        name = "terminal-" + "-".join(part.strip("-") for part in command)
        console = Console(record=True, width=80, file=open(os.devnull, "w"))
        console.print(Text.from_ansi(done.stdout))
        console.save_svg(str(out / f"{name}.svg"), title=f"ftzard {' '.join(command)}")


def variants(only: str | None) -> Mapping[str, dict]:
    """Return how each page is taken, by what is added to the name of its picture."""
    every = {"": {"size": WIDE}, "-dark": {"size": WIDE, "dark": True}, "-390": {"size": NARROW}}
    return every if only is None else {key: how for key, how in every.items()
                                       if key.strip("-") == only}


def take_variants(page: Page, out: Path, only: str | None) -> None:
    """Take a page in a browser of its own: one that hangs does not stop the others."""
    with Browser() as shown:
        shown.show(page.address, page.patience_s)
        for suffix, how in variants(only).items():
            shown.take(out / f"{page.name}{suffix}.png", **how, whole=page.whole)
            print(out / f"{page.name}{suffix}.png", flush=True)


def main() -> None:
    """Take all pictures of a workspace."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("workspace", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--only", help="only pages whose name matches this")
    asked.add_argument("--variant", choices=["", "dark", "390"], help="only this of the three")
    told = asked.parse_args()
    browser()
    workspace = find(told.workspace)
    told.out.mkdir(parents=True, exist_ok=True)
    out = told.out.resolve()
    missing = []
    with served(workspace):
        for page in pages(workspace):
            if told.only and not re.search(told.only, page.name):
                continue
            try:
                take_variants(page, out, told.variant)
            except websocket.WebSocketTimeoutException:
                missing.append(page.name)
    if not told.only:
        terminal(workspace, out)
        for name, of in (("dag", "dagster-job"), ("report", "report")):
            if of not in missing:
                shutil.copyfile(out / f"{of}.png", out / f"{name}.png")
    if missing:
        raise WorkspaceError(f"the browser did not draw {', '.join(missing)} in {PATIENCE_S} s; "
                             "try again on an idle machine with --only NAME.")


if __name__ == "__main__":
    try:
        main()
    except FtzardError as error:
        sys.exit(f"✗ {error}")
