"""What checks of large functions cost, and what they see: ``python -m benchmarks.scale [section ...]``.

Prints tables; nothing is asserted. Sections: {sections}.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

SECTIONS = {
    "article": "benchmarks.scale_article",
    "boundary": "benchmarks.scale_boundary",
    "bugs": "benchmarks.scale_bugs",
    "directional": "benchmarks.scale_directional",
    "overhead": "benchmarks.scale_overhead",
    "workers": "benchmarks.scale_workers",
}
"""Name -> module, whose ``main()`` prints the section."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the sections asked for, or all."""
    description = (__doc__ or "").format(sections=", ".join(SECTIONS))
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section", help="which; default: all")
    sections = parser.parse_args(arguments).sections or list(SECTIONS)
    for section in sections:
        if section not in SECTIONS:
            parser.error(f"there is no section {section!r}; the sections are {', '.join(SECTIONS)}")
        importlib.import_module(SECTIONS[section]).main()


if __name__ == "__main__":
    main()
