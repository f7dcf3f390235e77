"""Credentials: from the environment or from .env, in no config, and told by name only."""

import os
import subprocess
import sys

import pytest

from ftzard.core import credentials
from ftzard.doctor import OK, WARNING, WRONG, mend
from ftzard.doctor.credentials import secrets
from ftzard.errors import ConfigError
from ftzard.workspace.workspace import Workspace, find

PASSWORD = "s3cret-of-ada-#1"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in [n for n in os.environ if credentials.is_loaded(n)]:
        monkeypatch.delenv(name)
    for credential in credentials.SERVER:
        monkeypatch.delenv(credential.name, raising=False)


def write(workspace: Workspace, text: str, mode: int = 0o600) -> None:
    file = workspace.root / ".env"
    file.write_text(text)
    file.chmod(mode)


class TestRewritten:
    @pytest.mark.parametrize("value", [
        "plain-enough-1", "with # and  spaces", " begins with space", "quo'ted \"twice\"",
        "'quoted'", "a#b=c", "${HOME} `x` \\n"])
    def test_the_new_value_is_read_back_and_all_else_stays_byte_for_byte(self, tmp_path, value):
        file = tmp_path / ".env"
        file.write_bytes(b"# PGPASSWORD=old\r\n\nexport PGPASSWORD = 'old'  # ours\r\n"
                         b"HF_TOKEN=hf_1")
        file.chmod(0o640)
        assert credentials.rewrite(file, "PGPASSWORD", value)
        assert credentials.read(file) == {"PGPASSWORD": value, "HF_TOKEN": "hf_1"}
        said = file.read_bytes()
        assert said.startswith(b"# PGPASSWORD=old\r\n\nexport PGPASSWORD=")
        assert said.endswith(b"\r\nHF_TOKEN=hf_1")
        assert file.stat().st_mode & 0o777 == 0o640
        assert list(tmp_path.iterdir()) == [file]

    def test_a_link_stays_one_and_what_is_not_there_is_not_made(self, tmp_path):
        (tmp_path / "real").write_text("PGPASSWORD=old\n")
        (tmp_path / ".env").symlink_to("real")
        assert credentials.rewrite(tmp_path / ".env", "PGPASSWORD", "new")
        assert (tmp_path / ".env").is_symlink()
        assert (tmp_path / "real").read_text() == "PGPASSWORD=new\n"
        assert not credentials.rewrite(tmp_path / ".env", "HF_TOKEN", "new")
        assert not credentials.rewrite(tmp_path / "missing", "HF_TOKEN", "new")

    def test_a_value_that_no_line_can_say_changes_nothing(self, tmp_path):
        (tmp_path / ".env").write_text("PGPASSWORD=old\n")
        with pytest.raises(ConfigError, match="choose one without") as refused:
            credentials.rewrite(tmp_path / ".env", "PGPASSWORD", "a' #c\" #d")
        assert "#c" not in str(refused.value)
        assert (tmp_path / ".env").read_text() == "PGPASSWORD=old\n"


