"""What is open on a team's MLflow server: a list of routes, and of the fields that each may have.

MLflow serves several hundred routes, more with each version, and some of them let whoever may log
in say where files are written or read, or act as the server itself. So everything is closed that
does not stand here: what FTzard asks, and what MLflow's pages of experiments, runs and models ask.
No field here says where files are; that is for the server alone to decide.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

#: Method, path and fields of what everybody may ask; MLflow then looks for a permission.
#: `{id}` stands for one part of a path, `{path}` for all that is left of it.
_EVERYBODY = """
GET   /
GET   /version
GET   /get-artifact run_id run_uuid path
GET   /model-versions/get-artifact name version path
POST  /graphql query variables operationName
GET   mlflow/server-info
GET   mlflow/ui-telemetry
POST  mlflow/ui-telemetry records

GET   mlflow/users/current
GET   mlflow/users/current/permissions
GET   mlflow/users/get username
PATCH mlflow/users/update-password username password current_password

POST  mlflow/experiments/create name tags
GET   mlflow/experiments/get experiment_id
GET   mlflow/experiments/get-by-name experiment_name
GET   mlflow/experiments/search max_results page_token filter order_by view_type
POST  mlflow/experiments/search max_results page_token filter order_by view_type
POST  mlflow/experiments/update experiment_id new_name
POST  mlflow/experiments/delete experiment_id
POST  mlflow/experiments/restore experiment_id
POST  mlflow/experiments/set-experiment-tag experiment_id key value
POST  mlflow/experiments/delete-experiment-tag experiment_id key
POST  mlflow/experiments/search-datasets experiment_ids

POST  mlflow/runs/create experiment_id user_id run_name start_time tags
POST  mlflow/runs/update run_id run_uuid status end_time run_name
POST  mlflow/runs/delete run_id
POST  mlflow/runs/restore run_id
GET   mlflow/runs/get run_id run_uuid
POST  mlflow/runs/search experiment_ids filter run_view_type max_results order_by page_token
POST  mlflow/runs/log-metric run_id run_uuid key value timestamp step model_id dataset_name
      dataset_digest
POST  mlflow/runs/log-parameter run_id run_uuid key value
POST  mlflow/runs/log-batch run_id metrics params tags
POST  mlflow/runs/set-tag run_id run_uuid key value
POST  mlflow/runs/delete-tag run_id key
POST  mlflow/runs/log-inputs run_id datasets models
POST  mlflow/runs/outputs run_id models
POST  mlflow/runs/log-model run_id model_json
GET   mlflow/metrics/get-history run_id run_uuid metric_key page_token max_results
GET   mlflow/metrics/get-history-bulk run_id metric_key max_results
GET   mlflow/metrics/get-history-bulk-interval run_ids metric_key start_step end_step max_results

GET   mlflow/artifacts/list run_id run_uuid path page_token
GET   mlflow-artifacts/artifacts path
GET   mlflow-artifacts/artifacts/{path}
PUT   mlflow-artifacts/artifacts/{path}
DELETE mlflow-artifacts/artifacts/{path}

POST  mlflow/logged-models experiment_id name model_type source_run_id params tags
POST  mlflow/logged-models/search experiment_ids filter datasets max_results order_by page_token
GET   mlflow/logged-models/{id}
PATCH mlflow/logged-models/{id} model_id status
DELETE mlflow/logged-models/{id} model_id
POST  mlflow/logged-models/{id}/params model_id params
PATCH mlflow/logged-models/{id}/tags model_id tags
DELETE mlflow/logged-models/{id}/tags/{id} model_id tag_key
GET   mlflow/logged-models/{id}/artifacts/directories artifact_directory_path page_token
GET   mlflow/logged-models/{id}/artifacts/files artifact_file_path

