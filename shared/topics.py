"""The names of topics and consumer groups, and how long each topic keeps its records."""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3600
DAY = 24 * HOUR
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must look like when it is made.

    Every topic has the same number of partitions: a camera's records keep one partition number
    through the whole chain, and an ingest worker writes frames only where it owns the camera.
    """

    name: str
    retention_seconds: int
    compacted: bool = False
    max_message_bytes: int = MEBIBYTE


@dataclass(frozen=True, slots=True)
class Topics:
    """All names, under one prefix (tests use a fresh prefix each)."""

    prefix: str = "citywatch"

    @property
    def cameras(self) -> str:
        """Camera definitions, compacted: null means removed."""
        return f"{self.prefix}.cameras"

    @property
    def frames(self) -> str:
        """The pictures of all cameras; also the evidence buffer."""
        return f"{self.prefix}.frames"

    @property
    def anomalies(self) -> str:
        """CloudEvents in JSON: what other systems subscribe to."""
        return f"{self.prefix}.anomalies"

    @property
    def dead_letters(self) -> str:
        """Records that could not be used, untouched, the reason in their headers."""
        return f"{self.prefix}.dead-letters"

    def features(self, lane: str) -> str:
        """One lane's feature vectors."""
        return f"{self.prefix}.{lane}.features"

    def predictions(self, lane: str) -> str:
        """One lane's predictions."""
        return f"{self.prefix}.{lane}.predictions"

    def group(self, service: str, lane: str | None = None) -> str:
        """Consumer group: `citywatch.ingest`, or `citywatch.<lane>.<service>`."""
        return ".".join(part for part in (self.prefix, lane, service) if part)

    def specs(self, lane: str | None) -> list[TopicSpec]:
        """Every topic that a deployment with this lane needs; None: what all lanes share."""
        of_lane = [
            TopicSpec(self.features(lane), retention_seconds=6 * HOUR),
            TopicSpec(self.predictions(lane), retention_seconds=7 * DAY),
        ] if lane else []  # fmt: skip
        return [
            TopicSpec(self.cameras, retention_seconds=365 * DAY, compacted=True),
            TopicSpec(self.frames, retention_seconds=HOUR, max_message_bytes=2 * MEBIBYTE),
            *of_lane,
            TopicSpec(self.anomalies, retention_seconds=30 * DAY),
            # Larger than any source's limit: a dead letter must always fit.
            TopicSpec(
                self.dead_letters, retention_seconds=30 * DAY, max_message_bytes=4 * MEBIBYTE
            ),
        ]
