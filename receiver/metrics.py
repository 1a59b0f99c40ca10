"""What Prometheus sees. One registry for each receiver, so that two in one process do not mix."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from receiver.local_counters import LocalCounters, LocalHistogram
from receiver.store.gauges import QueueDepth

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """Every counter, gauge and histogram, by name."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.local_counters = LocalCounters(registry)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.deliveries = Counter(
            "tts_receiver_deliveries",
            "Deliveries by source and outcome (accepted, duplicate, quarantined, or the reason of the refusal).",
            ["source", "outcome"],
            registry=registry,
        )
        self.intake_seconds = LocalHistogram(
            "tts_receiver_intake_seconds",
            "From a delivery's first byte to the answer being ready, the commit included.",
            buckets=_FAST,
            registry=registry,
        )
        self.connections = Gauge(
            "tts_receiver_connections", "Open connections by listener (public, private).", ["listener"],
            registry=registry,
        )  # fmt: skip
        self.connections_cut = Counter(
            "tts_receiver_connections_cut",
            "Connections that were refused or cut off, by listener and reason.",
            ["listener", "reason"],
            registry=registry,
        )
        self.events = Counter(
            "tts_receiver_events",
            "New events by source, type and origin.",
            ["source", "type", "origin"],
            registry=registry,
        )
        self.polls = Counter(
            "tts_receiver_polls",
            "Polls by source and outcome (running, ended, or the reason of the trouble).",
            ["source", "outcome"],
            registry=registry,
        )
        self.submits = Counter(
            "tts_receiver_submits",
            "Submit requests by source and outcome (submitted, or the reason of the trouble).",
            ["source", "outcome"],
            registry=registry,
        )
        self.recovered = Counter(
            "tts_receiver_events_recovered",
            "Events that polling reported first, at sources whose provider sends webhooks.",
            ["source"],
            registry=registry,
        )
        self.jobs = Gauge(
            "tts_receiver_jobs_open",
            "Jobs by source and state (submitting, watching, unknown).",
            ["source", "state"],
            registry=registry,
        )
        self.quarantined = Gauge(
            "tts_receiver_events_quarantined", "Events in quarantine by source.", ["source"], registry=registry
        )
        self.silent = Gauge(
            "tts_receiver_source_silent_seconds",
            "How long nothing has been heard of a source that has open jobs; 0 if it has none.",
            ["source"],
            registry=registry,
        )
        self.runs = Counter(
            "tts_receiver_runs", "Ended attempts by handler and outcome.", ["handler", "outcome"], registry=registry
        )
        self.handler_seconds = Histogram(
            "tts_receiver_handler_seconds", "How long attempts took.", ["handler"], buckets=_SLOW, registry=registry
        )
        self.start_seconds = LocalHistogram(
            "tts_receiver_start_seconds",
            "From a run being due to its handler starting.",
            buckets=_FAST,
            registry=registry,
        )
        self.blocked = Counter(
            "tts_receiver_handler_blocked",
            "Times a handler kept the handlers' event loop from running.",
            ["handler"],
            registry=registry,
        )
        self.abandoned = Gauge(
            "tts_receiver_abandoned_threads",
            "Threads of plain handlers that were timed out and have not returned.",
            registry=registry,
        )
        self.depth = Gauge(
            "tts_receiver_runs_open", "Runs by handler and state (pending, running, dead).", ["handler", "state"],
            registry=registry,
        )  # fmt: skip
        self.oldest_due = Gauge(
            "tts_receiver_oldest_due_seconds", "Age of the oldest due run that has not started.", registry=registry
        )
        self.clock_steps = Counter(
            "tts_receiver_clock_steps", "Times the machine's clock was set while this process ran.", registry=registry
        )
        self.waiting = Gauge(
            "tts_receiver_intake_waiting", "Writes handed to the store and not yet committed.", registry=registry
        )
        self.log_lines_dropped = Counter(
            "tts_receiver_log_lines_dropped",
            "Log lines that could not be written and did not fit into memory, by cause.",
            ["cause"],
            registry=registry,
        )
        self.audio_bytes = Counter(
            "tts_receiver_audio_bytes", "Bytes of audio fetched and stored.", ["source"], registry=registry
        )
        self.audio_seconds = Histogram(
            "tts_receiver_audio_seconds",
            "How long fetches took.",
            ["source", "outcome"],
            buckets=_SLOW,
            registry=registry,
        )

        self.audio_paused = Gauge(
            "tts_receiver_audio_paused", "1 while the audio storage cannot be used and runs wait for it.",
            registry=registry,
        )  # fmt: skip

    def show_depth(self, depth: QueueDepth, now: float) -> None:
        """Set the gauges that come from the store."""
        self.depth.clear()
        for (handler, state), count in depth.by_handler.items():
            self.depth.labels(handler, state).set(count)
        self.oldest_due.set(0 if depth.oldest_due_at is None else max(0.0, now - depth.oldest_due_at))

    def show_quarantined(self, counts: Mapping[str, int]) -> None:
        """Set the gauge of events in quarantine by source."""
        self.quarantined.clear()
        for source, count in counts.items():
            self.quarantined.labels(source).set(count)

    def show_jobs(self, counts: Mapping[tuple[str, str], int], silent: Mapping[str, float]) -> None:
        """Set the gauges of jobs: how many by source and state, and how long each source is silent, in seconds."""
        self.jobs.clear()
        for (source, state), count in counts.items():
            self.jobs.labels(source, state).set(count)
        self.silent.clear()
        for source, seconds in silent.items():
            self.silent.labels(source).set(seconds)

    def show_dropped_lines(self, counts: Mapping[str, int]) -> None:
        """Set the counter of dropped log lines, which this process's log keeps itself."""
        self.log_lines_dropped.clear()
        for cause, count in counts.items():
            self.log_lines_dropped.labels(cause).inc(count)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
