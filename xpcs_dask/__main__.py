"""``python -m xpcs_dask`` is the program ``xpcs-dask``, for where no script of that name is on the PATH."""

from xpcs_dask.cli import main

main()
