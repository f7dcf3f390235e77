"""Serving the labeling page until it is interrupted."""

import contextlib
import socket
from collections.abc import Callable, Collection

import uvicorn

from ftzard.errors import WorkspaceError
from ftzard.orchestration.labeling_page.access import Access, is_loopback, require_login
from ftzard.orchestration.labeling_page.app import LabelingPage
from ftzard.orchestration.labeling_page.desk import Desk
from ftzard.orchestration.services import free_port
from ftzard.steps.labeling_session import finish_submissions
from ftzard.workspace.workspace import Workspace

#: The port at which a free one is looked for, unless one is named.
PORT = 8765
_EVERYWHERE = ("0.0.0.0", "::")


def page_for(workspace: Workspace, host: str, names: Collection[str] = ()) -> LabelingPage:
    """Return the page of a workspace as it is served at an address.

    Args:
        workspace: Whose queue.
        host: Address to listen on.
        names: Further names under which a browser may ask for it.

    Raises:
        WorkspaceError: Others can reach the address, and there is no team's server to log in with.
    """
    workspace.require_writable()
    server = workspace.config().tracking.server
    require_login(host, server)
    finish_submissions(workspace)
    known = {host, *names}
    if host in _EVERYWHERE:
        known |= {socket.gethostname(), socket.getfqdn()}
    check = None if is_loopback(host) else _password_check(str(server))
    desk = Desk(workspace)
    return LabelingPage(desk, Access(desk.store, check, known, host in _EVERYWHERE))


def _password_check(server: str) -> Callable[[str, str], bool]:
    from ftzard.tracking import users

    return lambda name, password: users.knows(users.Login(server, name, password))


def port_for(host: str, wanted: int | None) -> int:
    """Return the port that was named, or the next free one from PORT; else raise WorkspaceError."""
    if wanted is not None:
        return free_port(host, wanted)
    for port in range(PORT, PORT + 20):
        with contextlib.suppress(WorkspaceError):
            return free_port(host, port)
    return free_port(host, PORT)


def serve(page: LabelingPage, host: str, port: int) -> None:
    """Serve a page until the process is interrupted."""
    uvicorn.run(page.app(), host=host, port=port, log_level="warning", access_log=False,
                server_header=False, timeout_graceful_shutdown=2)
