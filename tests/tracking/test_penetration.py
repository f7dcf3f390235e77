"""A hostile colleague: every route of a team's server, with every trick, and none of them works."""

import hashlib
import re
import sqlite3

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ftzard.tracking import login_attempts, team_routes
from ftzard.tracking.login_attempts import Attempts
from tests.tracking import penetration
from tests.tracking.penetration import belongings, routes_of
from tests.tracking.team import ADMIN, Team, end, free_port, start, until_it_serves


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """A server of these tests' own: what is tried here must not slow down others' logins."""
    home, port = tmp_path_factory.mktemp("attacked"), free_port()
    process = start(home, port, MLFLOW_AUTH_ADMIN_PASSWORD=ADMIN[1])
    try:
        said = until_it_serves(process)
        assert process.poll() is None, said
        yield Team(home, f"http://127.0.0.1:{port}")
    finally:
        end(process)


@pytest.fixture(scope="module")
def ada(team) -> dict[str, str]:
    return belongings(team, "ada")


@pytest.fixture(scope="module")
def eve(team) -> dict[str, str]:
    return belongings(team, "eve")


@pytest.fixture(scope="module")
def routes(team) -> list[tuple[str, str]]:
    return routes_of(team)


def contents(team: Team, mine: dict[str, str]) -> dict[str, str]:
    """Return a hash of every row of the server's databases that names somebody, or their things,
    and of every file of theirs."""
    found = {}
    owned = [mine["run"], mine["parent"], f"'{mine['name']}'", f"'{mine['name']}_experiment'"]
    for name in ("mlflow.db", "users.db"):
        with sqlite3.connect(f"file:{team.folder / name}?mode=ro", uri=True) as connection:
            for table, in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                # An experiment of another user may have the name of a model.
                marks = owned + [mine["model"]] * (table != "experiments")
                rows = sorted(row for row in map(repr, connection.execute(
                    f'SELECT * FROM "{table}"')) if any(mark in row for mark in marks))
                found[f"{name}/{table}"] = hashlib.sha256("".join(rows).encode()).hexdigest()
    for path in sorted((team.folder / "artifacts" / mine["experiment"]).rglob("*")):
        if path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.mark.jobs
def test_no_route_is_open_to_anybody_it_is_not_for(team, routes, ada, eve, tmp_path):
    """Nobody, another user, the owner and an administrator, at all routes, with all tricks."""
    before = contents(team, ada)
    found = penetration.everything(team, routes, ada, eve, tmp_path)
    assert [f for f in found if f["open"]] == []
    assert contents(team, ada) == before
    said = penetration.summary(found)
    assert said["routes"] > 900 and said["requests"] > 3000
    assert {attack["role"] for attack in said["attacks"]} == {
        "nobody", "another user", "owner", "administrator"}


@pytest.mark.jobs
def test_the_list_of_open_routes_is_of_routes_that_there_are(routes):
    """One that MLflow has renamed would be closed in silence."""
    def shape(path: str) -> str:
        return re.sub(r"^/(ajax-)?api/\d\.\d/", "", re.sub(r"<[^>]+>|\{[^}]+\}", "{}", path))

    there = {(method, shape(path)) for method, path in routes}
    ours = {(r.method, shape(r.path)) for r in team_routes.ROUTES}
    assert ours - there == set()


