"""Pieces of a stack read directly, against Zarr's own reading."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.stack import packing
from xpcs_dask.io.stack_arrays import StoredStack
from xpcs_dask.io.stack_chunks import Pieces

SHAPE, PIECE = (11, 5, 7), (4, 5, 3)


def stored(path, dtype="f4", **how):
    rng = np.random.default_rng(2)
    settings = {"compressors": packing(), "chunks": PIECE, "shape": SHAPE, "dtype": dtype} | how
    array = zarr.create_array(path, **settings)
    array[:] = (9 * rng.random(SHAPE)).astype(dtype)
    return array


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "a.zarr"
    return stored(path), Pieces.of(path)


cut = st.tuples(*(st.slices(size).filter(lambda part: part.step in (None, 1)) for size in SHAPE))


@given(cut)
def test_any_slice_is_what_zarr_reads(both, key):
    array, pieces = both
    found = pieces.read(key)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, array[key], strict=True)


@pytest.mark.parametrize("dtype", ["f8", "i4", "u8", "i1", "?"])
def test_all_numbers(tmp_path, dtype):
    array = stored(tmp_path / "a", dtype)
    everything = (slice(None),) * 3
    np.testing.assert_array_equal(Pieces.of(tmp_path / "a").read(everything), array[:], strict=True)


@pytest.mark.parametrize("fill", [np.nan, 3.0])
def test_a_piece_that_was_never_written_is_the_fill_value(tmp_path, fill):
    array = stored(tmp_path / "a", fill_value=fill)
    (tmp_path / "a" / "c" / "1" / "0" / "2").unlink()
    everything = (slice(None),) * 3
    found = Pieces.of(tmp_path / "a").read(everything)
    np.testing.assert_array_equal(found, array[:])
    np.testing.assert_array_equal(found[4:8, :, 6:], fill)


@pytest.mark.parametrize(
    "how",
    [
        {"compressors": None},
        {"compressors": zarr.codecs.ZstdCodec()},
        {"dtype": "f2"},
        {"shards": (8, 5, 6)},
        {"serializer": zarr.codecs.BytesCodec(endian="big")},
        {"filters": [zarr.codecs.TransposeCodec(order=(2, 1, 0))]},
    ],
)
def test_other_codings_are_for_zarr(tmp_path, how):
    array = stored(tmp_path / "a.zarr" / "g2", **how)
    assert Pieces.of(tmp_path / "a.zarr" / "g2") is None
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    state = (tmp_path / "a.zarr" / "zarr.json").stat()
    whole = StoredStack(str(tmp_path / "a.zarr"), "g2", (state.st_mtime_ns, state.st_size), SHAPE, array.dtype)
    np.testing.assert_array_equal(whole[(slice(2, 9), slice(None), slice(0, 4))], array[2:9, :, :4], strict=True)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"0", lambda b: b[:3]])
def test_a_damaged_piece_says_which_file(tmp_path, damage):
    stored(tmp_path / "a")
    piece = tmp_path / "a" / "c" / "0" / "0" / "1"
    piece.write_bytes(damage(piece.read_bytes()))
    with pytest.raises(FileRejected, match="damaged") as raised:
        Pieces.of(tmp_path / "a").read((slice(None),) * 3)
    assert raised.value.path == str(piece)


def test_a_piece_of_another_size_is_refused(tmp_path):
    stored(tmp_path / "a")
    stored(tmp_path / "b", "f8")
    (tmp_path / "b" / "c" / "0" / "0" / "1").rename(tmp_path / "a" / "c" / "0" / "0" / "1")
    with pytest.raises(FileRejected, match="damaged"):
        Pieces.of(tmp_path / "a").read((slice(0, 1), slice(0, 1), slice(3, 6)))


def test_keys_that_are_no_slices_of_neighbours_are_for_zarr(tmp_path):
    array = stored(tmp_path / "a.zarr" / "g2")
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    state = (tmp_path / "a.zarr" / "zarr.json").stat()
    whole = StoredStack(str(tmp_path / "a.zarr"), "g2", (state.st_mtime_ns, state.st_size), SHAPE, array.dtype)
    np.testing.assert_array_equal(whole[2], array[2])
    np.testing.assert_array_equal(whole[(slice(None, None, 2), slice(None), slice(None))], array[::2])
