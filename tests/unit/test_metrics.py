"""What Prometheus sees."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from receiver.metrics import Metrics
from receiver.model.crashes import CrashDecision
from receiver.store.claims import Claim
from receiver.store.gauges import QueueDepth
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.telemetry.metrics import MAX_ERROR_KINDS, MetricsTelemetry


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(metrics.render().decode()):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return found.value
    return None


def test_open_runs_are_shown_by_handler_and_state_with_the_age_of_the_oldest() -> None:
    metrics = Metrics()
    metrics.set_depth(QueueDepth({("log", "pending"): 3, ("log", "dead"): 1}, 90.0), 100.0)
    assert sample(metrics, "tts_receiver_runs_open", handler="log", state="pending") == 3
    assert sample(metrics, "tts_receiver_runs_open", handler="log", state="dead") == 1
    assert sample(metrics, "tts_receiver_oldest_due_seconds") == 10


def test_what_is_no_longer_open_is_no_longer_shown() -> None:
    metrics = Metrics()
    metrics.set_depth(QueueDepth({("log", "pending"): 3}, 90.0), 100.0)
    metrics.set_depth(QueueDepth({}, None), 200.0)
    assert sample(metrics, "tts_receiver_runs_open", handler="log", state="pending") is None
    assert sample(metrics, "tts_receiver_oldest_due_seconds") == 0


def test_a_clock_that_steps_back_shows_no_negative_age() -> None:
    metrics = Metrics()
    metrics.set_depth(QueueDepth({}, 100.0), 90.0)
    assert sample(metrics, "tts_receiver_oldest_due_seconds") == 0


def test_two_receivers_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.deliveries.labels("aitts", "accepted").inc()
    assert sample(one, "tts_receiver_deliveries_total", source="aitts", outcome="accepted") == 1
    assert sample(other, "tts_receiver_deliveries_total", source="aitts", outcome="accepted") is None


def test_failed_attempts_are_counted_by_kind_of_error_and_kinds_without_end_are_other() -> None:
    metrics = Metrics()
    telemetry = MetricsTelemetry(metrics, [])
    claim = Claim("evt_1", "log", 1, 1, 0.0, 0.0, {})

    def end(outcome: str, kind: str | None) -> None:
        telemetry.run_finished(None, RunResult(claim, "me", outcome, RunState.DEAD, 1.0, error_kind=kind), 0.5, "")

    end("succeeded", None)
    end("rejected", "rejected")
    end("postponed", "audio_not_yet")
    telemetry.run_crashed(claim, "me", CrashDecision(1, counts=True, wait=None))
    for number in range(MAX_ERROR_KINDS):
        end("failed", f"Error{number}")
    end("rejected", "rejected")
    text = metrics.render().decode()
    assert sample(metrics, "tts_receiver_run_errors_total", handler="log", error_kind="rejected") == 2
    assert sample(metrics, "tts_receiver_run_errors_total", handler="log", error_kind="crashed") == 1
    assert sample(metrics, "tts_receiver_run_errors_total", handler="log", error_kind="other") == 2
    assert text.count("tts_receiver_run_errors_total{") == MAX_ERROR_KINDS + 1
    assert "audio_not_yet" not in text
