"""Compiled fits: many curves, one call; NumPy arrays in, NumPy arrays out. Numba is imported only by the modules here."""
