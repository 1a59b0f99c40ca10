"""The command `tts-receiver`."""

from __future__ import annotations

import gc
import sys

from receiver.cli.error_report import exit_code, lines_of, report
from receiver.cli.streams import flush_output, open_standard_streams


def main() -> None:
    """Run a command. Errors are printed as one sentence on standard error; exit 1 for a failure, 2 for wrong usage."""
    gc.set_threshold(20_000, 50, 100)  # imported objects stay: collecting them took a tenth of a command's time
    open_standard_streams()
    try:
        try:
            _run()
        finally:
            flush_output()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - every error is reported
        report(error)
        sys.exit(1)


def _run() -> None:
    # Imported here, so that Ctrl-C during the imports is handled like Ctrl-C later.
    from receiver.cli.commands import build
    from receiver.cli.text_output import echo_error
    from receiver.errors import ReceiverError

    try:
        build()()
    except ReceiverError as error:
        echo_error(*lines_of(error))
        sys.exit(exit_code(error))
