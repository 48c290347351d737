"""Results as Parquet: the columns of the CSV with types, units in the metadata of every column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.errors import ConfigError
from xpcs_dask.io.export.csv_file import all_columns, named
from xpcs_dask.io.export.pieces import curve_dims, pieces
from xpcs_dask.io.export.rows import GROUP, NEEDED, Column, Values, table

MARK = b"xpcs_dask"
"""Metadata of the file that holds the provenance of each group, as JSON."""


def write_parquet(groups: Mapping[str, xr.Dataset], path: Path) -> None:
    """Write all groups below each other, one row group a piece; what a group has no value of is null."""
    arrow, parquet = _pyarrow()
    first = [table(_nothing(results), GROUP) for results in groups.values()]
    fields = [_field(arrow, column, first) for column in all_columns(groups)]
    provenance = {name: {key: str(value) for key, value in results.attrs.items()} for name, results in groups.items()}
    schema = arrow.schema(fields, metadata={MARK: json.dumps(provenance).encode()})
    with parquet.ParquetWriter(path, schema) as writer:
        for name, results in groups.items():
            for _, piece in pieces(results, NEEDED):
                found = table(piece, named(name, groups))
                count = len(found["status"])
                arrays = [
                    arrow.array(found[field.name], type=field.type)
                    if field.name in found
                    else arrow.nulls(count, field.type)
                    for field in schema
                ]
                writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _nothing(results: xr.Dataset) -> xr.Dataset:
    """Results without a curve, to learn the types of the columns without computing one."""
    needed = results[[name for name in NEEDED if name in results.data_vars]]
    return needed.isel({dim: slice(0, 0) for dim in curve_dims(results)}).compute()


def _field(arrow: Any, column: Column, tables: list[dict[str, Values]]) -> Any:
    values: Values = next(found[column.name] for found in tables if column.name in found)
    kind = arrow.string() if values.dtype.kind in "OUT" else arrow.from_numpy_dtype(values.dtype)
    metadata = {"units": column.units, "long_name": column.long_name}
    return arrow.field(column.name, kind, metadata=metadata, nullable=column.name != GROUP)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        import pyarrow.parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise ConfigError("writing Parquet needs pyarrow: pip install 'xpcs-dask[parquet]'") from None
    return pyarrow, pyarrow.parquet


def is_ours(path: Path) -> bool:
    """Whether `write_parquet` wrote the file."""
    arrow, parquet = _pyarrow()
    try:
        return MARK in (parquet.read_schema(path).metadata or {})
    except (OSError, arrow.ArrowInvalid):
        return False
