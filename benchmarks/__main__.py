"""`python -m benchmarks`: run the benchmarks of handlers and streams, and those with a goal; exit 1 if it is missed."""

from __future__ import annotations

import sys

from benchmarks import forward, intake, latency, memory, polling, profile, publish, streaming


def main() -> int:
    forward.main()
    publish.main()
    streaming.main()
    results = [(module.__name__, module.main()) for module in (intake, latency, memory, polling, profile)]
    for name, reached in results:
        print(f"{name.rpartition('.')[2]:<10} {'reached' if reached else 'MISSED'}")
    return 0 if all(reached for _, reached in results) else 1


if __name__ == "__main__":
    sys.exit(main())
