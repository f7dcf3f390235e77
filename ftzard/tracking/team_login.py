"""How a team's MLflow server lets people in: by MLflow's own login, and only where it is open.

Everybody who may log in is a user, not an administrator of the server's machine. So what is not on
the list of `team_routes` is closed for all: MLflow's assistant and gateway, which act as the
server, its jobs, and every way to say where files are. Whatever address was stored otherwise, by
an earlier version say, is not opened. MLflow loads this by the name in login.ini.
"""

import math
import time
from contextvars import ContextVar
from functools import wraps

from flask import Response, jsonify
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.server import auth, handlers

from ftzard.tracking import landing_page, team_routes
from ftzard.tracking.login_attempts import Attempts

#: Address and path of a request that FastAPI serves; MLflow hands on the path only, decoded again.
_served: ContextVar[tuple[str, str] | None] = ContextVar("served", default=None)
_attempts = Attempts(time.monotonic)
#: What is no part of a request's fields: the bytes of a file that is stored.
_FILES = ("PUT",)

landing_page.install(auth.app)


def authenticate():
    """Return the login of the current request, or the response that refuses it."""
    request = auth.request
    address, path = _served.get() or (request.remote_addr or "", request.path)
    route = team_routes.route(request.method, path)
    if route is None:
        return _refused(403, "this route is closed on this server.")
    authorization = request.authorization
    if authorization is None or authorization.type != "basic" or not (
            authorization.username and authorization.password):
        return auth.make_basic_auth_response()  # MLflow's own would stumble over another kind
    login = _login(authorization.username, address)
    if isinstance(login, Response):
        return login
    body = b"" if request.method in _FILES else request.get_data()
    values = team_routes.fields(request.args.to_dict(flat=False), body)
    if values is None:
        return _refused(400, "the body of the request is no JSON object.")
    if reason := team_routes.refusal(route, path, values):
        return _refused(403, reason)
    if route.administrators and not auth.store.get_user(authorization.username).is_admin:
        return _refused(403, "only an administrator of the server may ask this.")
    return login


def _login(account: str, address: str):
    """Return MLflow's answer to a login, unless there were too many wrong ones."""
    wait = _attempts.wait(account, address)
    if wait > 0:
        answer = _refused(429, "too many wrong passwords were tried; this one was not looked at. "
                               f"Try again in {math.ceil(wait)} s.")
        answer.headers["Retry-After"] = str(math.ceil(wait))
        return answer
    login = auth.authenticate_request_basic_auth()
    (_attempts.failed if isinstance(login, Response) else _attempts.succeeded)(account, address)
    return login


def _refused(status: int, sentence: str) -> Response:
    """Return a refusal that MLflow's clients understand."""
    codes = {400: "BAD_REQUEST", 403: "PERMISSION_DENIED", 429: "REQUEST_LIMIT_EXCEEDED"}
    answer = jsonify({"error_code": codes[status], "message": sentence})
    answer.status_code = status
    return answer


def _with_request(authenticate_custom):
    @wraps(authenticate_custom)
    def ask(request):
        host = request.client.host if request.client else ""
        token = _served.set((host, request.scope["path"]))
        try:
            return authenticate_custom(request)
        finally:
            _served.reset(token)

    return ask


def _not_opened(uri: str, *_: object):
    raise MlflowException(
        "the address of these files is none that this server gave; it is not opened.",
        PERMISSION_DENIED)


def _only_own(resolve):
    """Make the server resolve only addresses that it issued itself."""
    @wraps(resolve)
    def resolved(root: str, relative_path: str | None = None):
        if not team_routes.is_location(root):
            _not_opened(root)
        return resolve(root, relative_path)

    return resolved


# Every address that this server gives begins with mlflow-artifacts:/ and is resolved by the second
# of these; the first opens all others, with the rights of the server.
handlers._get_artifact_repository_for_uri = _not_opened
handlers._get_proxied_run_artifact_destination_path = _only_own(
    handlers._get_proxied_run_artifact_destination_path)
auth._authenticate_custom_for_fastapi = _with_request(auth._authenticate_custom_for_fastapi)
