"""Markdown of what was measured, and what follows for more workers."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.benchmarks.scale.parts import PHASES

Race = dict[str, list[dict[str, Any]]]
"""Measurements by where they were made, and of the parts, round by round."""

HEAD = (
    "| GB | mode | where | errors | wall, s | CPU, s | read + kernel + write, CPU s | overhead | curves/s | MB/s | "
    "memory, MB (input blocks left out) | planned, MB |\n" + "|---" * 12 + "|"
)
LIMITS = {"standard": 50, "batch": 200, "chunked": 500, "streaming": 1000}
"""Megabytes that a mode may take."""


def of(found: list[dict[str, Any]], name: str) -> float:
    """Median of the rounds."""
    return median(item[name] for item in found)


def parts_cpu(race: Race) -> float:
    """Processor seconds of reading, fitting and writing."""
    return median(sum(item[f"{phase}_cpu"] for phase in PHASES) for item in race["parts"])


def overheads(size: float, race: Race, errors: str = "quoted") -> str:
    """Rows of the table of `HEAD`; overhead is the median of the rounds, each by itself."""
    lines = []
    for spec in (name for name in race if name != "parts"):
        first, wall, cpu = race[spec][0], of(race[spec], "wall"), of(race[spec], "cpu")
        base = [sum(item[f"{phase}_cpu"] for phase in PHASES) for item in race["parts"]]
        over = median(item["cpu"] / b - 1 for item, b in zip(race[spec], base, strict=True))
        more = 1e3 * median(item["cpu"] - b for item, b in zip(race[spec], base, strict=True))
        memory = beside_input(race[spec])
        lines.append(
            f"| {size:g} | {first['mode']} | {spec} | {errors} | {wall:.2f} | {cpu:.2f} | {median(base):.2f} | "
            f"{100 * over:.1f} % ({more:.0f} ms) | {first['curves'] / wall:,.0f} | {first['input'] / 1e6 / wall:.0f} | "
            f"{memory:.0f} of {LIMITS[first['mode']]} | {first['planned'] / 1e6:.0f} |"
        )
    return "\n".join(lines)


def beside_input(found: list[dict[str, Any]], workers: int = 2) -> float:
    """Megabytes above start-up, without the blocks that are read; streaming counts these too."""
    less = 0 if found[0]["mode"] == "streaming" else workers * found[0]["block"]
    return (median(item["peak"] for item in found) - less) / 1e6


def streaming(size: float, race: Race) -> str:
    """Wall time of streaming beside the longest of its parts."""
    lines = [f"\n{size:g} GB, wall seconds, median of {len(race['parts'])} interleaved runs:\n"]
    read, kernel, write = (of(race["parts"], f"{phase}_wall") for phase in PHASES)
    lines.append("| where | streaming | read | kernel / cores | write | streaming / largest |\n" + "|---" * 6 + "|")
    for spec in (name for name in race if name != "parts"):
        ratio = median(
            item["wall"] / max(parts[f"{phase}_wall"] for phase in PHASES)
            for item, parts in zip(race[spec], race["parts"], strict=True)
        )
        lines.append(
            f"| {spec} | {of(race[spec], 'wall'):.2f} | {read:.2f} | {kernel:.2f} | {write:.2f} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def strong(size: float, one: list[dict[str, Any]], race: Race) -> str:
    """Strong scaling from one worker to two."""
    alone, two = of(one, "wall"), of(race["threads:2"], "wall")
    return f"\n{size:g} GB, threads: 1 worker {alone:.2f} s, 2 workers {two:.2f} s, {alone / two:.2f} times as fast.\n"


def cluster(empty: dict[str, Any], wave: dict[str, Any]) -> str:
    """What a cluster adds."""
    return (
        f"Tasks in flight for 2 workers: {wave['wave'] / 1e3:.0f} kB ({wave['task'] / 1e3:.1f} kB each). "
        f"{empty['blocks']:,} blocks of this size that do nothing, on a LocalCluster of 2 workers: "
        f"{1e3 * empty['wall'] / empty['blocks']:.2f} ms wall and {1e3 * empty['cpu'] / empty['blocks']:.2f} ms CPU a "
        f"block; scheduler and client together {empty['resident'] / 1e6:.0f} MB at the end.\n"
    )


def bootstrap(size: float, found: dict[str, Any]) -> str:
    """Time of a bootstrap of everything, from some of its blocks."""
    hours = found["wall"] * found["blocks"] / found["done"] / 3600
    return (
        f"Bootstrap of 1,000 resamples, {size:g} GB ({found['curves']:,} curves, mode {found['mode']}): "
        f"{found['done']} of {found['blocks']:,} blocks took {found['wall']:.1f} s with 2 threads, all would take "
        f"{hours:.2f} hours; memory {found['peak'] / 1e6:.0f} MB (planned {found['planned'] / 1e6:.0f} MB).\n"
    )


def same(size: float, hashed: str, race: Race) -> str:
    """Whether all places gave the bits of the fit in memory."""
    others = {item["hash"] for name, found in race.items() if name != "parts" for item in found}
    verdict = "the same bits" if others == {hashed} else f"OTHER BITS: {others}"
    return f"{size:g} GB: in memory {hashed}; {', '.join(name for name in race if name != 'parts')}: {verdict}.\n"


def peaks(races: dict[float, Race]) -> str:
    """Peaks by size: streaming takes the same whatever the size."""
    found = {size: of(race["threads:2"], "peak") / 1e6 for size, race in races.items()}
    text = "; ".join(f"{size:g} GB {peak:.0f} MB" for size, peak in found.items())
    ratio = f" ({found[20.0] / found[6.0]:.2f} times)" if {6.0, 20.0} <= found.keys() else ""
    return f"Peak above start-up, threads:2: {text}{ratio}.\n"


def many_workers(race: Race, empty: dict[str, Any]) -> str:
    """Time of large inputs with 10 to 1,000 workers, from the cost of a block, of the scheduler and of storage."""
    found = race.get("local:2", race["threads:2"])
    first = found[0]
    block, task = of(found, "cpu") / first["blocks"], empty["wall"] / empty["blocks"]
    size = first["input"] / first["blocks"]
    lines = [
        f"A block of {size / 1e6:.1f} MB takes {1e3 * block:.0f} ms of a worker (measured, 2 workers), "
        f"{1e3 * task:.2f} ms of scheduler and client (measured); storage gives 2 GB/s in all (assumed).\n",
        "| input | workers | workers alone, s | scheduler, s | storage, s | expected, s | share of the ideal |\n"
        + "|---" * 7 + "|",
    ]  # fmt: skip
    for terabytes in (0.1, 1.0, 10.0):
        blocks = terabytes * 1e12 / size
        for workers in (10, 100, 1000):
            busy, central, disk = blocks * block / workers, blocks * task, terabytes * 1e12 / 2e9
            expected = max(busy, central, disk)
            lines.append(
                f"| {1000 * terabytes:,.0f} GB | {workers} | {busy:,.0f} | {central:,.0f} | {disk:,.0f} | "
                f"{expected:,.0f} | {100 * busy / expected:.0f} % |"
            )
    return "\n".join(lines) + "\n"
