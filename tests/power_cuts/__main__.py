"""`make crash-images`: cuts the power of a recorded receiver at many moments; exit 1 if anything is lost or half."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.power_cuts.images import try_images
from tests.power_cuts.recording import reason_not_to_record, record


def main() -> int:
    """Record and try as the arguments say."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--deliveries", type=int, default=150)
    arguments.add_argument("--moments", type=int, default=500)
    arguments.add_argument("--each", type=int, default=10, help="disks at each moment")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    if reason := reason_not_to_record():
        print(reason)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = record(folder, given.deliveries, given.seed)
        report = try_images(recording, folder / "image", given.moments, given.each, given.seed)
    for problem in report.problems[:50]:
        print(problem)
    print(f"seed {given.seed}: {report}")
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
