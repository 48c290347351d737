"""What streaming costs beside reading, fitting and writing: ``python -m tests.benchmarks.scale``."""
