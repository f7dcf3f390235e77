"""What differs between tasks: one package per task, and what calls the task of a config."""
