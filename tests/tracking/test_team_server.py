"""A server for a team: who has no login gets nothing, and who has one gets what is theirs."""

import io
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from starlette.testclient import TestClient

from ftzard.config.schema import Tracking
from ftzard.core import credentials
from ftzard.errors import ConfigError, FtzardError, TrackingError
from ftzard.orchestration import mlflow_server as team_server
from ftzard.orchestration.labeling_page import server as labeling_server
from ftzard.tracking import access, registry, runs, users
from ftzard.tracking.store import Store
from tests.tracking.penetration import (
    PUBLIC,
    REFUSED,
    artifact,
    belongings,
    filled,
    fitting,
    request,
    routes_of,
    told,
)
from tests.tracking.team import (
    ADMIN,
    TOOLS,
    Team,
    end,
    free_port,
    no_credentials,
    processes_at,
    start,
    until_it_serves,
)

SERVER_VARIABLES = ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_AUTH_ADMIN_USERNAME", "PGPASSWORD",
                    "MYSQL_PWD", "MLFLOW_S3_ENDPOINT_URL",
                    "MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_BACKEND_STORE_URI")


class TestStart:
    """What is refused, or made ready, before the server is started."""

    @pytest.fixture(autouse=True)
    def nothing_set(self, monkeypatch):
        for name in SERVER_VARIABLES:
            monkeypatch.delenv(name, raising=False)

    def plan(self, folder: Path, **more) -> team_server.Plan:
        return team_server.plan(folder / "server", host="127.0.0.1", port=5000, **more)

    def test_without_an_administrator_it_says_what_to_set_and_where(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="no administrator yet") as refused:
            self.plan(tmp_path)
        said = str(refused.value)
        assert "MLFLOW_AUTH_ADMIN_PASSWORD" in said and str(tmp_path / ".env") in said

    @pytest.mark.parametrize("password", ["eleven-long", "zwölf-zeichen-lang"])
    def test_a_password_that_mlflow_does_not_take_everywhere_is_refused(self, tmp_path, password,
                                                                       monkeypatch):
        """Clients send others than ASCII in different ways, so one of them could not log in."""
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", password)
        with pytest.raises(TrackingError, match="12 or more printable ASCII") as refused:
            self.plan(tmp_path)
        assert password not in str(refused.value)

    def test_a_password_on_the_command_line_is_refused_and_one_in_the_environment_is_not_shown(
            self, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN[1])
        uri = "postgresql://ada:s3cret-of-ada@127.0.0.1:9/mlflow"
        with pytest.raises(ConfigError, match="list of processes.*PGPASSWORD") as refused:
            self.plan(tmp_path, backend=uri)
        assert "s3cret" not in str(refused.value)
        monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
        with pytest.raises(FtzardError) as refused:  # nothing listens there, or no driver for it
            self.plan(tmp_path)
        assert "s3cret" not in str(refused.value)

    def test_another_kind_of_database_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match=r"mysql://\*\*\*@db/x'; expected sqlite"):
            self.plan(tmp_path, backend="mysql://ada@db/x")

    def test_everything_is_private_and_no_secret_is_an_argument(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN[1])
        for name in ("HF_TOKEN", "MLFLOW_TRACKING_PASSWORD", "COMET_API_KEY", "FTZARD_GIT_TOKEN"):
            monkeypatch.setenv(name, "of-a-run-1")
        monkeypatch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
        before = os.umask(0)
        try:
            made = self.plan(tmp_path)
        finally:
            os.umask(before)
        assert made.folder.stat().st_mode & 0o777 == 0o700
        for name in ("login.ini", "session.key"):
            assert (made.folder / name).stat().st_mode & 0o777 == 0o600
        key = (made.folder / "session.key").read_text()
        assert len(key) == 64 and made.environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] == key
        assert self.plan(tmp_path).environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] == key
        ini = (made.folder / "login.ini").read_text()
        assert "default_permission = NO_PERMISSIONS" in ini and ADMIN[1] not in ini
        assert not any(word in " ".join(made.command) for word in (ADMIN[1], key, "of-a-run-1"))
        assert "of-a-run-1" not in made.environment.values()
        assert "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE" not in made.environment
        ignored = subprocess.run(
            ["git", "init", "-q", "."], cwd=tmp_path, check=True) and subprocess.run(
            ["git", "status", "--porcelain", "-uall"], cwd=tmp_path, text=True,
            capture_output=True, check=True)
        assert ignored.stdout == ""

    def place(self, made: team_server.Plan) -> str:
        return made.command[made.command.index("--artifacts-destination") + 1]

    def test_files_of_runs_go_to_a_folder_of_one_s_own_and_may_not_move_in_silence(
            self, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN[1])
        first = tmp_path / "files of runs"
        assert self.place(self.plan(tmp_path, artifacts=str(first))) == first.as_uri()
        assert first.stat().st_mode & 0o777 == 0o700
        assert self.place(self.plan(tmp_path)) == first.as_uri()
        with pytest.raises(ConfigError, match="keeps its files in file:.*files%20of%20runs") as no:
            self.plan(tmp_path, artifacts=str(tmp_path / "second"))
        said = re.search(r"write (\S+) into (\S+)\.$", str(no.value))
        Path(said[2]).write_text(said[1])  # what the sentence says
        made = self.plan(tmp_path, artifacts=str(tmp_path / "second"))
        assert self.place(made) == (tmp_path / "second").as_uri()

    def test_a_server_made_before_keeps_its_files_where_they_are(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN[1])
        usual = tmp_path / "server" / "artifacts"
        (usual / "1").mkdir(parents=True)
        with pytest.raises(ConfigError, match="Leave --artifacts out"):
            self.plan(tmp_path, artifacts=str(tmp_path / "second"))
        assert self.place(self.plan(tmp_path)) == usual.as_uri()

    def test_s3_gets_its_url_and_its_environment_and_nothing_else_of_a_run(self, tmp_path,
                                                                          monkeypatch):
        (tmp_path / "boto3.py").write_text("")  # its client, which only S3 needs
        monkeypatch.syspath_prepend(tmp_path)
        for name, value in {"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1], "HF_TOKEN": "of-a-run-1",
                            "AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "s3cret-of-s3",
                            "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
            monkeypatch.setenv(name, value)
        made = self.plan(tmp_path, artifacts="s3://bucket/runs/")
        assert self.place(made) == "s3://bucket/runs"
        assert made.environment["AWS_SECRET_ACCESS_KEY"] == "s3cret-of-s3"
        assert made.environment["MLFLOW_S3_ENDPOINT_URL"] == "http://127.0.0.1:9"
        assert "HF_TOKEN" not in made.environment and "s3cret" not in " ".join(made.command)
        assert not any(b"s3cret" in f.read_bytes() for f in made.folder.rglob("*") if f.is_file())
        other = team_server.plan(tmp_path / "other", host="127.0.0.1", port=5000)
        assert "AWS_SECRET_ACCESS_KEY" not in other.environment

    @pytest.mark.parametrize(("place", "words"), [
        ("s3://", "expected a folder, or s3://BUCKET"), ("gs://bucket", "expected a folder, or"),
        ("s3://AKIA1:s3cret-of-s3@bucket", "set AWS_ACCESS_KEY_ID"),
        ("s3://bucket", "pip install boto3")])
    def test_another_place_is_refused_before_anything_is_made(self, tmp_path, monkeypatch, place,
                                                             words):
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN[1])
        monkeypatch.setattr("ftzard.orchestration.mlflow_artifacts.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=words) as refused:
            self.plan(tmp_path, artifacts=place)
        assert "s3cret" not in str(refused.value) and not (tmp_path / "server").exists()

    def test_a_password_of_mysql_is_no_argument_and_names_its_own_variable(self, tmp_path,
                                                                          monkeypatch):
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN[1])
        uri = "mysql+pymysql://ada:s3cret-of-ada@127.0.0.1:9/mlflow"
        with pytest.raises(ConfigError, match="list of processes.*MYSQL_PWD") as refused:
            self.plan(tmp_path, backend=uri)
        assert "s3cret" not in str(refused.value)
        monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
        with pytest.raises(FtzardError) as refused:  # nothing listens there, or no driver for it
            self.plan(tmp_path)
        assert "s3cret" not in str(refused.value)
        assert not any(b"s3cret" in f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())

    def test_a_taken_port_is_refused_with_its_number(self, ftzard, team_free_socket, tmp_path,
                                                     monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, said = ftzard("mlflow-server", "--port", team_free_socket)
        assert code == 1 and f"port {team_free_socket} on 127.0.0.1 is taken" in said
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def team_free_socket():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_its_start_page_asks_for_a_login_and_leads_to_the_experiments(team):
    assert team.ask("GET", "/")[0] == 401
    team.passwords.get("guest") or team.add("guest")
    status, page = team.ask("GET", "/", team.basic("guest"))
    assert status == 200 and b"var name = null" in page and b"mlflow.workflowType_v1" in page


# What a server holds


@pytest.fixture(scope="module")
def ada(team) -> dict[str, str]:
    """What Ada has on the server: words that nobody else may read, under ids that all may guess."""
    return belongings(team, "ada")


@pytest.fixture(scope="module")
def routes(team) -> list[tuple[str, str]]:
    """Every route that this MLflow serves with logins, as its own tables have them."""
    return routes_of(team)


@pytest.mark.jobs
class TestRoutes:
    """Every route, from the tables of the installed MLflow: a new one cannot be forgotten."""

    def refused(self, team: Team, ada, routes, login: str | None, **headers) -> list[str]:
        """Return what was not refused, or told something, of all these routes."""
        let_through = []
        for method, path in routes:
            status, said = request(team, method, filled(path, ada), fitting(method, path, ada),
                                   login, address="127.0.0.4", **headers)
            if told(said, ada) or not PUBLIC.fullmatch(path) and status not in REFUSED:
                let_through.append(f"{method} {path}: {status}")
        return let_through

    def test_the_tables_have_what_we_know_of(self, routes):
        assert len(routes) > 900
        paths = {path for _, path in routes}
        assert {"/graphql", "/get-artifact", "/signup", "/version", "/v1/traces",
                "/api/2.0/mlflow/runs/search", "/ajax-api/2.0/mlflow/runs/search",
                "/api/2.0/mlflow/users/create", "/api/2.0/mlflow/registered-models/search",
                "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}",
                "/gateway/mlflow/v1/chat/completions"} <= paths, sorted(paths)

    @pytest.mark.parametrize("login", [
        "Basic", "Basic ???", "Basic OnBhc3N3b3Jk", "Basic YWRtaW46cGFzc3dvcmQxMjM0",
        "Bearer of-the-administrator-1", "Digest username=admin", ""])
    def test_a_login_of_another_form_is_none(self, team, ada, routes, login):
        """Empty, torn, without a name, MLflow's default of earlier years, a token."""
        some = [(m, p) for m, p in routes if m == "GET" and "search" in p or "artifacts/{" in p]
        assert len(some) > 10 and self.refused(team, ada, some, login) == []
        assert self.refused(team, ada, some, None, **{
            "X-MLflow-Authorization": team.basic("ada"), "X-Forwarded-User": "admin",
            "Cookie": "session=1"}) == []

    @pytest.mark.parametrize("path", [
        "/health/../api/2.0/mlflow/experiments/search?max_results=9",
        "/static-files/../../../../login.ini", "/static-files/%2e%2e/%2e%2e/login.ini",
        "//api/2.0/mlflow/experiments/search?max_results=9",
        "/api/2.0/mlflow/experiments/search/?max_results=9",
        "/staticx/api/2.0/mlflow/experiments/search",
        "/api/2.0/mlflow/experiments/search?x=/health",
        "/API/2.0/mlflow/experiments/search"])
    def test_no_path_leads_around_the_login(self, team, ada, path):
        status, said = team.ask("GET", path)
        assert status in (301, 308, 401, 403, 404, 405)
        assert b"ada" not in said and b"NO_PERMISSIONS" not in said

    def test_what_everybody_is_told_is_nothing_of_anybody(self, team, ada, routes):
        public = [path for method, path in routes if method == "GET" and PUBLIC.fullmatch(path)]
        assert len(public) == 4
        said = b"".join(team.ask("GET", filled(path, ada))[1] for path in public)
        assert b"ada" not in said.lower() and str(team.folder).encode() not in said


@pytest.fixture(scope="module")
def bob(team, ada) -> str:
    return team.add("bob")


@pytest.mark.jobs
class TestTwoUsers:
    def test_searching_finds_one_s_own_only(self, team, ada, bob):
        with team.logged_in("bob"):
            client = MlflowClient(team.uri, registry_uri=team.uri)
            own = client.create_experiment("bob_experiment")
            client.create_registered_model("BobModel")
            found = [e.experiment_id for e in client.search_experiments()]
            assert own in found and not {"0", ada["experiment"]} & set(found)
            assert [m.name for m in client.search_registered_models()] == ["BobModel"]
            assert list(client.search_model_versions("name = 'AdaModel'")) == []
            assert list(client.search_runs([ada["experiment"], own])) == []
        with team.logged_in("ada"):
            client = MlflowClient(team.uri, registry_uri=team.uri)
            assert [e.name for e in client.search_experiments()] == ["ada_experiment"]
            assert [m.name for m in client.search_registered_models()] == ["AdaModel"]

    def test_an_artifact_is_neither_read_nor_written_by_its_address(self, team, ada, bob):
        api = "/api/2.0/mlflow-artifacts/artifacts/"
        for path in (artifact(ada), artifact(ada).replace("/artifacts/", "/x/../artifacts/"),
                     f"{ada['experiment']}%2F{ada['run']}%2Fartifacts%2Fsecret.txt"):
            for method in ("GET", "PUT", "DELETE"):
                status, said = team.ask(method, api + path, team.basic("bob"), body="mine")
                assert status in (400, 403, 404), (method, path, status)
                assert b"only-ada" not in said
        status, said = team.ask("GET", api + artifact(ada), team.basic("ada"))
        assert (status, said) == (200, ada["word_text"].encode())

    def test_a_model_of_one_s_own_cannot_be_made_of_another_s_run(self, team, ada, bob):
        with team.logged_in("bob"):
            client = MlflowClient(team.uri, registry_uri=team.uri)
            for source in (f"runs:/{ada['run']}/model", f"mlflow-artifacts:/{artifact(ada)}",
                           f"{team.folder}/artifacts/{artifact(ada)}", "models:/AdaModel/1"):
                with pytest.raises(MlflowException):
                    client.create_model_version("BobModel", source, run_id=ada["run"])

    def test_what_acts_as_the_server_itself_is_closed_for_everybody(self, team, routes):
        closed = [(m, p) for m, p in routes if "/assistant" in p or "/gateway" in p]
        assert len(closed) > 40
        for method, path in closed:
            if method != "OPTIONS":
                status, _ = team.ask(method, re.sub(r"[<{][^>}]+[>}]", "1", path),
                                     team.basic(*ADMIN), body={})
                assert status in (403, 405), f"{method} {path}: {status}"


@pytest.mark.jobs
class TestUsers:
    """`ftzard mlflow-user`, as an administrator types it."""

    @pytest.fixture
    def typed(self, team, ftzard, monkeypatch):
        """Run the command where the server's .env is; a new password comes by the environment."""
        monkeypatch.chdir(team.home)

        def run(*arguments: str, new: str | None = None, **environment: str) -> tuple[int, str]:
            with pytest.MonkeyPatch.context() as patch:
                for name in [*SERVER_VARIABLES, "MLFLOW_TRACKING_USERNAME",
                             "MLFLOW_TRACKING_PASSWORD"]:
                    patch.delenv(name, raising=False)
                for name, value in environment.items():
                    patch.setenv(name, value)
                if new is not None:
                    patch.setenv("FTZARD_NEW_PASSWORD", new)
                return ftzard("mlflow-user", *arguments, "--server", team.uri)

        return run

    def status(self, team: Team, name: str, password: str) -> int:
        return team.ask("GET", "/api/2.0/mlflow/users/current", team.basic(name, password))[0]

    def test_a_user_is_made_changed_and_changes_the_password(self, team, typed):
        code, said = typed("add", "eve", new="first-of-eve-1")
        assert code == 0 and f"tracking.uri={team.uri}" in said and "first-of-eve" not in said
        assert self.status(team, "eve", "first-of-eve-1") == 200
        code, said = typed("password", "eve", new="second-of-eve")
        assert code == 0 and "second-of-eve" not in said
        assert [self.status(team, "eve", p) for p in ("first-of-eve-1", "second-of-eve")] == [
            401, 200]
        own = {"MLFLOW_TRACKING_USERNAME": "eve", "MLFLOW_TRACKING_PASSWORD": "second-of-eve"}
        code, said = typed("password", "eve", "--as", "eve", new="third-of-eve-1", **own)
        assert code == 0, said
        assert self.status(team, "eve", "third-of-eve-1") == 200

    @pytest.mark.parametrize(("arguments", "more", "words"), [
        (["add", "ada"], {"new": "long-enough-1"}, "already exists"),
        (["add", "col:on"], {"new": "long-enough-1"}, "without ':'"),
        (["add", "carl"], {"new": "too-short"}, "12 or more"),
        (["password", "nobody-at-all"], {"new": "long-enough-1"}, "not found"),
        (["add", "carl"], {"new": "long-enough-1", "MLFLOW_AUTH_ADMIN_PASSWORD": "wrong-wrong-1"},
         "refused the password of 'admin'"),
        (["add", "carl"], {}, "set FTZARD_NEW_PASSWORD"),
        (["grant", "ada", "--experiment", "nowhere"], {}, "nowhere"),
        (["grant", "ada", "--model", "Nowhere"], {}, "Nowhere"),
        (["delete", "nobody-at-all", "--yes"], {}, "not found"),
        (["grant", "ada"], {}, "either an experiment or a registered model"),
        (["grant", "ada", "--model", "AdaModel", "--permission", "reed"], {},
         "did you mean 'read'"),
    ])
    def test_what_cannot_be_done_is_a_sentence(self, ada, typed, arguments, more, words):
        code, said = typed(*arguments, **more)
        assert code == 1 and said.startswith("✗ ") and words in said, said
        assert not any(value in said for name, value in more.items() if name != "new" and value)

    def test_who_is_no_administrator_makes_nobody(self, team, ada, typed):
        login = {**team.login("ada"), "MLFLOW_AUTH_ADMIN_PASSWORD": ""}
        code, said = typed("add", "carl", "--as", "ada", new="long-enough-1", **login)
        assert code == 1 and "does not permit 'ada'" in said

    def test_a_changed_password_is_mended_in_env_so_that_the_next_command_works(self, team, typed):
        """The administrator's own, which stands in .env: twice, without anything in between."""
        env = team.home / ".env"
        before = env.read_text()
        env.write_text(f"# of the server\n{before}HF_TOKEN=kept\n")
        try:
            for new in ("another of 'admin' #1", "and-yet-another-1"):
                code, said = typed("password", "admin", new=new)
                assert code == 0 and f"MLFLOW_AUTH_ADMIN_PASSWORD in {env} is the new one" in said
                assert new not in said and self.status(team, "admin", new) == 200
                assert credentials.read(env)["MLFLOW_AUTH_ADMIN_PASSWORD"] == new
            assert env.stat().st_mode & 0o777 == 0o600
            assert typed("list")[0] == 0
            assert env.read_text() == (
                "# of the server\nMLFLOW_AUTH_ADMIN_PASSWORD=and-yet-another-1\nHF_TOKEN=kept\n")
        finally:
            typed("password", "admin", new=ADMIN[1])
            env.write_text(before)

    def test_a_workspace_s_login_is_mended_too_and_the_environment_s_is_named(self, team, typed,
                                                                             tmp_path, monkeypatch):
        assert typed("add", "wanda", new="first-of-wanda-1")[0] == 0
        for name, uri in (("hers", team.uri), ("elsewhere", "http://127.0.0.1:9")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "ftzard.yaml").write_text(f"tracking: {{uri: '{uri}'}}\n")
            (tmp_path / name / ".env").write_text(
                "MLFLOW_TRACKING_USERNAME=wanda\n"
                "export MLFLOW_TRACKING_PASSWORD='first-of-wanda-1'\n")
        admin = {"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1]}
        monkeypatch.chdir(tmp_path / "elsewhere")
        code, said = typed("password", "wanda", new="second-of-wanda", **admin)
        assert code == 0 and "whoever works as wanda sets MLFLOW_TRACKING_PASSWORD" in said
        assert "first-of-wanda-1" in (tmp_path / "elsewhere" / ".env").read_text()
        (tmp_path / "hers" / "notebooks").mkdir()
        monkeypatch.chdir(tmp_path / "hers" / "notebooks")  # below the workspace
        code, said = typed("password", "wanda", new="third-of-wanda-1", **admin,
                           MLFLOW_TRACKING_USERNAME="wanda",
                           MLFLOW_TRACKING_PASSWORD="first-of-wanda-1")
        assert code == 0
        assert "MLFLOW_TRACKING_PASSWORD in the environment is the former password" in said
        assert (tmp_path / "hers" / ".env").read_text() == (
            "MLFLOW_TRACKING_USERNAME=wanda\nexport MLFLOW_TRACKING_PASSWORD=third-of-wanda-1\n")
        code, said = typed("password", "wanda", "--as", "wanda", new="fourth-of-wanda")
        assert code == 0, said  # her login came from .env, as it was mended
        assert self.status(team, "wanda", "fourth-of-wanda") == 200

    def test_users_are_listed_with_what_they_may_and_deleted_with_what_stays(self, team, typed,
                                                                            monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO())
        for name in ("gina", "hugo"):
            team.add(name)
        with team.logged_in("gina"):
            client = MlflowClient(team.uri, registry_uri=team.uri)
            experiment = client.create_experiment("gina_experiment")
            client.create_registered_model("GinaModel")
        typed("grant", "hugo", "--experiment", "gina_experiment", "--permission", "read")
        code, said = typed("list")
        assert code == 0 and re.search(r"admin +everything: administrator", said)
        assert re.search(r"gina +manage experiment gina_experiment *\n"
                         r" +manage registered model Gina", said)
        assert re.search(r"hugo +read experiment gina_experiment", said)
        told = {u["name"]: u for u in json.loads(typed("list", "--json")[1])}
        assert told["admin"]["administrator"] and told["hugo"]["grants"] == [
            {"kind": "experiment", "name": "gina_experiment", "permission": "read"}]

        code, said = typed("delete", "gina")  # nobody answers the question
        assert code == 1 and "stays: experiment gina_experiment" in said
        assert "nothing was deleted" in said
        assert self.status(team, "gina", "password-of-gina-1") == 200
        assert typed("delete", "gina", "--yes", "--give-to", "nobody-here")[0] == 1
        assert self.status(team, "gina", "password-of-gina-1") == 200
        code, said = typed("delete", "gina", "--yes", "--give-to", "hugo")
        assert code == 0 and "registered model GinaModel, managed by hugo" in said
        assert self.status(team, "gina", "password-of-gina-1") == 401
        with team.logged_in("hugo"):
            client = MlflowClient(team.uri, registry_uri=team.uri)
            client.set_experiment_tag(experiment, "kept", "yes")
            assert client.get_experiment(experiment).name == "gina_experiment"
            client.set_registered_model_tag("GinaModel", "kept", "yes")

        code, said = typed("delete", "hugo", "--yes")
        command = re.search(r"ftzard mlflow-user (grant NAME .* --permission manage)", said)[1]
        team.add("ines")
        code, said = typed(*command.replace("NAME", "ines").split())
        assert code == 0 and self.status(team, "hugo", "password-of-hugo-1") == 401
        with team.logged_in("ines"):
            assert MlflowClient(team.uri).get_experiment(experiment).name == "gina_experiment"
        code, said = typed("delete", "admin", "--yes")
        assert code == 1 and self.status(team, *ADMIN) == 200

    def test_a_server_that_is_not_there_is_named(self, team, ftzard, monkeypatch):
        monkeypatch.chdir(team.home)
        monkeypatch.setenv("FTZARD_NEW_PASSWORD", "long-enough-1")
        code, said = ftzard("mlflow-user", "add", "carl", "--server",
                            f"http://127.0.0.1:{free_port()}")
        assert code == 1 and "does not answer" in said and "Start its server" in said

    def test_on_a_terminal_the_password_is_asked_twice_and_not_shown(self, team, tmp_path):
        """A real terminal, in a folder without .env: both passwords are typed."""
        here, there = pty.openpty()
        process = subprocess.Popen(
            [str(TOOLS / "ftzard"), "mlflow-user", "add", "tess", "--server", team.uri],
            cwd=tmp_path, stdin=there, stdout=there, stderr=there, env=no_credentials(),
            start_new_session=True)
        os.close(there)
        said, answers = b"", [ADMIN[1], "typed-by-tess-1", "typed-by-tess-1"]
        while True:
            try:
                read = os.read(here, 1000)
            except OSError:  # the terminal's other side is closed
                break
            if not read:
                break
            said += read
            if read.rstrip().endswith(b":") and answers:
                os.write(here, f"{answers.pop(0)}\n".encode())
        os.close(here)
        assert process.wait(timeout=60) == 0, said
        assert answers == [] and b"typed-by-tess" not in said and ADMIN[1].encode() not in said
        assert self.status(team, "tess", "typed-by-tess-1") == 200


@pytest.mark.jobs
class TestBeforeARun:
    """What a run could not record is said before its first step."""

    @pytest.fixture
    def settings(self, team, monkeypatch) -> Tracking:
        team.passwords.get("carol") or team.add("carol")
        for name, value in team.login("carol").items():
            monkeypatch.setenv(name, value)
        return Tracking(team.uri, "carol_experiment", "CarolModel", [])

    def test_a_user_s_own_names_are_taken_and_kept(self, team, settings):
        access.require(settings)
        access.require(settings)
        found = MlflowClient(team.uri, registry_uri=team.uri).search_registered_models()
        assert [m.name for m in found] == ["CarolModel", "CarolModel-base"]

    def test_a_wrong_password_says_where_it_comes_from(self, settings, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-her-password")
        with pytest.raises(TrackingError, match=r"refused the credentials.*\.env") as refused:
            access.require(settings)
        assert "not-her-password" not in str(refused.value)

    def test_no_login_at_all_says_who_makes_users(self, settings, monkeypatch):
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        with pytest.raises(TrackingError, match="ftzard mlflow-user add"):
            access.require(settings)

    def test_a_server_that_is_down_is_named(self, settings):
        settings.uri = f"http://127.0.0.1:{free_port()}"
        with pytest.raises(TrackingError, match=f"{settings.uri} does not answer"):
            access.require(settings, patience_s=0.1)

    @pytest.mark.parametrize(("key", "name", "option"), [
        ("experiment", "ada_experiment", "--experiment"), ("registered_model", "AdaModel",
                                                           "--model")])
    def test_what_belongs_to_somebody_else_is_named_with_the_way_out(self, ada, settings, key,
                                                                     name, option):
        setattr(settings, key, name)
        with pytest.raises(TrackingError, match=f"'{name}' on .* belongs to somebody") as refused:
            access.require(settings)
        assert f"tracking.{key}" in str(refused.value)
        assert f"mlflow-user grant USER {option} {name}" in str(refused.value)

    def test_a_grant_must_be_enough_for_what_a_run_does(self, team, ada, settings):
        """To read is not to record; to make versions is not to move a champion."""
        settings.experiment, settings.registered_model = "ada_experiment", "AdaModel"
        ours = Store(team.uri)

        def granted(**what: str) -> None:
            users.grant(team.admin, "carol", **what)

        granted(experiment="ada_experiment", permission="read")
        with pytest.raises(TrackingError, match="experiment 'ada_experiment'"):
            access.require(settings)
        granted(experiment="ada_experiment", permission="edit")
        granted(model="AdaModel", permission="edit")
        with pytest.raises(TrackingError, match="model 'AdaModel'"):
            access.require(settings)
        granted(model="AdaModel", permission="manage")
        access.require(settings)
        assert ours.get_model_version_by_alias("AdaModel", "champion").version == "1"
        for what in ({"experiment": "ada_experiment"}, {"model": "AdaModel"}):
            granted(**what, permission="none")
        with pytest.raises(TrackingError, match="belongs to somebody else"):
            access.require(settings)

    def test_a_champion_that_somebody_else_has_is_none_of_ours(self, team, ada, settings):
        tracking = runs.Tracking(Store(team.uri), "1", team.uri)
        assert registry.by_alias(tracking, "AdaModel", "champion") is None
        assert registry.aliases(tracking, "AdaModel") == {}

    def test_a_job_ends_with_the_sentence_before_its_first_step(self, team, settings, workspace,
                                                               tool):
        (workspace.root / "ftzard.yaml").write_text(
            f"tracking: {{uri: '{team.uri}', experiment: carol_2}}\n")
        (workspace.root / ".env").write_text("MLFLOW_TRACKING_USERNAME=carol\n"
                                             "MLFLOW_TRACKING_PASSWORD=not-her-password\n")
        done = subprocess.run(
            [str(TOOLS / "ftzard"), "run", "cleaning_job"], cwd=workspace.root, text=True,
            capture_output=True, env=no_credentials())
        said = done.stdout + done.stderr
        assert done.returncode == 1 and "✗ cleaning_job failed: MLflow's store" in said, said
        assert "refused the credentials" in said and "▸" not in said and "Traceback" not in said
        assert "not-her-password" not in said
        asked = subprocess.run(
            [str(TOOLS / "ftzard"), "doctor"], cwd=workspace.root, text=True,
            capture_output=True, env=no_credentials())
        assert asked.returncode == 1
        assert f"MLflow     MLflow's store {team.uri} refused the credentials" in asked.stdout
        assert "MLFLOW_TRACKING_PASSWORD (.env)" in asked.stdout
        assert "not-her-password" not in asked.stdout

    def test_ui_names_the_server_instead_of_serving_an_empty_store(self, workspace, ftzard):
        (workspace.root / "ftzard.yaml").write_text(
            "tracking: {uri: 'https://mlflow.example.org'}\n")
        code, said = ftzard("ui", "--only", "mlflow", "-w", workspace.root)
        assert code == 0 and "(tracking.uri); it is not started here" in said
        assert "https://mlflow.example.org/#/experiments?workflowType=machine_learning" in said


@pytest.mark.jobs
def test_the_labeling_page_beyond_this_machine_takes_the_names_of_the_team(team, ada, workspace):
    (workspace.root / "ftzard.yaml").write_text(f"tracking: {{uri: '{team.uri}'}}\n")
    page = labeling_server.page_for(workspace, "0.0.0.0", ["labels.example.org"])
    browser = TestClient(page.app(), base_url="http://labels.example.org")
    assert 'type="password"' in browser.get("/").text
    for password in ("", "not-the-password", ADMIN[1]):
        assert browser.post("/enter", data={"name": "ada", "password": password}).status_code == 401
    told = browser.post("/enter", data={"name": "ada", "password": team.passwords["ada"]}).text
    assert "data/labelling is empty" in told and ">ada<" in told
    store = b"".join(path.read_bytes() for path in workspace.state.rglob("*") if path.is_file())
    assert team.passwords["ada"].encode() not in store
    page = labeling_server.page_for(workspace, "127.0.0.1")
    assert "password" not in TestClient(page.app(), base_url="http://localhost").get("/").text


def test_ctrl_c_leaves_no_process_and_a_second_start_needs_no_password(tmp_path):
    port = free_port()
    first = start(tmp_path, port, MLFLOW_AUTH_ADMIN_PASSWORD=ADMIN[1])
    try:
        said = until_it_serves(first)
        assert f"http://127.0.0.1:{port}" in said, said
        lines = processes_at(tmp_path)
        assert len(lines) >= 2 and not any(ADMIN[1] in line for line in lines)
    finally:
        assert end(first) == 130
    assert processes_at(tmp_path) == []
    second = start(tmp_path, port)
    try:
        assert "Ctrl-C" in until_it_serves(second)
        here = Team(tmp_path, f"http://127.0.0.1:{port}")
        assert here.ask("GET", "/api/2.0/mlflow/users/current", here.basic(*ADMIN))[0] == 200
    finally:
        assert end(second) == 130
    for file in (tmp_path / "server").rglob("*"):
        if file.is_file():
            assert ADMIN[1].encode() not in file.read_bytes(), file
