"""User administration of a team's MLflow server.

MLflow's own client for this loads the whole server; this module sends the requests itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import MlflowHostCreds, http_request

from ftzard.errors import TrackingError, nearest
from ftzard.tracking.store import kind, sentence

#: What may be granted, as MLflow calls it; to write runs takes 'edit', to move aliases 'manage'.
PERMISSIONS = {"read": "READ", "edit": "EDIT", "manage": "MANAGE", "none": None}
ADMINISTRATOR = "admin"
SHORTEST_PASSWORD = 12

_API, _API_3 = "/api/2.0/mlflow", "/api/3.0/mlflow"


@dataclass(frozen=True)
class Login:
    """A user and the server. The password is not shown."""

    uri: str
    user: str
    password: str = field(repr=False)


def require_password(password: str, of: str) -> str:
    """Return a password that MLflow accepts; raises TrackingError for another.

    MLflow wants twelve characters; what others than ASCII are sent as, clients do not agree on.
    """
    if len(password) < SHORTEST_PASSWORD or not password.isascii() or not password.isprintable():
        raise TrackingError(
            f"the password of '{of}' has {len(password)} characters"
            f"{'' if password.isascii() else ', some of them not ASCII'}; MLflow takes "
            f"{SHORTEST_PASSWORD} or more printable ASCII characters.")
    return password


def add(login: Login, name: str, password: str) -> None:
    """Create a user, who may create experiments and models and sees those of nobody else."""
    if not name or ":" in name or not name.isascii() or not name.isprintable():
        raise TrackingError(f"'{name}' cannot be a user's name; expected printable ASCII "
                            "characters without ':'.")
    _ask(login, "POST", f"{_API}/users/create",
         {"username": name, "password": require_password(password, name)})


def set_password(login: Login, name: str, password: str) -> None:
    """Set a user's password; an administrator may for everybody, a user for themselves."""
    body = {"username": name, "password": require_password(password, name)}
    if name == login.user:
        body["current_password"] = login.password
    _ask(login, "PATCH", f"{_API}/users/update-password", body)


@dataclass(frozen=True)
class Grant:
    """A permission of a user on a thing.

    Attributes:
        kind: 'experiment', 'registered model' or what else MLflow knows.
        name: Of the thing.
        permission: As `PERMISSIONS` calls it, or MLflow's own word.
    """

    kind: str
    name: str
    permission: str

    def __str__(self) -> str:
        return f"{self.permission} {self.kind} {self.name}"

    @property
    def target(self) -> dict[str, str] | None:
        """The argument of `grant` for the thing; None for a kind that it does not grant."""
        key = {"experiment": "experiment", "registered model": "model"}.get(self.kind)
        return None if key is None else {key: self.name}


@dataclass(frozen=True)
class User:
    """A user of the server, whether an administrator, and what was granted, by name."""

    name: str
    administrator: bool
    grants: tuple[Grant, ...]

    @property
    def owns(self) -> list[Grant]:
        """What the user manages; the creator of an experiment or a model may manage it."""
        return [g for g in self.grants if g.permission == "manage"]


def listing(login: Login) -> list[User]:
    """Return the server's users by name, with their permissions; for an administrator."""
    users = _ask(login, "GET", f"{_API}/users/list", {})["users"]
    names: dict[str, str] = {}
    return [_user(login, u["username"], names) for u in sorted(users, key=lambda u: u["username"])]


def of(login: Login, name: str) -> User:
    """Return a user; raises TrackingError for an unknown name."""
    _ask(login, "GET", f"{_API}/users/get", {"username": name})
    return _user(login, name, {})


def delete(login: Login, name: str) -> None:
    """Delete a user and their permissions; what they created stays on the server."""
    _ask(login, "DELETE", f"{_API}/users/delete", {"username": name})


