"""``python -m tests.fuzz``: run cases, print how they ended, exit 1 if one ended badly."""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.fuzz.inputs import make
from tests.fuzz.running import run_cases


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    found.add_argument("--cases", type=int, default=2000)
    found.add_argument("--first", type=int, default=0, help="number of the first case (0)")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--only", default="", help="kinds of cases whose names begin so (all)")
    found.add_argument("--limit", type=float, default=10.0, help="seconds a case may take (10)")
    return found


def main() -> int:
    """Run, print a table, then every class of bad endings with the numbers of its cases."""
    args = parser().parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    bad: dict[str, list] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        inputs = replace(make(Path(place)), only=args.only)
        for ending in run_cases(
            inputs, args.seed, range(args.first, args.first + args.cases), args.limit
        ):
            counts[ending.what.split(":")[0], ending.how if ending.good else "BAD"] += 1
            if not ending.good:
                print(f"BAD case {ending.number}: {ending.how}", file=sys.stderr, flush=True)
                bad.setdefault(ending.how, []).append(ending)
    for (what, how), count in sorted(counts.items()):
        print(f"{what:8} {how:24} {count:6,}")
    for how, endings in sorted(bad.items(), key=lambda item: -len(item[1])):
        print(f"BAD {len(endings)} x {how}")
        for one in endings[:3]:
            print(f"    case {one.number}, {one.what}: {one.text[:160]!r}")
    print(f"{args.cases} cases of seed {args.seed}: {sum(map(len, bad.values()))} ended badly")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