POST  mlflow/registered-models/create name tags description
POST  mlflow/registered-models/rename name new_name
PATCH mlflow/registered-models/update name description
DELETE mlflow/registered-models/delete name
GET   mlflow/registered-models/get name
GET   mlflow/registered-models/search filter max_results order_by page_token
GET   mlflow/registered-models/get-latest-versions name stages
POST  mlflow/registered-models/get-latest-versions name stages
POST  mlflow/registered-models/set-tag name key value
DELETE mlflow/registered-models/delete-tag name key
GET   mlflow/registered-models/alias name alias
POST  mlflow/registered-models/alias name alias version
DELETE mlflow/registered-models/alias name alias
POST  mlflow/model-versions/create name source run_id tags run_link description model_id
PATCH mlflow/model-versions/update name version description
POST  mlflow/model-versions/transition-stage name version stage archive_existing_versions
DELETE mlflow/model-versions/delete name version
GET   mlflow/model-versions/get name version
GET   mlflow/model-versions/search filter max_results order_by page_token
GET   mlflow/model-versions/get-download-uri name version
POST  mlflow/model-versions/set-tag name version key value
DELETE mlflow/model-versions/delete-tag name version key
"""

#: Routes for administrators only, since they list the names of all users.
_ADMINISTRATORS = """
GET   mlflow/users/list
POST  mlflow/users/create username password is_admin
PATCH mlflow/users/update-admin username is_admin
DELETE mlflow/users/delete username
GET   mlflow/users/permissions/list username
GET   mlflow/users/permissions/get username resource_type resource_id resource_pattern
POST  mlflow/users/permissions/grant username resource_type resource_id permission
POST  mlflow/users/permissions/revoke username resource_type resource_id
"""

_API = re.compile(r"/(?:ajax-)?api/\d+\.\d+/")
#: What a file of a run, or of a model that was logged, is stored under below the server's folder.
_STORED = re.compile(r"[0-9]+/(?:[0-9a-f]{32}|models/m-[0-9a-f]{32})/artifacts(?:/.*)?", re.DOTALL)
_LOCATION = re.compile(r"mlflow-artifacts:/" + _STORED.pattern, re.DOTALL)
#: What a version of a registered model may be made of. All else the server would read as itself.
_SOURCE = re.compile(r"(?:runs|models):/[^/].*|" + _LOCATION.pattern, re.DOTALL)
_UPWARDS = re.compile(r"(?:^|/)\.\.(?:/|$)|[\\\x00-\x1f]")


@dataclass(frozen=True)
class Route:
    """An open route: its method, the pattern of its path, the fields it may have, and whether it
    is an administrator's only."""

    method: str
    path: str
    pattern: re.Pattern
    fields: frozenset[str]
    administrators: bool


def _routes() -> list[Route]:
    routes = []
    for table, administrators in ((_EVERYBODY, False), (_ADMINISTRATORS, True)):
        for line in filter(None, table.replace("\n ", " ").splitlines()):
            method, path, *fields = line.split()
            spelled = re.escape(path).replace(r"\{id\}", "[^/]+").replace(r"\{path\}", ".+")
            pattern = spelled if path.startswith("/") else _API.pattern + spelled
            routes.append(Route(method, path, re.compile(pattern, re.DOTALL), frozenset(fields),
                                administrators))
    return routes


ROUTES = _routes()


def route(method: str, path: str) -> Route | None:
    """Return the open route of a request, or None."""
    method = "GET" if method == "HEAD" else method
    return next((r for r in ROUTES if r.method == method and r.pattern.fullmatch(path)), None)


def refusal(route: Route, path: str, values: Mapping[str, object]) -> str | None:
    """Return why a request to an open route is refused, or None.

    Args:
        path: Of the request, decoded once.
        values: Its fields, of the query and of the body.
    """
    if unknown := sorted(set(values) - route.fields):
        return (f"the field '{unknown[0]}' is closed on this server; {route.path} takes: "
                f"{', '.join(sorted(route.fields)) or 'no fields'}. Where files are stored is "
                "decided by the server.")
    stored = None
    if route.path == "mlflow-artifacts/artifacts":
        stored = values.get("path")
    elif route.path.startswith("mlflow-artifacts/"):
        stored = path.partition("/mlflow-artifacts/artifacts/")[2]
    if route.path.startswith("mlflow-artifacts/") and not is_stored(stored):
        return ("this path is closed on this server; expected EXPERIMENT/RUN/artifacts/… of a run, "
                "or EXPERIMENT/models/MODEL/artifacts/… of a logged model.")
    if route.path == "mlflow/model-versions/create" and not is_source(values.get("source")):
        return ("this source of a version is closed on this server; expected runs:/RUN/…, "
                "models:/… or the mlflow-artifacts:/ address of a file of the run.")
    return None


def is_stored(path: object) -> bool:
    """Return whether a path below the server's folder is that of a run's or logged model's files.
    """
    return _all_match(path, _STORED)


def is_location(uri: object) -> bool:
    """Return whether an address is one that the server itself gives to the files of a run or of a
    logged model."""
    return _all_match(uri, _LOCATION)


def is_source(uri: object) -> bool:
    """Return whether a model version may be made of an address."""
    return _all_match(uri, _SOURCE)


def _all_match(text: object, pattern: re.Pattern) -> bool:
    """Return whether a text has a form, and leads nowhere else, however often it is decoded."""
    if not isinstance(text, str):
        return False
    while pattern.fullmatch(text) and not _UPWARDS.search(text):
        decoded = unquote(text)
        if decoded == text:
            return True
        text = decoded
    return False


def fields(query: Mapping[str, Sequence[str]], body: bytes) -> dict[str, object] | None:
    """Return the fields of a request, of its query and of its body.

    Text in JSON that is JSON itself is opened, as MLflow does. None for a body that is no object.

    Args:
        query: The values of each name; what stands there twice is a list.
    """
    values: dict[str, object] = {name: content[0] if len(content) == 1 else list(content)
                                 for name, content in query.items()}
    if not body.strip():
        return values
    try:
        content = json.loads(body)
        while isinstance(content, str):
            content = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if content is not None and not isinstance(content, dict):
        return None
    return values | (content or {})
