"""The Prometheus metrics. Each receiver has its own registry, so that two in one process do not mix."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from receiver.local_counters import LocalCounters, LocalHistogram
from receiver.model.rate_plan import RatePlan
from receiver.store.gauges import QueueDepth

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """Every counter, gauge and histogram, by name.

    Attributes:
        registry: what the process itself knows.
        store_registry: what is read from the store.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.store_registry = CollectorRegistry()
        self.local_counters = LocalCounters(self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._add_intake(self.registry)
        self._add_jobs(self.registry)
        self._add_runs(self.registry)
        self._add_store(self.store_registry)
        self._add_audio(self.registry)
        self._add_process(self.registry)

    def _add_intake(self, registry: CollectorRegistry) -> None:
        """Connections, deliveries, and the events that they carry."""
        self.connections = Gauge(
            "tts_receiver_connections", "Open connections by listener (public, private).", ["listener"],
            registry=registry,
        )  # fmt: skip
        self.connections_cut = Counter(
            "tts_receiver_connections_cut",
            "Connections that were refused or closed by the receiver, by listener and reason.",
            ["listener", "reason"],
            registry=registry,
        )
        self.deliveries = Counter(
            "tts_receiver_deliveries",
            "Deliveries by source and outcome (accepted, duplicate, quarantined, or the reason of the refusal).",
            ["source", "outcome"],
            registry=registry,
        )
        self.intake_seconds = LocalHistogram(
            "tts_receiver_intake_seconds",
            "Time from a delivery's first byte until the response is ready, including the commit.",
            buckets=_FAST,
            registry=registry,
        )
        self.events = Counter(
            "tts_receiver_events",
            "New events by source, type and origin.",
            ["source", "type", "origin"],
            registry=registry,
        )
        self.waiting = Gauge(
            "tts_receiver_intake_waiting", "Writes passed to the store and not yet committed.", registry=registry
        )

    def _add_jobs(self, registry: CollectorRegistry) -> None:
        """Requests about jobs."""
        self.submits = Counter(
            "tts_receiver_submits",
            "Submit requests by source and outcome (submitted, or the reason of the error).",
            ["source", "outcome"],
            registry=registry,
        )
        self.polls = Counter(
            "tts_receiver_polls",
            "Polls by source and outcome (running, ended, or the reason of the error).",
            ["source", "outcome"],
            registry=registry,
        )
        self.recovered = Counter(
            "tts_receiver_events_recovered",
            "Events that polling reported first, for sources that receive webhooks.",
            ["source"],
            registry=registry,
        )

    def _add_runs(self, registry: CollectorRegistry) -> None:
        """Runs, their attempts, and handlers that block."""
        self.runs = Counter(
            "tts_receiver_runs", "Ended attempts by handler and outcome.", ["handler", "outcome"], registry=registry
        )
        self.run_errors = Counter(
            "tts_receiver_run_errors",
            "Failed attempts by handler and kind of error.",
            ["handler", "error_kind"],
            registry=registry,
        )
        self.start_seconds = LocalHistogram(
            "tts_receiver_start_seconds",
            "Time from a run being due until its handler starts.",
            buckets=_FAST,
            registry=registry,
        )
        self.handler_seconds = LocalHistogram(
            "tts_receiver_handler_seconds", "Duration of attempts.", ["handler"], buckets=_SLOW, registry=registry
        )
        self.blocked = Counter(
            "tts_receiver_handler_blocked",
            "Times that a handler blocked the handlers' event loop.",
            ["handler"],
            registry=registry,
        )
        self.abandoned = Gauge(
            "tts_receiver_abandoned_threads",
            "Threads of plain handlers that timed out and have not returned.",
            registry=registry,
        )

    def _add_audio(self, registry: CollectorRegistry) -> None:
        """Fetched audio, and its storage."""
        self.audio_bytes = Counter(
            "tts_receiver_audio_bytes", "Bytes of audio fetched and stored.", ["source"], registry=registry
        )
        self.audio_seconds = Histogram(
            "tts_receiver_audio_seconds",
            "Duration of fetches, per file.",
            ["source", "outcome"],
            buckets=_SLOW,
            registry=registry,
        )
        self.audio_paused = Gauge(
            "tts_receiver_audio_paused", "1 while the audio storage cannot be used and fetching is paused.",
            registry=registry,
        )  # fmt: skip

    def _add_store(self, registry: CollectorRegistry) -> None:
        """What is read from the store for each scrape."""
        self.quarantined = Gauge(
            "tts_receiver_events_quarantined", "Events in quarantine by source.", ["source"], registry=registry
        )
        self.feed_delay = Gauge(
            "tts_receiver_feed_delay_seconds",
            "How long stored events have been held up on their way to streams.",
            registry=registry,
        )
        self.jobs = Gauge(
            "tts_receiver_jobs_open",
            "Jobs by source and state (submitting, watching, unknown).",
            ["source", "state"],
            registry=registry,
        )
        self.silent = Gauge(
            "tts_receiver_source_silent_seconds",
            "Time since the last delivery or job response from a source with open jobs; 0 if it has none.",
            ["source"],
            registry=registry,
        )
        self.rate_limit = Gauge(
            "tts_receiver_rate_limit_requests",
            "Requests of a window by source and bucket, where responses report a rate limit.",
            ["source", "bucket"],
            registry=registry,
        )
        self.rate_limit_left = Gauge(
            "tts_receiver_rate_limit_left",
            "Requests left in the window by source and bucket.",
            ["source", "bucket"],
            registry=registry,
        )
        self.depth = Gauge(
            "tts_receiver_runs_open", "Runs by handler and state (pending, running, dead).", ["handler", "state"],
            registry=registry,
        )  # fmt: skip
        self.oldest_due = Gauge(
            "tts_receiver_oldest_due_seconds", "Age of the oldest due run that has not started.", registry=registry
        )

    def _add_process(self, registry: CollectorRegistry) -> None:
        """This process: its clock, its log, and whether it reaches the store."""
        self.store_read = Gauge(
            "tts_receiver_store_read", "0 if the store could not be read for this scrape: its gauges are left out.",
            registry=registry,
        )  # fmt: skip
        self.clock_steps = Counter(
            "tts_receiver_clock_steps", "Times the machine's clock was set while this process ran.", registry=registry
        )
        self.clock_difference = Gauge(
            "tts_receiver_clock_difference_seconds", "How far this machine's clock is ahead of the database server's.",
            registry=registry,
        )  # fmt: skip
        self.log_lines_dropped = Counter(
            "tts_receiver_log_lines_dropped",
            "Log lines that could not be written and did not fit into memory, by cause.",
            ["cause"],
            registry=registry,
        )
        self.telemetry_errors = Counter(
            "tts_receiver_telemetry_errors",
            "Calls of a telemetry hook that raised; the work continued.",
            ["hook"],
            registry=registry,
        )

        self.console_logins = Counter(
            "tts_receiver_console_logins",
            "Logins to the console by outcome (logged_in, or the reason of the refusal).",
            ["outcome"],
            registry=registry,
        )

    def set_depth(self, depth: QueueDepth, now: float) -> None:
        """Set the gauges that come from the store."""
        self.depth.clear()
        for (handler, state), count in depth.by_handler.items():
            self.depth.labels(handler, state).set(count)
        self.oldest_due.set(0 if depth.oldest_due_at is None else max(0.0, now - depth.oldest_due_at))

    def set_quarantined(self, counts: Mapping[str, int]) -> None:
        """Set the gauge of events in quarantine by source."""
        self.quarantined.clear()
        for source, count in counts.items():
            self.quarantined.labels(source).set(count)

    def set_jobs(self, counts: Mapping[tuple[str, str], int], silent: Mapping[str, float]) -> None:
        """Set the gauges of jobs: the number by source and state, and for how many seconds each source is silent."""
        self.jobs.clear()
        for (source, state), count in counts.items():
            self.jobs.labels(source, state).set(count)
        self.silent.clear()
        for source, seconds in silent.items():
            self.silent.labels(source).set(seconds)

    def set_rate_limits(self, plans: Mapping[str, RatePlan], now: float) -> None:
        """Set the gauges of rate limits, by source."""
        self.rate_limit.clear()
        self.rate_limit_left.clear()
        for source, plan in plans.items():
            for bucket in plan.buckets.values():
                if bucket.limit is not None:
                    self.rate_limit.labels(source, bucket.name).set(bucket.limit)
                if (left := bucket.left(now)) is not None:
                    self.rate_limit_left.labels(source, bucket.name).set(left)

    def set_dropped_lines(self, counts: Mapping[str, int]) -> None:
        """Set the counter of dropped log lines to the counts of this process's log."""
        self.log_lines_dropped.clear()
        for cause, count in counts.items():
            self.log_lines_dropped.labels(cause).inc(count)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return self.render_own() + generate_latest(self.store_registry)

    def render_own(self) -> bytes:
        """Those of this process, without what is read from the store."""
        return generate_latest(self.registry)
