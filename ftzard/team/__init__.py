"""An MLflow server for a team, and its users."""
