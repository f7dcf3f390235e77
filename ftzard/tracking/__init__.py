"""MLflow: the window onto what ran. The only package that imports mlflow."""
