"""Which model `ftzard init --data` begins with, and what it says of the rows and the training."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
import yaml

from ftzard.config.compose import compose
from ftzard.data.language import looks_english
from ftzard.modeling import hub as hubs
from ftzard.orchestration.create_workspace import config_for
from ftzard.tasks.instruction_tuning.setup import instruction_config
from tests.orchestration.texts import easy_texts

MINILM = compose({"model": "minilm"}).model
GERMAN = ("Ich habe das Paket erst nach drei Wochen bekommen und niemand hat mir geantwortet",
          "Der Kaffee war kalt, aber die Bedienung war sehr nett und hat ihn gleich ersetzt",
          "Was will man in so einem Laden, wenn alles so teuer ist und nichts da war")


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.csv"
    easy_texts(400, seed=1).to_csv(file, index=False)
    return file


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of the hub's library, and no network."""
    place = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return place


def begun(tmp_path, file, name: str = "ws") -> tuple[dict, str]:
    said: list[str] = []
    config = config_for(tmp_path / name, data=file, text="tweet", label="mood", say=said.append)
    return config, "\n".join(said)


def fetched(cache) -> None:
    """Lay the base's files into the cache as the hub's library does."""
    folder = cache / f"models--{MINILM.source.replace('/', '--')}" / "snapshots" / MINILM.revision
    folder.mkdir(parents=True)
    for name in hubs.NEEDED:
        (folder / name).write_text("{}")


def test_without_hub_and_cache_it_is_the_falcon_and_that_is_for_trying(tmp_path, mine, cache):
    config, said = begun(tmp_path, mine)
    assert "model" not in config
    assert "model: falcon_tiny, built here, which is for trying the loop" in said
    assert "model: minilm in ftzard.yaml once the hub is reachable" in said


def test_english_texts_begin_with_the_base_that_the_cache_has(tmp_path, mine, cache):
    fetched(cache)
    config, said = begun(tmp_path, mine)
    assert config["model"] == "minilm" and "model: minilm (sentence-transformers/" in said
    assert compose(config).model.source == MINILM.source
    mood = {"tweet": [f"{text} {n}" for n in range(20) for text in GERMAN],
            "mood": ["glad", "sad"] * 30}
    pd.DataFrame(mood).to_csv(mine, index=False)
    config, said = begun(tmp_path, mine, "other")
    assert "model" not in config and "do not look English" in said


def test_a_half_fetched_base_is_none(cache):
    fetched(cache)
    next(cache.rglob("model.safetensors")).unlink()
    assert not hubs.can_be_had(MINILM.source, MINILM.revision)


class TestHub:
    @pytest.fixture
    def address(self, monkeypatch, cache):
        """A hub on this machine that has any file, and counts what it was asked."""
        asked = []

        class Hub(BaseHTTPRequestHandler):
            def do_HEAD(self):
                asked.append(self.path)
                self.send_response(200)
                for name, value in (("ETag", '"abc"'), ("X-Repo-Commit", MINILM.revision),
                                    ("Content-Length", "5")):
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", there)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                            there + "/{repo_id}/resolve/{revision}/{filename}")
        yield asked
        server.shutdown()
        server.server_close()

    def test_one_that_answers_is_enough_unless_it_is_not_to_be_asked(self, address, monkeypatch):
        assert not hubs.can_be_had(MINILM.source, MINILM.revision) and address == []
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        assert hubs.can_be_had(MINILM.source, MINILM.revision)
        assert address == [f"/{MINILM.source}/resolve/{MINILM.revision}/model.safetensors"]

    def test_one_that_refuses_or_is_not_there_is_none(self, monkeypatch, cache):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                            "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}")
        assert not hubs.can_be_had(MINILM.source, MINILM.revision)


def test_the_command_says_rows_labels_sides_and_time(ftzard, tmp_path, mine):
    code, said = ftzard("init", tmp_path / "ws", "--data", mine, "--text", "tweet", "--label",
                        "mood")
    assert code == 0
    assert "rows: 400 with 2 labels: " in said and "; the rarest has " in said
    assert "rows to train on" in said and "the first training computes for about " in said
    assert "the gate wants 200 test rows (gate.min_rows)" in said
    assert "trial" not in (tmp_path / "ws" / "ftzard.yaml").read_text()


def test_a_training_that_would_stop_is_said_at_once_and_the_workspace_is_made(ftzard, tmp_path):
    words = "the cat sat on a very long wall and looked at {} for hours and hours".format
    pd.DataFrame({"text": [words(f"thing{n}") for n in range(120)], "label": ["a", "b"] * 60}
                 ).to_csv(tmp_path / "alike.csv", index=False)
    code, said = ftzard("init", tmp_path / "ws", "--data", tmp_path / "alike.csv")
    assert code == 0 and "a training would stop: " in said and "train" in said
    assert (tmp_path / "ws" / "ftzard.yaml").is_file()


def test_the_sample_is_a_trial_and_own_data_is_none(tmp_path):
    sampled = config_for(tmp_path / "ws", task="instruction_tuning", sample=True)
    assert sampled["gate"]["trial"] is True and compose(sampled).gate.trial
    assert not compose(yaml.safe_load(yaml.safe_dump(instruction_config({})))).gate.trial


@pytest.mark.parametrize(("text", "english"), [
    ("I can't believe that it's Monday again and the train was late", True),
    ("order 17 for b4 was solid and lovely", True), ("", False), ("好き です", False),
    *((text, False) for text in GERMAN),
    ("Het is niet te geloven dat we al weer in de trein staan", False),
    ("Je ne sais pas ce que tu veux mais on est là", False)])
def test_english_is_known_by_its_common_words(text, english):
    assert looks_english([text]) is english
