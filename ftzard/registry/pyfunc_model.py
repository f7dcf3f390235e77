"""The registered model: raw texts in, labels or answers out, with plain mlflow.pyfunc.

MLflow stores this file with the model and runs it to load one. The adapter, and the base where no
hub revision can fetch it, lie beside it as archives, and FTzard's own code that opens them under
`code/`: a version needs no workspace and no FTzard, only the packages of its requirements.txt.
"""

import sys
from pathlib import Path

import mlflow.pyfunc
import pandas
from mlflow.models import set_model

SHIPPED = Path(__file__).with_name("code")


class Served(mlflow.pyfunc.PythonModel):
    """A registered version as a pyfunc.

    predict takes a table with a `text` column and returns a table with label, confidence,
    probabilities (in the order of the labels) and abstains: whether the confidence is too low to
    rely on the label. Confidence and probabilities are calibrated with the temperature that the
    version was registered with; one without is told as the model says it, and never abstains.
    `load_model(…, model_config={"abstain_below": None})` turns abstaining off. Of a model that
    writes answers label is the answer to a text, and tokens and finished stand in place of the last
    two. Texts are cleaned as those of training were.
    """

    def load_context(self, context) -> None:
        require_own_code(SHIPPED)
        from ftzard.core import archive, private_folder
        from ftzard.modeling.adapter_meta import read_meta
        from ftzard.tasks import loading

        cache = private_folder.user_cache("served")
        packed = {name: archive.unpack(Path(path), cache)
                  for name, path in context.artifacts.items()}
        if "adapter" in packed:
            meta = read_meta(packed["adapter"])
            self.spec = meta["base"]["spec"]
        else:
            meta = context.model_config
            self.spec = meta["spec"]
        self.cleaning = meta.get("cleaning", {})
        self.asked = {key: value for key, value in (context.model_config or {}).items()
                      if key in ("temperature", "abstain_below") and "adapter" in packed}
        source = packed.get("base") or self.spec["source"]
        self.model = loading.load_predictor(
            packed.get("adapter"), {**self.spec, "source": source}, meta)

    def predict(self, context, model_input: pandas.DataFrame, params=None) -> pandas.DataFrame:
        from ftzard.core.text import is_blank
        from ftzard.errors import DataError
        from ftzard.tasks import loading

        texts = loading.clean(model_input["text"].fillna(""), self.spec, self.cleaning)
        empty = [row for row, text in enumerate(texts) if is_blank(text)]
        if empty:
            raise DataError(f"row {empty[0]} has no text, or an empty text once cleaned "
                            f"({len(empty)} rows in all); expected a text in every row.")
        return self.model.predict(texts, **self.asked)


def require_own_code(shipped: Path) -> None:
    """Refuse a process that has imported another FTzard than the one shipped with the model.

    Python would silently take the imported one. Raises TrackingError with both places.
    """
    imported = sys.modules.get("ftzard")
    if imported is None or not shipped.is_dir():
        return
    there = Path(imported.__file__).parent
    for file in sorted((shipped / "ftzard").rglob("*.py")):
        other = there / file.relative_to(shipped / "ftzard")
        if not other.is_file() or other.read_bytes() != file.read_bytes():
            from ftzard.errors import TrackingError

            raise TrackingError(
                f"this process has imported FTzard from {there}, whose "
                f"{other.relative_to(there)} is not the one that this model was registered with "
                f"({shipped}). Load it in a process that has imported none, as 'mlflow models "
                "serve' does, or use 'ftzard predict'.")


set_model(Served())
