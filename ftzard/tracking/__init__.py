"""MLflow and other experiment trackers. No other package imports mlflow."""
