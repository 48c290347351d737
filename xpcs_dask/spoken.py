"""Numbers and names as a person reads them."""

from __future__ import annotations

import math

__all__ = ["count", "cut", "measured", "plain", "share"]

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(value: float, digits: int = 4) -> str:
    """``0.01234``, ``1.234 × 10⁻⁷``; a dash where there is no number."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g} × 10{str(int(power)).translate(SUPERSCRIPT)}"


def measured(value: float, error: float) -> str:
    """Value and standard error, rounded to two digits of the error: ``1.234 ± 0.056``; a dash for no error."""
    if not math.isfinite(value):
        return "–"
    if not (math.isfinite(error) and error > 0):
        return f"{plain(value)} ± –"
    top = math.floor(math.log10(max(abs(value), error)))
    last = math.floor(math.log10(error)) - 1
    if not -3 <= top < 5:
        power = f" × 10{str(top).translate(SUPERSCRIPT)}"
        places = max(top - last, 0)
        return f"({value / 10**top:.{places}f} ± {error / 10**top:.{places}f}){power}"
    places = max(-last, 0)
    return f"{value:.{places}f} ± {error:.{places}f}"


def count(number: int, one: str, many: str = "") -> str:
    """``1 curve``, ``2,117 curves``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cut(text: str, most: int) -> str:
    """Of a long text its beginning and its end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"


def share(part: int, whole: int) -> str:
    """``12 %``; never 0 or 100 where it is not."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 1:
        return "< 1 %"
    if 99 < percent < 100:
        return "> 99 %"
    return f"{percent:.0f} %"
