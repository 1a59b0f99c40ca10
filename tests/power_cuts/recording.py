"""A short run of a real receiver under strace: deliveries, some with audio, from the first start to the stop."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from receiver.simulator import GeneratedWav
from tests.acceptance.support import (
    Provider,
    Sender,
    Server,
    Site,
    clean_environment,
    completed,
    sha256_at_the_origin,
    until,
)
from tests.power_cuts import trace
from tests.power_cuts.trace import Call

AUDIO_BYTES = (3_000, 90_000, 1_300_000)


@dataclass(frozen=True)
class Recording:
    """What the receiver in `root` wrote, and the SHA-256 of the audio of each job that has any."""

    root: Path
    output: Path
    audio: dict[str, str]

    def calls(self) -> Iterator[Call]:
        with self.output.open(encoding="ascii", errors="replace") as lines:
            yield from trace.read(lines)


@cache
def reason_not_to_record() -> str | None:
    """Why nothing can be recorded here; None if it can."""
    try:
        done = subprocess.run(["strace", "-f", "--seccomp-bpf", "true"], capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        return "strace is not installed"
    return None if done.returncode == 0 else "strace may not trace processes here"


def record(folder: Path, deliveries: int, seed: int) -> Recording:
    """Run a receiver in `folder`; every delivery is acknowledged and every run has succeeded when it is stopped."""
    site, provider = Site(folder / "site"), Provider()
    try:
        site.configure(base_url=provider.sim.base_url, handlers="[handlers.save_audio]\n[handlers.log]")
        jobs = [provider.completed_job(f"Text {size}.", GeneratedWav(bytes=size)) for size in AUDIO_BYTES]
        audio = {job.id: sha256_at_the_origin(job) for job in jobs}
        output = folder / "strace.out"
        server = _launch(site, output)
        _deliver(site, server, [*audio], deliveries, random.Random(seed))
        assert server.stop() == 0, server.text()
        until("strace has written everything", lambda: is_complete(output.read_text("ascii", "replace"), server.pid))
        return Recording(site.folder, output, audio)
    finally:
        site.close()
        provider.close()


def _launch(site: Site, output: Path) -> Server:
    log = site.folder.parent / "serve.log"
    command = [*trace.command(output), sys.executable, "-m", "receiver", "serve", "--config", str(site.config)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=site.folder, env=clean_environment()
        )
    server = Server(process, log)
    site.servers.append(server)
    return server.wait_until_listening()


def is_complete(output: str, process: int) -> bool:
    """Whether the end of strace's output says that the process has exited. It pads the numbers of processes."""
    return re.search(rf"^{process} +\+\+\+ exited", output[-4000:], re.MULTILINE) is not None


def _deliver(site: Site, server: Server, with_audio: list[str], deliveries: int, rng: random.Random) -> None:
    """Each delivery is for a job that completed; those without audio failed, so that only the log wants them."""
    bodies = [completed(job) for job in with_audio]
    bodies += [
        completed(f"job-{number}").replace(b"job.completed", b"job.failed").replace(b'"completed"', b'"failed"')
        for number in range(deliveries - len(bodies))
    ]
    rng.shuffle(bodies)
    with closing(Sender()) as sender:
        for body in bodies:
            answer = sender.send(server.public, body)
            assert answer is not None
            assert answer[0] == 202, answer
    open_runs = "SELECT 1 FROM runs WHERE state <> 'succeeded' LIMIT 1"
    until("every run has succeeded", lambda: not site.rows(open_runs))