class TestFile:
    def test_names_quotes_comments_and_export(self, tmp_path):
        file = tmp_path / ".env"
        file.write_text("# ours\n\nHF_TOKEN=hf_1 # my own\nexport AWS_PROFILE = team\n"
                        "PGPASSWORD='with # and  spaces'\nCOMET_API_KEY=\"quo'ted\"\n"
                        "FTZARD_GIT_TOKEN=a#b=c\nMLFLOW_TRACKING_TOKEN=\n")
        assert credentials.read(file) == {
            "HF_TOKEN": "hf_1", "AWS_PROFILE": "team", "PGPASSWORD": "with # and  spaces",
            "COMET_API_KEY": "quo'ted", "FTZARD_GIT_TOKEN": "a#b=c", "MLFLOW_TRACKING_TOKEN": ""}

    def test_a_line_that_cannot_be_read_is_named_by_its_number_only(self, tmp_path):
        (tmp_path / ".env").write_text(f"HF_TOKEN=x\n{PASSWORD}\n")
        with pytest.raises(ConfigError, match=r"\.env, line 2: expected NAME=value") as refused:
            credentials.read(tmp_path / ".env")
        assert PASSWORD not in str(refused.value)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, tmp_path, encoding):
        (tmp_path / ".env").write_bytes("HF_TOKEN=abc\n".encode(encoding))
        assert credentials.read(tmp_path / ".env") == {"HF_TOKEN": "abc"}

    def test_a_folder_or_a_broken_link_is_a_sentence(self, tmp_path):
        (tmp_path / ".env").mkdir()
        with pytest.raises(ConfigError, match="is a folder.*Mend it"):
            credentials.read(tmp_path / ".env")
        (tmp_path / ".env").rmdir()
        (tmp_path / ".env").symlink_to(tmp_path / "gone")
        with pytest.raises(ConfigError, match="is a link to"):
            credentials.read(tmp_path / ".env")

    def test_a_file_that_is_no_text_is_refused(self, tmp_path):
        (tmp_path / ".env").write_bytes(b"HF_TOKEN=\xff\xfe")
        with pytest.raises(ConfigError, match="is not UTF-8"):
            credentials.read(tmp_path / ".env")

    def test_whoever_finds_the_workspace_has_them_and_the_environment_goes_over_it(
            self, workspace, monkeypatch):
        write(workspace, f"MLFLOW_TRACKING_PASSWORD={PASSWORD}\nHF_TOKEN=of-the-file\n")
        monkeypatch.setenv("HF_TOKEN", "of-the-environment")
        find(workspace.root)
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == PASSWORD
        assert os.environ["HF_TOKEN"] == "of-the-environment"

    def test_what_is_no_credential_of_a_run_stays_where_it_is(self, workspace):
        """Neither the server administrator's password nor a switch of the interpreter."""
        write(workspace, f"MLFLOW_AUTH_ADMIN_PASSWORD={PASSWORD}\nLD_PRELOAD=/tmp/x.so\n")
        find(workspace.root)
        assert "MLFLOW_AUTH_ADMIN_PASSWORD" not in os.environ and "LD_PRELOAD" not in os.environ
        credentials.load_for_server(workspace.root)
        assert os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"] == PASSWORD
        assert "LD_PRELOAD" not in os.environ

    def test_git_ignores_it_in_a_fresh_workspace(self, workspace):
        write(workspace, "HF_TOKEN=x\n")
        said = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=workspace.root,
                              text=True, capture_output=True, check=True)
        assert said.stdout == ""


class TestConfig:
    """A config is recorded with every run, so no credential may be part of it."""

    @pytest.mark.parametrize("uri", [
        f"https://ada:{PASSWORD.replace('#', '%23')}@mlflow.example.org",
        f"postgresql://ada:{PASSWORD.replace('#', '%23')}@db.example.org/mlflow"])
    def test_a_password_in_the_uri_is_refused_and_not_shown(self, workspace, ftzard, uri):
        code, said = ftzard("config", "-w", workspace.root, f"tracking.uri='{uri}'")
        assert code == 1 and "tracking.uri holds a password in its URL" in said
        assert "MLFLOW_TRACKING_PASSWORD" in said and "s3cret" not in said

    def test_the_value_of_a_secret_is_refused_under_any_key(self, workspace, monkeypatch):
        monkeypatch.setenv("COMET_API_KEY", PASSWORD)
        with pytest.raises(ConfigError, match="data.salt holds the value of COMET_API_KEY") as no:
            workspace.config({"data": {"salt": f"x{PASSWORD}"}})
        assert PASSWORD not in str(no.value)

    def test_names_of_users_and_addresses_are_fine(self, workspace, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "sentiment_analysis")
        config = workspace.config({"tracking": {"uri": "postgresql://ada@db/mlflow"}})
        assert config.tracking.server is None
        config = workspace.config({"tracking": {"uri": "https://mlflow.example.org:5000"}})
        assert config.tracking.server == "https://mlflow.example.org:5000"

    def test_a_url_gives_its_password_away_whole(self):
        assert credentials.without_password("postgresql://ada:p%40ss@db:5432/x") == (
            "postgresql://ada@db:5432/x", "p@ss")
        assert credentials.without_password("sqlite:////tmp/a:b@c.db")[1] is None


