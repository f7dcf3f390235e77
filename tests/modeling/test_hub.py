"""A hub's refusals come before any weight, say what to do, and never show the token."""

import threading
import traceback
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ftzard.errors import ModelError
from ftzard.modeling import base_model
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.tokenizer import load_tokenizer

LABELS = ["no", "yes"]
TOKEN = "hf_" + "secret" * 5
SPEC = BaseSpec(source="some/model", name="x", revision="0" * 40)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine that answers every request with one refusal; it notes the headers."""
    answer, seen = {}, []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            if "/some/model/" in self.path:
                seen.append(self.headers.get("Authorization"))
            self.send_response(answer["status"])
            self.send_header("X-Error-Code", answer["code"])
            self.send_header("X-Error-Message", f"{answer['code']} for {seen[-1:]}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *given):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                        address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(base_model, "_load_model", None)  # nothing here comes as far as weights

    def refuse(code, status):
        answer.update(code=code, status=status)
        return seen

    yield refuse
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(("code", "status", "said"), [
    ("GatedRepo", 403, "repository is gated and the token in HF_TOKEN is {state}"),
    ("RevisionNotFound", 404, "the repository has no commit 0000.*set model.revision"),
    ("RepoNotFound", 401, "the hub has no such repository.*Check model.source"),
])
def test_each_refusal_has_its_sentence_and_none_has_the_token(
    hub, monkeypatch, code, status, said, token
):
    seen = hub(code, status)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    wanted = said.format(state="refused" if token else "empty")
    with pytest.raises(ModelError, match=f"'some/model' .revision 0000.*{wanted}") as refused:
        load_base(SPEC, LABELS, device="cpu")
    assert set(seen) == {f"Bearer {token}" if token else None}
    shown = "".join(traceback.format_exception(refused.value))
    assert TOKEN not in shown and "hf_" not in str(refused.value)


def test_a_tokenizer_s_refusal_has_no_token_either(hub, monkeypatch):
    hub("GatedRepo", 403)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ModelError, match="tokenizer of 'some/model'") as refused:
        load_tokenizer("some/model", "0" * 40)
    assert TOKEN not in "".join(traceback.format_exception(refused.value))


def test_a_gated_model_without_a_token_is_refused_without_asking_the_hub(hub):
    seen = hub("GatedRepo", 403)
    with pytest.raises(ModelError, match="'some/model' is gated.*HF_TOKEN is empty.*licence"):
        load_base(replace(SPEC, gated=True), LABELS, device="cpu")
    assert seen == []


def test_only_the_token_of_the_environment_is_sent(hub, monkeypatch, tmp_path):
    """One that an earlier login left on the disk belongs to whoever logged in."""
    (tmp_path / "token").write_text("hf_of_somebody_else")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    seen = hub("GatedRepo", 403)
    with pytest.raises(ModelError, match="gated"):
        load_base(SPEC, LABELS, device="cpu")
    assert set(seen) == {None}


def test_a_gated_model_in_a_folder_needs_no_token(spec, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert load_base(replace(spec, gated=True), LABELS, device="cpu").quantised == 8
