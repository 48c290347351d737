"""Names, dimensions and units of what is read, and where APS NeXus results keep it. Nothing here opens a file."""

from __future__ import annotations

from dataclasses import dataclass

FILE, QBIN, DELAY = "file", "qbin", "delay"
"""Dimensions: one entry a file, one column of g2, one delay."""

CONVENTIONS = "xpcs_dask-g2-1"
"""Name and version of this Dataset shape; it goes up when a reader of stored Datasets must know."""


@dataclass(frozen=True)
class Variable:
    """One variable of the Dataset: what it is called, over what, in which unit."""

    dims: tuple[str, ...]
    units: str | None
    """None for times alone: xarray writes and reads their units itself."""
    long_name: str

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes that the variable carries."""
        return ({} if self.units is None else {"units": self.units}) | {"long_name": self.long_name}


VARIABLES: dict[str, Variable] = {
    "g2": Variable((FILE, QBIN, DELAY), "1", "intensity correlation g2, as stored"),
    "g2_err": Variable((FILE, QBIN, DELAY), "1", "error of g2, as stored"),
    "file": Variable((FILE,), "", "name of the file"),
    "path": Variable((FILE,), "", "path of the file when it was opened"),
    "size": Variable((FILE,), "byte", "size of the file"),
    "content_hash": Variable((FILE,), "1", "hash of all g2 of the file"),
    "start_time": Variable((FILE,), None, "start of the measurement"),
    "frames": Variable((FILE,), "1", "frames correlated, after stride and averaging"),
    "stride": Variable((FILE,), "1", "every how many-th raw frame was taken"),
    "average": Variable((FILE,), "1", "raw frames put together into one"),
    "frame_time": Variable((FILE,), "s", "time from one raw frame to the next"),
    "runs": Variable((FILE,), "1", "measurements averaged into the file"),
    "error_kind": Variable((FILE,), "", "what g2_err is: quoted, placeholder (no measure of scatter) or none (NaN)"),
    "qbin": Variable((QBIN,), "1", "label of the bin in the file's own map, from 1"),
    "q": Variable((QBIN,), "1/angstrom", "momentum transfer"),
    "phi": Variable((QBIN,), "degree", "azimuth"),
    "delay": Variable((DELAY,), "s", "delay time"),
    "level": Variable((DELAY,), "1", "multi-tau level: a channel is 2**level frames wide"),
    "n_products": Variable((FILE, DELAY), "1", "products averaged at each delay"),
    "n_pixels": Variable((FILE, QBIN), "1", "pixels in the bin"),
    "rate": Variable((FILE, QBIN), "1", "coincidences expected per product at level 0 for g2 = 1"),
    "curve_id": Variable((FILE, QBIN), "1", "hash of the file's g2 and the bin label"),
}
"""Every variable of a Dataset of g2 curves. All but g2 and g2_err are coordinates; NaN is what a format lacks."""

SCALARS: dict[str, Variable] = {
    "temperature": Variable((FILE,), "degC", "sample temperature, measured"),
    "temperature_set": Variable((FILE,), "degC", "sample temperature, asked for"),
    "count_time": Variable((FILE,), "s", "exposure of one raw frame"),
    "photon_energy": Variable((FILE,), "keV", "photon energy of the q-map"),
    "detector_distance": Variable((FILE,), "m", "sample to detector distance of the q-map"),
    "transmission": Variable((FILE,), "1", "transmission of the attenuator"),
    "scan_number": Variable((FILE,), "1", "number of the scan"),
}
"""Numbers per file that `include=` can ask for; temperature comes unasked where a file has it."""


@dataclass(frozen=True)
class ApsNexus:
    """Paths inside an APS 8-ID-I result file (boost-corr): multi-tau group, q-map, and the copied beamline metadata."""

    multitau: str = "xpcs/multitau"
    twotime: str = "xpcs/twotime"
    delay_list: str = "xpcs/multitau/delay_list"
    """(delay,) whole numbers of correlated frames."""
    g2: str = "xpcs/multitau/normalized_g2"
    """(delay, qbin) float32: delay comes first."""
    g2_err: str = "xpcs/multitau/normalized_g2_err"
    stride: str = "xpcs/multitau/config/stride_frame"
    average: str = "xpcs/multitau/config/avg_frame"
    qmap: str = "xpcs/qmap"
    map_names: str = "xpcs/qmap/map_names"
    map_units: str = "xpcs/qmap/map_units"
    grid: str = "xpcs/qmap/dynamic_num_pts"
    """(2,) bins along the two axes of the map, empty ones included."""
    columns: str = "xpcs/qmap/dynamic_index_mapping"
    """(qbin,) flat position of each g2 column in that grid."""
    axes: tuple[str, str] = ("xpcs/qmap/dynamic_v_list_dim0", "xpcs/qmap/dynamic_v_list_dim1")
    """Centres of the bins along each axis."""
    dynamic_map: str = "xpcs/qmap/dynamic_roi_map"
    static_map: str = "xpcs/qmap/static_roi_map"
    """(row, column) label of each pixel, 0 where masked; static bins lie inside dynamic ones."""
    static_mean: str = "xpcs/temporal_mean/scattering_1d"
    """(1, static bin) mean counts per pixel and raw frame."""
    intensity: str = "xpcs/spatial_mean/intensity_vs_time"
    """(2, frames): its length is the number of frames correlated."""
    file_list: str = "xpcs/average/file_list"
    """Names of the runs, only in averaged files."""
    frame_time: str = "entry/instrument/detector_1/frame_time"
    """Seconds; scalar, or (1, 1) float32 in averaged files."""
    start_time: str = "entry/start_time"


APS = ApsNexus()

APS_SCALARS: dict[str, str] = {
    "temperature": "entry/sample/qnw1_temperature",
    "temperature_set": "entry/sample/qnw1_temperature_set",
    "count_time": "entry/instrument/detector_1/count_time",
    "photon_energy": "xpcs/qmap/energy",
    "detector_distance": "xpcs/qmap/detector_distance",
    "transmission": "entry/instrument/attenuator_1/attenuator_transmission",
    "scan_number": "entry/scan_number",
}
"""Where APS results keep the scalars. Geometry comes from the q-map: that of /entry can be wrong by 10 %."""

PER_ANGSTROM: dict[str, float] = {
    **dict.fromkeys(("å⁻¹", "1/å", "å^-1", "å-1", "a^-1", "1/a", "a⁻¹", "angstrom^-1", "1/angstrom"), 1.0),
    **dict.fromkeys(("nm⁻¹", "1/nm", "nm^-1", "nm-1", "nanometer^-1", "1/nanometer"), 0.1),
    **dict.fromkeys(("m⁻¹", "1/m", "m^-1", "m-1", "meter^-1", "1/meter"), 1e-10),
}
"""Factor to 1/angstrom by unit in lower case without blanks; a unit that is not here is refused, not guessed."""

DEGREES: dict[str, float] = {
    **dict.fromkeys(("deg", "degree", "degrees", "°"), 1.0),
    **dict.fromkeys(("rad", "radian", "radians"), 57.29577951308232),
}
"""Factor to degrees by unit in lower case without blanks."""

SECONDS: dict[str, float] = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "\u00b5s", "\u03bcs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
}
"""Factor to seconds by unit in lower case without blanks; both characters that are used for micro are known."""

KEV: dict[str, float] = {"kev": 1.0, "ev": 1e-3}
"""Factor to keV by unit in lower case without blanks."""
