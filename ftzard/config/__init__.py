"""The experiment's configuration: YAML files with the values, a schema with the types."""
