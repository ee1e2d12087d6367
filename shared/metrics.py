"""Every metric of the system, each with a line of meaning. Nothing else defines one.

Label values are few and bounded: services, lanes, reasons, labels and camera ids.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

registry = CollectorRegistry()
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)
GCCollector(registry=registry)

_SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"citywatch_{name}", meaning, labels, registry=registry)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(f"citywatch_{name}", meaning, labels, registry=registry)


def _histogram(name: str, meaning: str, *labels: str) -> Histogram:
    return Histogram(f"citywatch_{name}", meaning, labels, buckets=_SECONDS, registry=registry)


# worker: every service has one
records_total = _counter("records", "Records that went through a stage", "service")
stage_seconds = _histogram("stage_seconds", "Time of one batch in a stage", "service")
lag_records = _gauge("lag_records", "End of the log minus position, all partitions", "service")
dead_letters_total = _counter("dead_letters", "Records refused and kept aside", "service")
refused_commits_total = _counter("refused_commits", "Commits of partitions not owned", "service")
lost_to_retention = _counter(
    "lost_to_retention", "Records deleted before they were read", "service"
)

# ingest
cameras = _gauge("cameras", "Cameras this worker captures, by state (up, down)", "state")
camera_up = _gauge("camera_up", "1 while frames arrive from the camera, else 0", "camera")
frames_total = _counter("frames", "Frames published", "camera", "encoding")
dropped_total = _counter("frames_dropped", "Frames sampled but not published", "camera", "reason")
reconnects_total = _counter("camera_reconnects", "Attempts to open a camera again", "camera")

# featurizer
features_total = _counter("features", "Feature records by kind (vector, same_as, missing reason)",
                          "lane", "kind")  # fmt: skip
network_batch = _histogram("network_seconds", "Time of one batch in the backbone", "lane")

# classifier
predictions_total = _counter("predictions", "Windows classified", "lane", "label")
open_windows = _gauge("open_windows", "Cameras that hold an open window", "lane")
score = _gauge("score", "Newest anomaly score (1 - P(normal))", "lane", "camera")
label_score = Histogram("citywatch_label_score", "Probability of a label, every window",
                        ("lane", "label"), buckets=_SCORES, registry=registry)  # fmt: skip
domain_distance = _gauge("domain_distance", "How far a camera's windows are from those that were "
                         "learnt from; 1: than 99 % of them", "lane", "camera")  # fmt: skip

# alerting
incidents_total = _counter("incidents", "Incidents opened", "lane", "camera", "label")
incidents_open = _gauge("incidents_open", "Incidents open now", "lane")
latency_seconds = _histogram("latency_seconds", "From capture of a window's last frame to its "
                             "prediction in alerting", "lane")  # fmt: skip
