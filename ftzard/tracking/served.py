"""The registered model: raw texts in, label and probabilities out, with plain mlflow.pyfunc.

MLflow stores this file with the model and runs it to load one. The adapter, and the base where no
hub revision can fetch it, lie beside it as archives, so that a version needs no workspace.
"""

import tempfile
from pathlib import Path

import mlflow
from mlflow.models import set_model

from ftzard.models import adapter, archive


class Served(mlflow.pyfunc.PythonModel):
    """A registered version as a pyfunc.

    predict takes a table with a `text` column and returns a table with label, confidence and
    probabilities (in the order of the labels).
    """

    def load_context(self, context) -> None:
        cache = Path(tempfile.gettempdir()) / "ftzard-served"
        folder = archive.unpack(Path(context.artifacts["adapter"]), cache)
        if "base" in context.artifacts:
            source = archive.unpack(Path(context.artifacts["base"]), cache)
        else:
            source = adapter.read_meta(folder)["base"]["spec"]["source"]
        self.classifier = adapter.open_classifier(folder, adapter.base_spec(folder, source))

    def predict(self, context, model_input, params=None):
        return self.classifier.predict([str(text) for text in model_input["text"]])


set_model(Served())
