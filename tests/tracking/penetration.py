"""Attacks on a team's server: every route of the installed MLflow, by everybody, with every trick.

What a server decides is held against what it is for: nobody reads or changes what is somebody
else's, and no user says where the server writes or reads files. `python -m
tests.tracking.penetration` starts a server of its own and writes bench/results/penetration.json.
"""

import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

from ftzard.orchestration import mlflow_server as team_server
from ftzard.tracking import runs, team_routes
from tests.tracking.team import ADMIN, Team, end, free_port, start, until_it_serves

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "penetration.json"
#: What a server tells anybody: that it is well, how it is set up, and the pages' own scripts.
PUBLIC = re.compile(r"/health|/(ajax-)?api/3\.0/mlflow/server-info|/static-files/<path:.*>")
REFUSED = (401, 403, 404, 405, 429)
#: Names under which MLflow, or a reader of its protocol, might be told where files are.
LOCATION_FIELDS = ("artifact_location", "artifactLocation", "artifact_uri", "artifactUri",
                   "default_artifact_root", "storage_location", "storageLocation", "root_uri",
                   "artifact_path", "location", "destination", "uri")
_ROUTES = """
import json
from mlflow.server.auth import create_app
app = create_app()
from mlflow.server import app as flask
found = {(method, str(rule)) for rule in flask.url_map.iter_rules() for method in rule.methods}
def walk(routes, prefix=""):
    for route in routes:
        if getattr(route, "methods", None):
            found.update((method, prefix + route.path) for method in route.methods)
        inner = getattr(route, "original_router", None)
        if inner is not None:
            walk(inner.routes, prefix + (route.include_context.prefix or ""))
walk(app.routes)
print(json.dumps(sorted(found)))
"""
_READABLE = ("param", "tag", "text", "note", "version", "model", "experiment")


