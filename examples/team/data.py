"""Write the reviews of the example sentiment, and passwords for this run."""

import runpy
import secrets
from pathlib import Path

if __name__ == "__main__":
    sentiment = runpy.run_path(str(Path(__file__).parents[1] / "sentiment" / "data.py"))
    sentiment["write"]("labelled.csv", ("text", "label"), sentiment["reviews"](900, seed=1))
    Path(".env").touch(mode=0o600)
    Path(".env").write_text(f"MLFLOW_AUTH_ADMIN_PASSWORD={secrets.token_urlsafe(16)}\n")
    for name in ("ada", "bob"):
        Path(f"{name}.password").touch(mode=0o600)
        Path(f"{name}.password").write_text(secrets.token_urlsafe(16))
