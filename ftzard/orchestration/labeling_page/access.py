"""Who may use the labeling page, and which requests are this page's own.

On this machine a person says their name; beyond it they log in with the name and password of the
team's MLflow server. A browser keeps a random token in a cookie that no script and no other site's
request can use; the store has its hash. Requests that change something carry a token made from it
and must come from this page; requests under another host's name are refused, since a page
elsewhere could have pointed its own name here.
"""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from ftzard.core.text import normalize_instruction
from ftzard.data.labeling.answer_store import AnswerStore
from ftzard.errors import FtzardError, WorkspaceError
from ftzard.tracking.login_attempts import Attempts

COOKIE = "ftzard_label"
#: How long a login lasts.
LOGIN_S = 12 * 3600.0
LONGEST_NAME = 60
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Refused(FtzardError):
    """A request that is not answered.

    status: of the response.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Visitor:
    """Who asks: a name, and the token that this page's own forms carry."""

    person: str
    form_token: str


class Access:
    """The door of the page.

    Args:
        store: Keeps logins.
        check_password: Returns whether a name and password are those of a user of the team's
            server; None where no login is asked for.
        host_names: Names under which the page is served besides this machine's loopback.
        any_address: Whether the page may be asked for under any IP address, as it listens on all.
    """

    def __init__(self, store: AnswerStore, check_password: Callable[[str, str], bool] | None = None,
                 host_names: Collection[str] = (), any_address: bool = False) -> None:
        self.store, self.check_password = store, check_password
        self._names = {*_LOOPBACK, *(name.casefold() for name in host_names)}
        self._any_address = any_address
        self._attempts = Attempts(time.monotonic)

    def require_own_host(self, request: Request) -> None:
        """Refuse a request under a name that is not this page's, or sent by another site."""
        host = request.headers.get("host", "")
        if not self._own(_host_name(f"//{host}")):
            raise Refused(421, "this page is not served under that name; expected the address that "
                               "'ftzard label --web' printed. Another name can be given with "
                               "--name.")
        origin = request.headers.get("origin")
        if request.method != "GET" and origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "the request comes from another site; nothing was changed.")

    def _own(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address

    def visitor(self, request: Request) -> Visitor | None:
        """Return who asks, or None for somebody who has not logged in or whose login has ended."""
        token = request.cookies.get(COOKIE, "")
        person = self.store.logged_in(_hashed(token)) if token else None
        return None if person is None else Visitor(person, form_token(token))

    def require_form_token(self, request: Request, given: str) -> None:
        """Refuse a form that this page did not make for this visitor."""
        token = request.cookies.get(COOKIE, "")
        if not token or not hmac.compare_digest(form_token(token), given):
            raise Refused(403, "this form is not of this login; nothing was changed. Load the page "
                               "again.")

    def enter(self, request: Request, name: str, password: str) -> str:
        """Log a person in; returns the token for the cookie.

        Raises:
            Refused: For a name that is none or a wrong password.
        """
        name = " ".join(normalize_instruction(name).split())
        if not name or len(name) > LONGEST_NAME:
            raise Refused(422, f"a name has 1 to {LONGEST_NAME} characters.")
        if self.check_password is not None:
            self._require_password(name, password,
                                   request.client.host if request.client else "")
        token = secrets.token_urlsafe(32)
        self.store.log_in(_hashed(token), name, LOGIN_S)
        return token

    def leave(self, request: Request) -> None:
        """End the visitor's login."""
        self.store.log_out(_hashed(request.cookies.get(COOKIE, "")))

    def _require_password(self, name: str, password: str, address: str) -> None:
        wait = self._attempts.wait(name, address)
        if wait > 0:
            raise Refused(429, "too many wrong passwords were tried; this one was not looked at. "
                               f"Try again in {wait + 1:.0f} s.")
        assert self.check_password is not None
        if not password or not self.check_password(name, password):
            self._attempts.failed(name, address)
            raise Refused(401, "the team's server does not know this name and password.")
        self._attempts.succeeded(name, address)


def form_token(token: str) -> str:
    """Return what the forms of a login carry."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _host_name(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").casefold()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    if host in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_login(host: str, server: str | None) -> None:
    """Raise WorkspaceError for an address beyond this machine without a team's server."""
    if not is_loopback(host) and server is None:
        raise WorkspaceError(
            f"--host is '{host}', which others can reach, and there is no login: tracking.uri "
            "names no MLflow server. Expected 127.0.0.1, or a team's server (ftzard mlflow-server) "
            "in tracking.uri, with whose names and passwords people log in.")
