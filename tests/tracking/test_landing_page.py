"""MLflow's start page leads to the training runs, on the side of MLflow where they are."""

from flask import Flask

from ftzard.tracking import landing_page


def page_of(tmp_path, experiment):
    (tmp_path / "index.html").write_text("<html><head><title>MLflow</title></head></html>")
    app = Flask("flask", root_path=str(tmp_path), static_folder=str(tmp_path))
    app.add_url_rule("/", "serve", lambda: "as MLflow has it")
    landing_page.install(app, experiment)
    return app.test_client().get("/")


def test_it_chooses_the_side_and_goes_to_the_experiment_before_mlflow_begins(tmp_path):
    answer = page_of(tmp_path, "reviews")
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
    assert text.index("mlflow.workflowType_v1") < text.index("<title>MLflow")
    assert "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1" in text, "no assistant by itself"
    assert 'var name = "reviews"' in text and "?workflowType=machine_learning" in text


def test_a_name_cannot_end_the_script(tmp_path):
    text = page_of(tmp_path, "</script><b>").get_data(as_text=True)
    assert text.count("</script>") == 1


def test_a_server_of_many_experiments_shows_their_list(tmp_path):
    assert "var name = null" in page_of(tmp_path, None).get_data(as_text=True)
