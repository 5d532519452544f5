"""Build an archive of the example service: ``python examples/build.py 1.0.0 [--broken] [--out FOLDER]``.

The same version always makes the same bytes. ``--broken`` leaves the table of harbours out, as a careless build might:
the service starts, and its health probe answers 500.
"""

import argparse
from pathlib import Path

from simulator.package import build, example


def main() -> None:
    """Build what the command line asks for, and print its path and digest."""
    parser = argparse.ArgumentParser(description="Build an archive of the example service.")
    parser.add_argument("version")
    parser.add_argument("--broken", action="store_true", help="leave the table of harbours out")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the archive")
    options = parser.parse_args()
    left_out = {"harbours.json"} if options.broken else set()
    package = build(example("harbour"), options.version, out=options.out, left_out=left_out)
    print(f"{package.path}  sha256 {package.sha256}  {package.length} bytes")


if __name__ == "__main__":
    main()
