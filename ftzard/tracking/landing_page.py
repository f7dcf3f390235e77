"""MLflow's start page, so that a person who opens the bare address finds the training runs.

MLflow's pages have two sides and begin on the one for traces, where no run of a training is. The
start page that is served here chooses the other side, unless the person has chosen one before, and
goes to the table of runs, unless the address names a page itself. The assistant, which takes a
quarter of a first visit's window and needs an account of its own, waits until it is asked for. Run
as a module, this serves MLflow with it: EXPERIMENT, then the arguments of MLflow's own command.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from flask import Flask, Response

#: The variable that tells the process which serves pages whose table of runs to show.
EXPERIMENT = "FTZARD_MLFLOW_EXPERIMENT"
#: What makes the app, as uvicorn finds it.
APP = "ftzard.tracking.landing_page:create_app"
#: The side of MLflow's pages that is for training.
_TRAINING = "machine_learning"
#: What a browser that comes for the first time is to remember, by the keys of MLflow's pages: the
#: side, and that the assistant has opened by itself before.
_REMEMBERED = {"mlflow.workflowType_v1": json.dumps(_TRAINING),
               "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}

_SCRIPT = """<script>
(function () {
  try {
    var values = %(remembered)s;
    for (var key in values)
      if (localStorage.getItem(key) === null) localStorage.setItem(key, values[key]);
  } catch (error) { /* a browser that keeps nothing opens each page on its own side */ }
  var name = %(experiment)s, bare = function () { return location.hash.length < 3; };
  var go = function (page) { if (bare()) location.replace(page + "?workflowType=%(value)s"); };
  if (!bare()) return;
  if (name === null) return go("#/experiments");
  fetch("ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=" + encodeURIComponent(name))
    .then(function (answer) { return answer.ok ? answer.json() : null; })
    .then(function (found) {
      go(found ? "#/experiments/" + found.experiment.experiment_id + "/runs" : "#/experiments");
    });
})();
</script>"""


def script(experiment: str | None) -> str:
    """Return the script that the start page runs before MLflow's own pages.

    Args:
        experiment: Name of the experiment whose runs to show; None: the list of experiments.
    """
    named = json.dumps(experiment).replace("<", "\\u003c")  # a name ends no script
    return _SCRIPT % {"remembered": json.dumps(_REMEMBERED), "value": _TRAINING,
                      "experiment": named}


def install(app: Flask, experiment: str | None = None) -> None:
    """Make MLflow's app serve its start page with the script; repeated calls change nothing.

    Args:
        app: The Flask app of `mlflow.server`.
        experiment: As for `script`.
    """

    def serve() -> Response:
        page = Path(app.static_folder, "index.html").read_text(encoding="utf-8")
        page = page.replace("<head>", f"<head>{script(experiment)}", 1)
        return Response(page, mimetype="text/html", headers={"Cache-Control": "no-store"})

    app.view_functions["serve"] = serve


def create_app():
    """Return MLflow's app with the start page, for the process that serves it."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import app as served

    install(app, os.environ.get(EXPERIMENT))
    return served


def become(command: list[str], *, extra_env: Mapping[str, str], **_: object) -> NoReturn:
    """Replace this process with the server that MLflow would start and wait for.

    MLflow is imported by then; a process that only waits would hold 180 MB.
    """
    os.execve(command[0], command, {**os.environ, **extra_env})


def main() -> None:
    """Run MLflow's command: EXPERIMENT, then its arguments."""
    os.environ[EXPERIMENT] = sys.argv.pop(1)
    import mlflow.server
    from mlflow.cli import cli

    # MLflow takes another app from an installed entry point only; this one needs no installation.
    build = mlflow.server._build_uvicorn_command

    def build_ours(options, host, port, workers, app_name, env_file=None, is_factory=False):
        return build(options, host, port, workers, APP, env_file, is_factory=True)

    mlflow.server._build_uvicorn_command = build_ours
    mlflow.server._exec_cmd = become
    cli(sys.argv[1:], prog_name="mlflow")


if __name__ == "__main__":
    main()