def _user(login: Login, name: str, names: dict[str, str]) -> User:
    """names: what is known of experiments by id; it is added to."""
    permissions = _ask(login, "GET", f"{_API_3}/users/permissions/list", {"username": name})
    words = {value: word for word, value in PERMISSIONS.items()}
    grants = []
    for row in permissions["permissions"]:
        kind_, thing = row["resource_type"], row["resource_pattern"]
        if kind_ == "experiment":
            if thing not in names:
                answer = _ask(login, "GET", f"{_API}/experiments/get", {"experiment_id": thing},
                              missing=True)
                names[thing] = answer.get("experiment", {}).get("name", f"with the id {thing}")
            thing = names[thing]
        grants.append(Grant(kind_.replace("_", " "), thing,
                            words.get(row["permission"], row["permission"].lower())))
    return User(name, permissions["is_admin"], tuple(sorted(grants, key=str)))


def grant(login: Login, name: str, *, experiment: str | None = None, model: str | None = None,
          permission: str) -> None:
    """Set a user's permission on an experiment or a registered model (none removes it).

    Raises TrackingError for a permission, an experiment or a model that does not exist.
    """
    if (experiment is None) == (model is None):
        raise TrackingError("expected either an experiment or a registered model, by its name.")
    if permission not in PERMISSIONS:
        raise TrackingError(f"there is no permission '{permission}'"
                            f"{nearest(permission, PERMISSIONS)}")
    if experiment is not None:
        answer = _ask(login, "GET", f"{_API}/experiments/get-by-name",
                      {"experiment_name": experiment})
        target = ("experiment", answer["experiment"]["experiment_id"])
    else:
        _ask(login, "GET", f"{_API}/registered-models/get", {"name": model})
        target = ("registered_model", model)
    what = {"username": name, "resource_type": target[0], "resource_id": target[1]}
    _ask(login, "GET", f"{_API}/users/get", {"username": name})
    # A permission is not changed, it is taken away and given.
    _ask(login, "POST", f"{_API_3}/users/permissions/revoke", what, missing=True)
    wanted = PERMISSIONS[permission]
    if wanted is not None:
        _ask(login, "POST", f"{_API_3}/users/permissions/grant", {**what, "permission": wanted})


def _ask(login: Login, method: str, endpoint: str, values: Mapping[str, str], *,
         missing: bool = False) -> dict:
    """Return the server's answer; raises TrackingError for anything but success.

    missing: whether it is fine if the thing is not there.
    """
    payload = {"params": values} if method == "GET" else {"json": values}
    try:
        answer = http_request(
            MlflowHostCreds(login.uri, username=login.user, password=login.password), endpoint,
            method, max_retries=0, raise_on_status=False, **payload)
    except (MlflowException, OSError) as error:
        raise TrackingError(sentence(kind(error), error, login.uri, endpoint, 0)) from error
    if answer.status_code == HTTPStatus.OK or (
            missing and answer.status_code == HTTPStatus.NOT_FOUND):
        return answer.json() if answer.content else {}
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise TrackingError(
            f"{login.uri} refused the password of '{login.user}'; expected that of an "
            "administrator. Set MLFLOW_AUTH_ADMIN_PASSWORD (and MLFLOW_AUTH_ADMIN_USERNAME) in "
            "the environment or in .env, or leave them out and be asked.")
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise TrackingError(f"{login.uri} looks at no password of '{login.user}' for a while, "
                            "after several wrong ones. Try again in a minute.")
    if answer.status_code == HTTPStatus.FORBIDDEN:
        raise TrackingError(f"{login.uri} does not permit '{login.user}' to do this; expected an "
                            "administrator of the server.")
    raise TrackingError(f"{login.uri} refused: {_message(answer)}")


def _message(answer) -> str:
    try:
        return answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason}; is it an MLflow server with users?"


def knows(login: Login) -> bool:
    """Return whether the server takes a name and password; raises TrackingError if it is down."""
    try:
        answer = http_request(
            MlflowHostCreds(login.uri, username=login.user, password=login.password),
            f"{_API}/users/current", "GET", max_retries=0, raise_on_status=False)
    except (MlflowException, OSError) as error:
        raise TrackingError(sentence(kind(error), error, login.uri, _API, 0)) from error
    if answer.status_code == HTTPStatus.OK:
        return True
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return False
    raise TrackingError(f"{login.uri} did not say whether it knows '{login.user}': "
                        f"{_message(answer)}")
