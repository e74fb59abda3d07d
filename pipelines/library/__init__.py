"""earmark as a Python library: what `import earmark` offers, beside the command line."""