class TestDoctor:
    def test_it_says_which_are_set_and_where_never_what(self, workspace, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", PASSWORD)
        write(workspace, f"FTZARD_GIT_TOKEN={PASSWORD}-2\n")
        finding, = secrets(workspace)
        assert finding.state == OK and "s3cret" not in finding.sentence
        assert "HF_TOKEN (environment)" in finding.sentence
        assert "FTZARD_GIT_TOKEN (.env)" in finding.sentence

    def test_none_is_said(self, workspace):
        finding, = secrets(workspace)
        assert finding.state == OK and "none is set" in finding.sentence

    def test_a_file_that_others_can_read_is_closed(self, workspace):
        write(workspace, "HF_TOKEN=x\n", mode=0o644)
        wrong = [f for f in secrets(workspace) if f.state == WRONG]
        assert "chmod 600" in wrong[0].command
        assert mend(workspace, wrong, print) == 1
        assert (workspace.root / ".env").stat().st_mode & 0o777 == 0o600
        assert [f.state for f in secrets(workspace)] == [OK]

    def test_a_file_in_git_and_one_that_git_would_take(self, workspace):
        write(workspace, "HF_TOKEN=x\n")
        (workspace.root / ".gitignore").write_text(".ftzard/\n")
        wrong, = [f for f in secrets(workspace) if f.state == WRONG]
        assert "git does not ignore .env" in wrong.sentence
        subprocess.run(["git", "add", "-f", ".env"], cwd=workspace.root, check=True)
        wrong, = [f for f in secrets(workspace) if f.state == WRONG]
        assert ".env is in git" in wrong.sentence and "git rm --cached" in wrong.command

    def test_a_misspelt_name_has_the_nearest(self, workspace):
        write(workspace, "HG_TOKEN=x\nMLFLOW_AUTH_ADMIN_PASSWORD=y\n")
        warning, = [f for f in secrets(workspace) if f.state == WARNING]
        assert "HG_TOKEN" in warning.sentence and "did you mean 'HF_TOKEN'" in warning.sentence
        assert "ADMIN" not in warning.sentence

    def test_half_a_login_and_one_that_travels_in_the_open(self, workspace, monkeypatch):
        (workspace.root / "ftzard.yaml").write_text(
            "tracking: {uri: 'http://mlflow.example.org:5000'}\n")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
        wrong, = [f for f in secrets(workspace) if f.state == WRONG]
        assert "MLFLOW_TRACKING_PASSWORD is not set" in wrong.sentence
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        warning, = [f for f in secrets(workspace) if f.state == WARNING]
        assert "unencrypted" in warning.sentence and "s3cret" not in warning.sentence

    def test_a_file_that_cannot_be_read_is_a_finding(self, workspace):
        write(workspace, "no credential\n")
        finding, = secrets(workspace)
        assert finding.state == WRONG and "line 1" in finding.sentence


def test_a_password_in_the_name_of_a_source_is_refused_and_not_repeated(workspace):
    asked = {"data": {"mix": {"https://me:hunter2secret@host/x.csv": 1.0}}}
    with pytest.raises(ConfigError, match="data.mix holds a password") as refused:
        workspace.config(asked)
    assert "hunter2secret" not in str(refused.value)


def test_reading_them_loads_nothing_heavy():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, ftzard.core.credentials; print([n for n in ('mlflow', "
                               "'yaml', 'pandas', 'requests') if n in sys.modules])"],
        text=True, capture_output=True, check=True)
    assert loaded.stdout.strip() == "[]"


class TestHubToken:
    @pytest.fixture(autouse=True)
    def none_is_set(self, monkeypatch):
        for name in (credentials.HUB_TOKEN, *credentials.HUB_TOKEN_TOO):
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize("name", credentials.HUB_TOKEN_TOO)
    @pytest.mark.parametrize("place", ["file", "environment"])
    def test_the_names_that_some_have_set_are_taken_and_told(
            self, workspace, monkeypatch, name, place):
        if place == "file":
            write(workspace, f"{name}={PASSWORD}\n")
        else:
            monkeypatch.setenv(name, PASSWORD)
        find(workspace.root)
        assert os.environ["HF_TOKEN"] == PASSWORD
        said = credentials.where(workspace.root)
        shown = ".env" if place == "file" else "environment"
        assert said == {name: f"{shown}, taken as HF_TOKEN"} and PASSWORD not in str(said)

    def test_the_hub_s_own_name_goes_over_them(self, workspace, monkeypatch):
        monkeypatch.setenv("HUGGINGFACE_TOKEN", PASSWORD)
        monkeypatch.setenv("HF_TOKEN", "the-right-one")
        find(workspace.root)
        assert os.environ["HF_TOKEN"] == "the-right-one"
        assert credentials.where(workspace.root) == {
            "HF_TOKEN": "environment",
            "HUGGINGFACE_TOKEN": "environment, not used beside HF_TOKEN"}

    def test_its_value_is_masked_under_every_name(self, workspace, monkeypatch):
        monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", PASSWORD)
        assert PASSWORD not in credentials.mask(f"refused {PASSWORD}")
        with pytest.raises(ConfigError, match="HUGGING_FACE_HUB_TOKEN"):
            workspace.config({"data": {"salt": PASSWORD}})
