"""A smoke bench on CUDA, held to what is expected of it: `python -m tests.gpu.smoke RUNS`.

The guard allows each value what a new replicate may differ by, in 95 of 100: of 690 values some lie outside.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmark.checks import guard
from benchmark.spec import method as methods
from benchmark.store import Store

MOST_OUTSIDE = 0.05


def main(runs: Path) -> int:
    """0 where at most that share lies outside."""
    expected = guard.read(methods.load("topk_sae").folder / "expected.json")
    assert expected is not None
    found = guard.check(Store(runs).selected()[0], expected)
    for drift in found.moved:
        print(f"{drift.cell} {drift.metric}: {drift.found} instead of {drift.expected}, within {drift.tolerance:.2g}")
    print(f"smoke bench: {len(found.moved)} of {found.compared} values outside the 95 % tolerance")
    return int(not found.compared or len(found.moved) > MOST_OUTSIDE * found.compared)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
