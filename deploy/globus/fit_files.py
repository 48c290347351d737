"""A function for Globus Compute: it fits files where the endpoint runs, and returns what a flow needs to know."""


def fit_files(config: dict) -> dict:
    """Run one job of xpcs_dask; everything it needs is imported inside, as Globus Compute sends only the function.

    Parameters
    ----------
    config : dict
        Settings as in a file for ``xpcs-dask run`` (`xpcs-dask schema run`), with absolute paths, such as
        ``{"inputs": ["/eagle/PROJECT/run7/*.hdf"], "output": "/eagle/PROJECT/run7/fits.zarr"}``.

    Returns
    -------
    dict
        Of texts and numbers: ``result`` (``SUCCEEDED`` or ``FAILED``), ``exit_code`` (that of the command line), and
        ``error`` (one line), or ``output``, ``manifest``, ``version``, ``seconds``, ``counts`` and ``rejected``.
    """
    import xpcs_dask  # noqa: PLC0415 - see above

    try:
        manifest = xpcs_dask.run(config)
    except xpcs_dask.errors.XpcsError as error:
        return {"result": "FAILED", "exit_code": error.exit_code, "error": " ".join(str(error).split())}
    told = manifest.model_dump(mode="json", include={"output", "manifest", "version", "seconds", "counts", "rejected"})
    return {"result": "SUCCEEDED", "exit_code": 0, **told}
