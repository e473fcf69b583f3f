"""python -m benchmarks.faults kill     SIGKILL and SIGINT at random moments of every stage
python -m benchmarks.faults commit   SIGKILL before every call of a stage's commit
python -m benchmarks.faults power    a power cut at the end and in the midst of every stage
python -m benchmarks.faults readers  openings of an index while others are put in place
python -m benchmarks.faults fuzz     rubbish for everything that reads what others wrote
"""

from __future__ import annotations

import importlib
import sys

CAMPAIGNS = ("kill", "commit", "power", "readers", "fuzz")


def main() -> None:
    """Run the campaign that is named first."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in CAMPAIGNS:
        sys.exit(f"{__doc__}\nname one of them: {', '.join(CAMPAIGNS)}")
    importlib.import_module(f"benchmarks.faults.{name}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
