"""Reports and plots: values in, HTML pages and figures out."""