def routes_of(team: Team) -> list[tuple[str, str]]:
    """Return every (method, route) that this MLflow serves with logins, by its own tables."""
    made = team_server.plan(team.folder, host="127.0.0.1", port=5000)
    done = subprocess.run(
        [sys.executable, "-c", _ROUTES], text=True, capture_output=True, cwd=team.home,
        env={**made.environment, "_MLFLOW_SGI_NAME": "uvicorn",
             "_MLFLOW_SERVER_FILE_STORE": made.backend, "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
             "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1]})
    assert done.returncode == 0, done.stderr
    return [tuple(route) for route in json.loads(done.stdout.splitlines()[-1])]


def belongings(team: Team, name: str) -> dict[str, str]:
    """Let a user make a run, an artifact and a model; return their ids and words.

    The words are such that nobody else may read them.
    """
    words = {word: f"only-{name}-{word}" for word in _READABLE}
    team.add(name)
    with team.logged_in(name):
        tracking = runs.connect(team.uri, f"{name}_experiment", artifacts=team.home / "unused",
                                lock=team.home / f"{name}.lock")
        parent = runs.top_level(tracking, "HP_TUNING", team.home / f"{name}.lock")
        run = runs.start_child(tracking, parent, {"said": words["tag"]})
        run.params({"word": words["param"]})
        run.metrics({f"only_{name}_metric": 0.123456})
        run.text(words["text"], "secret.txt")
        run.tags({"mlflow.note.content": words["note"]})
        run.end()
        client = tracking.client
        client.set_experiment_tag(tracking.experiment_id, "said", words["experiment"])
        model = f"{name.capitalize()}Model"
        client.create_registered_model(model, tags={"said": words["model"]})
        client.create_model_version(model, f"runs:/{run.id}/model", run_id=run.id,
                                    tags={"said": words["version"]})
        client.set_registered_model_alias(model, "champion", "1")
    return {"name": name, "experiment": tracking.experiment_id, "run": run.id,
            "parent": parent.id, "model": model, **{f"word_{k}": v for k, v in words.items()}}


def artifact(mine: dict[str, str]) -> str:
    return f"{mine['experiment']}/{mine['run']}/artifacts/secret.txt"


def filled(path: str, mine: dict[str, str]) -> str:
    """Return a route's path with what is somebody's in its gaps."""
    known = {"run_id": mine["run"], "artifact_path": artifact(mine), "name": mine["model"],
             "version": "1", "alias": "champion", "key": "said", "tag_key": "said",
             "path": "secret.txt", "filename": "secret.txt"}

    def gap(match: re.Match) -> str:
        converter, _, name = match[1].rpartition(":")
        name = converter if match[0].startswith("{") and converter else name
        return known.get(name, "1")

    return re.sub(r"<([^>]+)>", gap, re.sub(r"\{([^}]+)\}", gap, path))


def aimed(mine: dict[str, str]) -> dict:
    """Return the fields of all routes at once, aimed at what is somebody's."""
    return {
        "experiment_id": mine["experiment"], "experiment_ids": [mine["experiment"]],
        "experiment_name": f"{mine['name']}_experiment", "run_id": mine["run"],
        "run_uuid": mine["run"], "run_ids": [mine["run"]], "name": mine["model"], "version": "1",
        "alias": "champion", "key": "said", "value": "overwritten",
        "metric_key": f"only_{mine['name']}_metric", "path": "secret.txt",
        "username": mine["name"], "password": "chosen-by-somebody-else", "is_admin": True,
        "resource_type": "experiment", "resource_id": mine["experiment"], "permission": "MANAGE",
        "new_name": "Mine", "description": "overwritten", "source": f"runs:/{mine['run']}/model",
        "tags": [{"key": "said", "value": "overwritten"}], "max_results": 100, "timestamp": 1,
        "status": "FAILED", "role_id": 1, "request_id": "1", "trace_id": "1",
        "locations": [{"type": "MLFLOW_EXPERIMENT",
                       "mlflow_experiment": {"experiment_id": mine["experiment"]}}],
        "query": "query($id: String) { mlflowGetRun(input: {runId: $id}) { run { data { params { "
                 "key value } } } } }", "variables": {"id": mine["run"]},
    }


def fitting(method: str, path: str, mine: dict[str, str]) -> dict:
    """Return the fields that a route is attacked with: all of them if it is closed, else its own,
    so that not a field but the permission decides."""
    found = team_routes.route(method, filled(path, mine))
    return {key: value for key, value in aimed(mine).items()
            if found is None or key in found.fields}


def request(team: Team, method: str, path: str, values: dict, login: str | None,
            **more) -> tuple[int, bytes]:
    """Ask a route, with values in the query and, where there is one, in the body."""
    body = values if method in ("POST", "PUT", "PATCH", "DELETE") else None
    query = urlencode({k: v for k, v in values.items() if isinstance(v, str)})
    return team.ask(method, f"{path}?{query}" if query else path, login, body, **more)


def told(answer: bytes, mine: dict[str, str]) -> bool:
    """Return whether an answer holds what only its owner may read."""
    name = mine["name"]
    return any(word in answer for word in
               (f"only-{name}".encode(), f"only_{name}".encode(), mine["run"].encode()))


# What is attacked, and what is found open


def strangers(team: Team, routes: list[tuple[str, str]], mine: dict[str, str], login: str | None,
              address: str) -> Iterator[dict]:
    """Attack every route with what is somebody's, without a login or with one that is none."""
    for method, path in routes:
        status, said = request(team, method, filled(path, mine), fitting(method, path, mine),
                               login, address=address)
        yield {"role": "nobody", "trick": "wrong login" if login else "no login",
               "route": f"{method} {path}", "status": status,
               "open": told(said, mine) or not PUBLIC.fullmatch(path) and status not in REFUSED}


def another(team: Team, routes: list[tuple[str, str]], mine: dict[str, str], user: str
            ) -> Iterator[dict]:
    """Attack every route with what is somebody's, as another user."""
    for method, path in routes:
        if method in ("HEAD", "OPTIONS"):
            continue
        place = filled(path, mine)
        status, said = request(team, method, place, fitting(method, path, mine), team.basic(user))
        closed = team_routes.route(method, place) is None and not PUBLIC.fullmatch(path)
        yield {"role": "another user", "trick": "what is not theirs", "route": f"{method} {path}",
               "status": status,
               "open": told(said, mine) or closed and status not in REFUSED}


def closed_to_all(team: Team, routes: list[tuple[str, str]], mine: dict[str, str]
                  ) -> Iterator[dict]:
    """Ask what is not on the list, as the owner of what is asked for and as the administrator."""
    for role, login in (("owner", team.basic(mine["name"])), ("administrator",
                                                               team.basic(*ADMIN))):
        for method, path in routes:
            place = filled(path, mine)
            if method not in ("HEAD", "OPTIONS") and not PUBLIC.fullmatch(path) and (
                    team_routes.route(method, place) is None):
                status, _ = request(team, method, place, {}, login)
                yield {"role": role, "trick": "a route that is not on the list",
                       "route": f"{method} {path}", "status": status,
                       "open": status not in REFUSED}


def misplacing(team: Team, routes: list[tuple[str, str]], mine: dict[str, str], outside: Path
               ) -> Iterator[dict]:
    """Try, as the owner, to say where files are: with every route that writes, in every way."""
    login, at = team.basic(mine["name"]), f"file://{outside}"
    for method, path in routes:
        found = team_routes.route(method, filled(path, mine))
        if method not in ("POST", "PATCH") or found is None or "/ajax-api/" in path:
            continue
        own = {**fitting(method, path, mine), "name": f"placed{time.time_ns()}"}
        own = {key: value for key, value in own.items() if key in found.fields}
        for name in LOCATION_FIELDS:
            if name in found.fields:
                continue
            body, place = own | {name: at}, filled(path, mine)
            ways = {"a field of the body": lambda: team.ask(method, place, login, body),
                    "JSON in JSON": lambda: team.ask(method, place, login, json.dumps(body)),
                    "a field of the query": lambda: team.ask(
                        method, f"{place}?{urlencode({name: at})}", login, own)}
            for trick, ask in ways.items():
                status, _ = ask()
                yield {"role": "owner", "trick": f"{trick}: {name}", "route": f"{method} {path}",
                       "status": status, "open": status not in REFUSED}


def sources(team: Team, mine: dict[str, str], theirs: dict[str, str], outside: Path
            ) -> Iterator[dict]:
    """Try, as the owner of a model, to make versions of what is not a run's own."""
    mark = f"{theirs['experiment']}/{theirs['run']}/artifacts"
    for source in (
            f"file://{outside}", str(outside), f"{outside}/../x", "s3://somebody/else",
            "http://127.0.0.1:9/x", "ftp://127.0.0.1/x", "hdfs://x/y", "dbfs:/x", "gs://x/y",
            f"runs:/{theirs['run']}/model", f"runs://elsewhere/{mine['run']}/model",
            f"runs:/{mine['run']}/../../x", f"models:/{theirs['model']}/1",
            f"mlflow-artifacts:/{mark}", f"mlflow-artifacts:/{mark}/%2e%2e/x",
            f"mlflow-artifacts://127.0.0.1/{mark}", "mlflow-artifacts:/../../x",
            f"{team.uri}/api/2.0/mlflow-artifacts/artifacts/{mark}", "dummy-source", ""):
        for run in (mine["run"], ""):
            status, _ = team.ask("POST", "/api/2.0/mlflow/model-versions/create",
                                 team.basic(mine["name"]),
                                 {"name": mine["model"], "source": source, "run_id": run})
            yield {"role": "owner", "trick": f"source {source.split('/')[0] or 'empty'}",
                   "route": "POST /api/2.0/mlflow/model-versions/create", "status": status,
                   "open": status not in (*REFUSED, 400)}


def paths(team: Team, mine: dict[str, str], theirs: dict[str, str]) -> Iterator[dict]:
    """Try to reach other files through the addresses of one's own."""
    own = f"{mine['experiment']}/{mine['run']}/artifacts"
    other = f"{theirs['experiment']}/{theirs['run']}/artifacts/secret.txt"
    tries = (other, f"{own}/../../../{other}", f"{own}/%2e%2e/%2e%2e/%2e%2e/{other}",
             f"{own}/%252e%252e/{other}", f"{own}/..%2f..%2f..%2f{quote(other, safe='')}",
             f"{own}//../../../../login.ini", f"{own}/..\\..\\login.ini", "../login.ini",
             "%2fetc%2fpasswd", "/etc/passwd", f"{own}/%00", "..", theirs["experiment"],
             f"{own}%23/../../../{other}", f"{own}%3f/../../../{other}", "login.ini",
             f"{theirs['experiment']}/traces/tr-1/artifacts/x", "session.key", "../mlflow.db")
    login = team.basic(mine["name"])
    for api in ("/api/2.0", "/ajax-api/2.0"):
        for path in tries:
            for method in ("GET", "PUT", "DELETE"):
                status, said = team.ask(method, f"{api}/mlflow-artifacts/artifacts/{path}", login,
                                        "mine" if method == "PUT" else None)
                yield _path_tried(method, "the files' own routes", path, status, said, theirs)
            status, said = team.ask(
                "GET", f"{api}/mlflow-artifacts/artifacts?path={path}", login)
            yield _path_tried("GET", "their listing", path, status, said, theirs)
            for route, key in (("/get-artifact", "run_uuid"), ("/get-artifact", "run_id")):
                status, said = team.ask("GET", f"{route}?{key}={mine['run']}&path={path}", login)
                yield _path_tried("GET", route, path, status, said, theirs)


def _path_tried(method: str, what: str, path: str, status: int, said: bytes,
                theirs: dict[str, str]) -> dict:
    seen = told(said, theirs) or any(word in said for word in
                                     (b"NO_PERMISSIONS", b"root:", b"SQLite format"))
    return {"role": "another user", "trick": f"a path to {what}", "status": status,
            "route": f"{method} {path}", "open": seen or status < 400 and method != "GET"}


def stored_before(team: Team, mine: dict[str, str], outside: Path) -> Iterator[dict]:
    """Let the database hold addresses that an earlier version took; ask for what is there."""
    (outside / "there.txt").write_text("only-the-server-reads-this")
    login = team.basic(mine["name"])
    before = _addresses_of(team, mine["run"])
    for at in (f"file://{outside}", str(outside), "s3://somebody/else",
               "mlflow-artifacts:/../../outside", "mlflow-artifacts:/"):
        _place(team, mine["run"], at)
        for route in (f"/get-artifact?run_uuid={mine['run']}&path=there.txt",
                      f"/api/2.0/mlflow/artifacts/list?run_id={mine['run']}"):
            status, said = team.ask("GET", route, login)
            yield {"role": "owner", "trick": f"an address stored before: {at.split(':')[0]}",
                   "route": f"GET {route.split('?')[0]}", "status": status,
                   "open": status == 200 or b"only-the-server" in said or b"there.txt" in said}
        body = {"query": "query($id: String) { mlflowListArtifacts(input: {runId: $id}) { files { "
                         "path } } }", "variables": {"id": mine["run"]}}
        status, said = team.ask("POST", "/graphql", login, body)
        yield {"role": "owner", "trick": f"an address stored before: {at.split(':')[0]}",
               "route": "POST /graphql", "status": status, "open": b"there.txt" in said}
    _place(team, mine["run"], before)


def _addresses_of(team: Team, run: str) -> str:
    with sqlite3.connect(team.folder / "mlflow.db", timeout=30) as connection:
        return connection.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?",
                                  (run,)).fetchone()[0]


def _place(team: Team, run: str, at: str) -> None:
    with sqlite3.connect(team.folder / "mlflow.db", timeout=30) as connection:
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (at, run))


