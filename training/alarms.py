"""From probabilities to alarms, through the incident state machine that serves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alerting.incidents import Rules, SessionState, advance
from shared.messages import NANOSECONDS, FrameReference, Prediction
from training.events import Alarm

_NOWHERE = (FrameReference(0, 0), FrameReference(0, 0))


def alarms(
    probabilities: npt.NDArray[np.floating],
    ends: Sequence[float] | npt.NDArray[np.float64],
    last: Sequence[int] | npt.NDArray[np.int64],
    names: Sequence[str],
    rules: Rules,
) -> list[Alarm]:
    """The incidents that one clip opens.

    `probabilities` (W, L) of its windows in order, `ends` (W,) seconds, `last` (W,) last steps.
    An alarm's time is that at which the incident opens; its score is the peak it reached.
    """
    state = SessionState()
    opened: dict[str, float] = {}
    peaks: dict[str, tuple[str, float]] = {}
    for row, end, step in zip(probabilities, ends, last, strict=True):
        at = round(float(end) * NANOSECONDS)
        named = {name: float(p) for name, p in zip(names, row, strict=True)}
        prediction = Prediction(
            lane=rules.lane, camera_id="training", session="file-0-0", first_index=0,
            last_index=int(step), started_at=0, ended_at=at, probabilities=named,
            score=1 - named["normal"], attention=(), gaps=0, fingerprint="", frames=_NOWHERE,
        )  # fmt: skip
        state, transitions = advance(state, prediction, at, rules)
        for transition in transitions:
            if transition.incident.state == "open":
                opened[transition.incident.id] = transition.at / NANOSECONDS
        for incident in state.open:
            peaks[incident.id] = (incident.label, incident.peak_score)
    return [Alarm(peaks[name][0], at, peaks[name][1]) for name, at in opened.items()]
