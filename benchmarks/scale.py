"""What checks of large functions cost, and what they see: ``python -m benchmarks.scale [section ...]``.

Prints tables; nothing is asserted. Sections: {sections}.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

SECTIONS = {"directional": "benchmarks.scale_directional"}
"""Name -> module, whose ``main()`` prints the section."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the sections asked for, or all."""
    description = (__doc__ or "").format(sections=", ".join(SECTIONS))
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section")
    sections = parser.parse_args(arguments).sections or list(SECTIONS)
    unknown = [section for section in sections if section not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    for section in sections:
        importlib.import_module(SECTIONS[section]).main()


if __name__ == "__main__":
    main()