def misplaced(team: Team) -> list[str]:
    """Return every address in the server's database that it did not give itself."""
    found = []
    with sqlite3.connect(f"file:{team.folder / 'mlflow.db'}?mode=ro", uri=True) as connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"),
                              ("logged_models", "artifact_location"),
                              ("model_versions", "storage_location"), ("model_versions", "source")):
            for at, in connection.execute(f"SELECT {column} FROM {table}"):
                if not re.fullmatch(r"mlflow-artifacts:/\d+", at) and not (
                        team_routes.is_location(at) or team_routes.is_source(at)):
                    found.append(f"{table}.{column}: {at}")
    return found


def everything(team: Team, routes: list[tuple[str, str]], ada: dict[str, str],
               eve: dict[str, str], outside: Path) -> list[dict]:
    """Return what came of every attack. ada's is attacked; eve attacks; outside: an empty folder
    that the server may write to and shall not."""
    found = [*strangers(team, routes, ada, None, "127.0.0.2"),
             *strangers(team, routes, ada, team.basic("nobody", "of-nobody-at-all"), "127.0.0.3"),
             *another(team, routes, ada, eve["name"]),
             *closed_to_all(team, routes, eve),
             *misplacing(team, routes, eve, outside),
             *sources(team, eve, ada, outside), *paths(team, eve, ada)]
    wrong = [f"written outside: {path}" for path in outside.rglob("*")] + misplaced(team)
    found += stored_before(team, eve, outside)
    return found + [{"role": "owner", "trick": what, "route": "afterwards", "status": 0,
                     "open": True} for what in wrong]


