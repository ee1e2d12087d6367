"""`--json`: one object a line on standard output, for other programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from alerting.events import IncidentData
from citywatch.tally import Seen, prediction_fields
from shared.messages import Prediction


class JsonLines:
    """Prints predictions and incidents as they appear."""

    def take(self, seen: Seen) -> None:
        """One line, if it is a prediction or an incident."""
        if isinstance(seen, Prediction):
            print_json(prediction_fields(seen))
        elif isinstance(seen, IncidentData):
            print_json(seen.as_json())

    def tick(self) -> None:
        """Let a reader at the other end of a pipe see the lines at once."""
        sys.stdout.flush()


def print_json(fields: Mapping[str, Any]) -> None:
    """One object, one line."""
    print(json.dumps(fields, separators=(",", ":")))
