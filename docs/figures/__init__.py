"""Figures of the documentation, made by the package from simulated data: ``python -m docs.figures``."""
