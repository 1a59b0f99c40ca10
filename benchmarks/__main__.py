"""`python -m benchmarks`: everything that the project promises in figures. Exit 1 if one is missed."""

from __future__ import annotations

import sys

from benchmarks import intake, latency, memory, polling, profile


def main() -> int:
    good = [(part.__name__, part.main()) for part in (intake, latency, memory, polling, profile)]
    for name, reached in good:
        print(f"{name.rpartition('.')[2]:<10} {'reached' if reached else 'MISSED'}")
    return 0 if all(reached for _, reached in good) else 1


if __name__ == "__main__":
    sys.exit(main())