@pytest.mark.jobs
def test_who_works_with_mlflow_s_own_client_gets_all_that_is_theirs(team, eve, tmp_path):
    """What is closed is nothing that a run needs."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a b.txt").write_text("kept")
    with team.logged_in("eve"):
        client = MlflowClient(team.uri, registry_uri=team.uri)
        experiment = client.create_experiment("eve_works", tags={"a": "b"})
        run = client.create_run(experiment, run_name="first")
        client.log_metric(run.info.run_id, "loss", 0.5, step=3)
        client.log_artifacts(run.info.run_id, str(tmp_path / "folder"), "kept")
        client.rename_experiment(experiment, "eve_worked")
        assert client.list_artifacts(run.info.run_id, "kept")[0].path == "kept/a b.txt"
        assert client.get_metric_history(run.info.run_id, "loss")[0].step == 3
        client.create_registered_model("EveKeeps")
        made = client.create_model_version("EveKeeps", f"runs:/{run.info.run_id}/kept",
                                           run_id=run.info.run_id)
        assert client.get_model_version("EveKeeps", made.version).source.endswith("kept")
        client.delete_registered_model("EveKeeps")
        client.delete_run(run.info.run_id)
        with pytest.raises(MlflowException, match="'artifact_location' is closed on this server"):
            client.create_experiment("elsewhere", artifact_location=tmp_path.as_uri())
        assert [e.name for e in client.search_experiments(filter_string="name = 'elsewhere'")] == []


@pytest.mark.jobs
def test_the_names_of_users_are_the_administrator_s_to_know(team, ada, eve):
    for api in ("/api/2.0", "/ajax-api/2.0"):
        status, said = team.ask("GET", f"{api}/mlflow/users/list", team.basic("eve"))
        assert status == 403 and b"ada" not in said
    status, said = team.ask("GET", "/api/2.0/mlflow/users/list", team.basic(*ADMIN))
    assert status == 200 and b"ada" in said
    grants = [team.ask("POST", "/api/3.0/mlflow/users/permissions/grant", team.basic("eve"),
                       {"username": name, "resource_type": "experiment", "permission": "READ",
                        "resource_id": eve["experiment"]}) for name in ("ada", "no-such-user")]
    assert grants[0] == grants[1] and grants[0][0] == 403


@pytest.mark.jobs
def test_wrong_passwords_are_slowed_down_and_keep_nobody_out_elsewhere(team, ada):
    """From one address, at routes of both of the server's halves; from another Ada still works."""
    halves = ("/api/2.0/mlflow/users/current",
              f"/api/2.0/mlflow-artifacts/artifacts/{penetration.artifact(ada)}")
    said = [team.ask("GET", halves[n % 2], team.basic("ada", f"wrong-{n}"), address="127.0.0.9")[0]
            for n in range(9)]
    assert said[:5] == [401] * 5 and 429 in said[5:]
    for path in halves:
        status, _ = team.ask("GET", path, team.basic("ada"), address="127.0.0.9")
        assert status == 429  # the right one is not looked at either: it would tell
        assert team.ask("GET", path, team.basic("ada"))[0] == 200


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tried() -> tuple[Attempts, Clock]:
    clock = Clock()
    return Attempts(clock), clock


class TestAttempts:
    def failing(self, attempts, clock, account, address, times) -> float:
        """Fail as often as is let; return how many seconds that took."""
        began = clock.now
        for _ in range(times):
            clock.now += attempts.wait(account, address)
            attempts.failed(account, address)
        return clock.now - began

    def test_guessing_gets_slower_up_to_a_minute_a_guess(self, tried):
        attempts, clock = tried
        assert self.failing(attempts, clock, "ada", "x", 5) == 0
        assert [self.failing(attempts, clock, "ada", "x", 1) for _ in range(8)] == [
            4, 8, 16, 32, 60, 60, 60, 60]
        assert self.failing(attempts, clock, "ada", "x", 1000) == 60_000

    def test_a_login_forgets_the_typing_errors_before_it(self, tried):
        attempts, clock = tried
        for _ in range(30):
            self.failing(attempts, clock, "ada", "home", 4)
            attempts.succeeded("ada", "home")
        assert clock.now == 0 and attempts.wait("ada", "home") == 0

    def test_guessing_from_many_addresses_is_slowed_but_not_where_the_account_is_known(self, tried):
        attempts, clock = tried
        attempts.succeeded("ada", "home")
        waited = [self.failing(attempts, clock, "ada", f"bot-{n}", 1) for n in range(30)]
        assert sum(waited[:20]) == 0 and waited[29] == 60
        assert attempts.wait("ada", "new") > 0 and attempts.wait("ada", "home") == 0
        assert attempts.wait("bob", "new") == 0

    def test_one_address_with_many_accounts_is_slowed_but_not_who_has_worked_there(self, tried):
        attempts, clock = tried
        attempts.succeeded("ada", "proxy")
        waited = [self.failing(attempts, clock, f"user-{n}", "proxy", 1) for n in range(60)]
        assert sum(waited[:50]) == 0 and waited[59] == 60
        assert attempts.wait("ada", "proxy") == 0 and attempts.wait("bob", "proxy") > 0

    def test_all_is_forgotten_after_a_while_and_no_more_is_kept_than_fits(self, tried, monkeypatch):
        attempts, clock = tried
        self.failing(attempts, clock, "ada", "x", 12)
        clock.now += login_attempts.FORGOTTEN_AFTER_S + 1
        assert attempts.wait("ada", "x") == 0
        monkeypatch.setattr(login_attempts, "_MOST_ENTRIES", 30)
        for n in range(100):
            attempts.failed(f"user-{n}", f"address-{n}")
            attempts.succeeded(f"user-{n}", f"address-{n}")
        assert len(attempts._failures) <= 30 and len(attempts._known) <= 30