def summary(found: list[dict]) -> dict:
    """Return the counts of attacks by role and trick, and each that was open."""
    tricks = Counter((f["role"], f["trick"].partition(":")[0]) for f in found)
    opened = Counter((f["role"], f["trick"].partition(":")[0]) for f in found if f["open"])
    return {"routes": len({f["route"] for f in found}), "requests": len(found),
            "open": [f for f in found if f["open"]],
            "attacks": [{"role": role, "trick": trick, "requests": count,
                         "open": opened[role, trick]}
                        for (role, trick), count in sorted(tricks.items())]}


def main() -> None:
    """Attack a server of our own and write what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port()
        (home / "outside").mkdir()
        process = start(home, port, MLFLOW_AUTH_ADMIN_PASSWORD=ADMIN[1])
        try:
            assert "Ctrl-C" in until_it_serves(process)
            team = Team(home, f"http://127.0.0.1:{port}")
            ada, eve = belongings(team, "ada"), belongings(team, "eve")
            said = summary(everything(team, routes_of(team), ada, eve, home / "outside"))
        finally:
            end(process)
    import mlflow

    RESULTS.write_text(json.dumps({"mlflow": mlflow.__version__, **said}, indent=1) + "\n")
    print(f"{said['requests']} requests, {len(said['open'])} open: {RESULTS}")


if __name__ == "__main__":
    main()
