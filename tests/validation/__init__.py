"""Validation: the package beside truth, scipy and pyXpcsViewer; ``python -m tests.validation`` prints the table."""
