"""What is fitted and how: NumPy in, NumPy out; no file, no Dask, no xarray."""
