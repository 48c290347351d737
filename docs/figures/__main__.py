"""Write all figures: ``make figures``."""

from __future__ import annotations

from docs.figures import first_look, layers

if __name__ == "__main__":
    for made in (first_look.write(), layers.write()):
        print(made)  # noqa: T201
