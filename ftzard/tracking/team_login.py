"""How a team's MLflow server lets people in: by MLflow's own login, and not everywhere.

MLflow's assistant and its gateway act for whoever is logged in as the server itself: they run
commands on its machine, and call other machines from it. Who may write to an experiment must not
get that with it, so a team's server has neither. MLflow loads this by the name in login.ini.
"""

from mlflow.server import auth

from ftzard.tracking import landing_page

#: Parts of paths that are closed for everybody.
CLOSED = ("/mlflow/assistant", "/mlflow/gateway", "/gateway/")
landing_page.install(auth.app)


def authenticate():
    """Return the login of the request at hand, or the response that refuses it."""
    if any(part in auth.request.path for part in CLOSED):
        return auth.make_forbidden_response()
    given = auth.request.authorization
    if given is None or given.type != "basic" or not given.username or not given.password:
        return auth.make_basic_auth_response()  # MLflow's own would stumble over another kind
    return auth.authenticate_request_basic_auth()
