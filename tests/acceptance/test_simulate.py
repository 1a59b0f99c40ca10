"""What `simulate` prints is followed to the letter: from nothing to a delivery."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.acceptance.support import Site, clean_environment, until
from tests.patience import PATIENCE


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_what_is_printed_leads_to_a_registered_webhook_and_a_delivery(site: Site) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/webhooks/aitts"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    simulate = subprocess.Popen(
        [sys.executable, "-m", "receiver", "simulate", "--port", "0", "--webhook-url", url],
        stdout=subprocess.PIPE, text=True, cwd=site.folder, env=clean_environment(),
    )  # fmt: skip
    try:
        assert simulate.stdout is not None
        printed = ""
        while "Ctrl-C stops" not in printed:
            line = simulate.stdout.readline()
            assert line, printed
            printed += line
        (table,) = re.findall(r"^\[sources\.aitts\]\n(?:.+\n)+", printed, re.MULTILINE)
        (register,) = re.findall(r"^.*webhook register .*$", printed, re.MULTILINE)
        site.config.write_text(f"[server]\nport = {port}\nprivate_port = 0\n[handlers.log]\n{table}")

        done = subprocess.run(
            ["sh", "-c", register], capture_output=True, text=True, timeout=PATIENCE, cwd=site.folder,
            env=clean_environment(PATH=path), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert site.command("check").returncode == 0
        site.start()
        token = register.partition("=")[2].split()[0]
        tested = site.command("webhook", "test", "--source", "aitts", AITTS_ID_TOKEN=token)
        assert tested.returncode == 0, tested.stderr
        until("the test is stored", lambda: site.rows("SELECT id FROM events WHERE type = 'test'"))
    finally:
        simulate.send_signal(signal.SIGINT)
        simulate.communicate(timeout=PATIENCE)
