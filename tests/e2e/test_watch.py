"""`citywatch watch` as a process: every frame is somewhere, and what is asked for is written."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import cv2
import pytest

from tests.support.command import ROOT, Outcome, citywatch, last_index, start
from tests.support.videos import write_video

WINDOW, STRIDE = 30, 5
DATA = Path(os.environ.get("CITYWATCH_DATA", ROOT.parent / "shared/data"))
PREDICTION = {
    "type", "id", "camera_id", "started_at", "ended_at", "label", "score", "probabilities",
}  # fmt: skip
INCIDENT = {"type", "id", "camera_id", "label", "state", "started_at", "ended_at", "peak_score"}
SUMMARY = {
    "type", "sources", "frames", "dropped", "predictions", "incidents", "seconds", "fps",
}  # fmt: skip


def account(outcome: Outcome, sampled: int, history: int = 0) -> None:
    """Each sampled frame is in a window, a counted drop, or the tail; the summary adds up."""
    predictions, summary = outcome.of_type("prediction"), outcome.summary
    ends = [last_index(prediction) for prediction in predictions]
    first = next(e for e in range(history + WINDOW - 1, sampled + STRIDE) if (e + 1) % STRIDE == 0)
    assert ends == list(range(first, sampled, STRIDE)), "every stride's end once, in order"
    assert summary["frames"] + summary["dropped"] == sampled
    assert summary["dropped"] == 0, "a file waits"
    assert summary["predictions"] == len(predictions)
    incidents = outcome.of_type("incident")
    assert summary["incidents"] == len({incident["id"] for incident in incidents})
    opened = [i["id"] for i in incidents if i["state"] == "open"]
    closed = [i["id"] for i in incidents if i["state"] == "closed"]
    assert len(set(opened)) == len(opened)
    assert sorted(opened) == sorted(closed), "the end of the stream closes what is open"


def test_every_sampled_frame_is_in_one_place(bundle: Path, video: Path) -> None:
    outcome = citywatch(
        "watch", video, "--json", "--bundle", bundle, "--set", "alerting.open_score=0.1",
        "--set", "alerting.close_score=0.05",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    account(outcome, sampled=120)
    for prediction in outcome.of_type("prediction"):
        assert prediction.keys() == PREDICTION
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        normal = prediction["probabilities"]["normal"]
        assert prediction["score"] == pytest.approx(1 - normal, abs=1e-4)
        assert prediction["started_at"] == pytest.approx((last_index(prediction) - 29) / 15)
        assert prediction["ended_at"] == pytest.approx(last_index(prediction) / 15)
    assert outcome.of_type("incident"), "this threshold opens one"
    for incident in outcome.of_type("incident"):
        assert incident.keys() >= INCIDENT
    assert outcome.summary.keys() >= SUMMARY
    assert outcome.summary["sources"] == 1


@pytest.mark.data
def test_real_footage_to_its_end() -> None:
    clip = DATA / "clips/pedestrians.mp4"
    if not clip.is_file():
        pytest.skip(f"{clip} is absent (CITYWATCH_DATA)")
    if not (ROOT / "models/street/bundle.toml").is_file():
        pytest.skip("models/street is absent")
    outcome = citywatch("watch", clip, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    # 341 frames at 25 a second, sampled at 15; the first difference needs four frames before it.
    account(outcome, sampled=205, history=4)


def test_a_recording_with_a_start_has_times_since_1970(bundle: Path, video: Path) -> None:
    outcome = citywatch(
        "watch", video, "--json", "--bundle", bundle, "--start", "2026-03-01T18:30:00+00:00"
    )
    first = outcome.of_type("prediction")[0]
    assert first["started_at"] == pytest.approx(1772389800)


def test_two_runs_say_the_same(bundle: Path, video: Path) -> None:
    runs = [citywatch("watch", video, "--json", "--bundle", bundle) for _ in range(2)]
    assert runs[0].of_type("prediction") == runs[1].of_type("prediction")


def test_annotated_video_and_plot_for_people(bundle: Path, video: Path, tmp_path: Path) -> None:
    seen, plot = tmp_path / "seen.mp4", tmp_path / "scores.png"
    outcome = citywatch(
        "watch", video, "--bundle", bundle, "--annotate", seen, "--plot", plot,
        "--set", "alerting.open_score=0.1", "--set", "alerting.close_score=0.05",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "opened, score" in outcome.out
    assert "120 frames in" in outcome.out
    film = cv2.VideoCapture(str(seen))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 120
    film.set(cv2.CAP_PROP_POS_FRAMES, 100)
    picture = film.read()[1]
    assert picture[2, 80, 2] > 150, "a red banner while the incident is open"
    image = cv2.imread(str(plot))
    assert image is not None
    assert image.shape[1] > 800


def test_ctrl_c_ends_with_the_summary(bundle: Path, video: Path) -> None:
    process = start(
        ["citywatch", "watch", video, "--json", "--loop", "--bundle", bundle],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # the first prediction
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    outcome = Outcome(process.returncode, out, err)
    assert (outcome.code, err) == (0, "")
    assert outcome.summary["frames"] > 0


def test_a_video_shorter_than_a_window_says_so(bundle: Path, tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mp4", seconds=1)
    outcome = citywatch("watch", short, "--bundle", bundle)
    assert outcome.code == 0
    assert "No window was complete" in outcome.out
