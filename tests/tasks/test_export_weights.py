"""Exports of every family answer as the model did; a hub gets one, and its token is never shown."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import torch

from ftzard.errors import ModelError
from ftzard.modeling import adapter
from ftzard.modeling.base_model import load_base
from ftzard.modeling.spec import BaseSpec
from ftzard.tasks.export_weights import export, push
from ftzard.tasks.instruction_tuning import TASK as INSTRUCTIONS
from ftzard.tasks.instruction_tuning import chat_template
from tests.modeling.families import FAMILIES, build

SECRET = "hf_" + "s" * 30
LABELS = ["negative", "positive"]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "quantisation", "method"), [
    *((family, "nf4", "lora") for family in FAMILIES),
    ("mistral", "int8", "lora"), ("falcon", "none", "dora"), ("qwen", "none", "full")])
def test_every_family_answers_the_same_with_plain_transformers(tmp_path, texts, family,
                                                               quantisation, method):
    base = BaseSpec(source=build(tmp_path / "source", family, texts["text"]), name=family,
                    quantisation=quantisation, lora_targets=None, max_length=24)
    loaded = load_base(base, LABELS, device="cpu")
    adapted = adapter.attach(loaded, seed=1, rank=4, alpha=8, method=method)
    with torch.no_grad():  # as if it had been trained
        for number, weight in enumerate(p for p in adapted.parameters() if p.requires_grad):
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.manual_seed(number)))
    saved = adapter.save(loaded, tmp_path / "adapter")
    asked = [*texts["text"][:20], "an <eos> [SEP] </s> in the text", "word " * 60]
    done = export(saved, base, tmp_path / "merged", asked, form="merged", readme=str)
    # 8-bit layers round what flows through them; all others come out the same.
    assert done.largest < (0.1 if quantisation == "int8" else 1e-4)
    assert done.changed == 0 and done.rows == 22
    assert (tmp_path / "merged/README.md").read_text() == str(done)
    if method == "full":
        with pytest.raises(ModelError, match="has no adapter; export it with --merged"):
            export(saved, base, tmp_path / "out", asked, form="adapter", readme=str)
        return
    told = export(saved, base, tmp_path / "out", asked, form="adapter", readme=str)
    assert told.largest < (0.1 if quantisation == "int8" else 1e-4) and told.changed == 0
    assert not list((tmp_path / "out").rglob("*.bin")) and (tmp_path / "out/base").is_dir()
    with pytest.raises(ModelError, match="differ from the registered model's.*export with --merged"
                       ".*--tolerance"):
        export(saved, base, tmp_path / "no", asked, form="adapter", readme=str, tolerance=-1.0)
    assert not (tmp_path / "no").exists()


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as an upload of small files asks for."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.tokens.append(self.headers.get("Authorization"))
        refused = self.server.refuses and self.path.endswith("/create")
        self.send_response(403 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(self.answer(sent, refused)).encode())

    def answer(self, sent: bytes, refused: bool) -> dict:
        address = f"http://127.0.0.1:{self.server.server_port}/me/it"
        if refused:
            return {"error": f"the token {SECRET} may not write here"}
        if "/preupload/" in self.path:
            return {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                              for file in json.loads(sent)["files"]]}
        if "/commit/" in self.path:
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            return {"commitUrl": f"{address}/commit/1", "commitOid": "1" * 40, "success": True,
                    "hookOutput": ""}
        return {"url": address, "name": "me/it", "warnings": [], "errors": []}

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.tokens, server.files, server.refuses = [], {}, False
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT",
                        f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


@pytest.fixture
def exported(tmp_path):
    (tmp_path / "README.md").write_text("---\nlibrary_name: peft\n---\n# It\n")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(200)))
    return tmp_path


def test_all_files_arrive_with_the_token_in_the_header_alone(hub, exported):
    assert push(exported, "me/it", SECRET).endswith("/me/it")
    assert hub.files == {"README.md": (exported / "README.md").read_bytes(),
                         "model.safetensors": bytes(range(200))}
    assert set(hub.tokens) == {f"Bearer {SECRET}"}


def test_what_the_hub_refuses_is_a_sentence_without_the_token(hub, exported):
    hub.refuses = True
    with pytest.raises(ModelError, match="did not take 'me/it'.*HF_TOKEN may write") as caught:
        push(exported, "me/it", SECRET)
    shown = caught.value
    while shown is not None:
        assert SECRET not in str(shown)
        shown = shown.__cause__


def test_a_hub_that_does_not_answer_is_named_and_the_export_stays(hub, exported, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="whole at .*Check the name, the network"):
        push(exported, "me/it", SECRET)
    assert (exported / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("family", "quantisation", "method"), [
    ("falcon", "nf4", "lora"), ("mistral", "nf4", "lora"), ("qwen", "none", "full")])
def test_what_writes_answers_writes_the_same_with_plain_transformers(tmp_path, texts, family,
                                                                     quantisation, method):
    base = BaseSpec(source=build(tmp_path / "source", family, texts["text"]), name=family,
                    quantisation=quantisation, lora_targets=None, max_length=60,
                    head=INSTRUCTIONS.head)
    loaded = load_base(base, device="cpu")
    adapted = adapter.attach(loaded, seed=1, rank=4, alpha=8, method=method,
                             train_embeddings=method != "full")
    with torch.no_grad():  # as if it had been trained
        for number, weight in enumerate(p for p in adapted.parameters() if p.requires_grad):
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.manual_seed(number)))
    saved = adapter.save(loaded, tmp_path / "adapter", {
        "template": chat_template.of("chatml", loaded.tokenizer).to_dict(), "max_new_tokens": 8})
    asked = [*texts["text"][:10], "an <eos> </s> <|endoftext|> in the text", "word " * 200]
    done = export(saved, base, tmp_path / "merged", asked, form="merged", readme=str)
    assert done.largest < 1e-4 and done.changed == 0 and 1 < done.rows < 12
    config = json.loads((tmp_path / "merged/generation_config.json").read_text())
    assert config["max_new_tokens"] == 8 and config["do_sample"] is False
    if method != "full":
        told = export(saved, base, tmp_path / "out", asked, form="adapter", readme=str)
        assert told.largest < 1e-4 and told.changed == 0 and told.rows == done.rows
