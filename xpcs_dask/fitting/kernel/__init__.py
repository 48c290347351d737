"""Compiled fits: many curves, one call; NumPy arrays in, NumPy arrays out. Only modules here import Numba."""
