"""Sources, secrets, and what must never be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.addresses import Opened, has_credentials, kind_of, redact
from shared.cameras import Camera
from shared.errors import SourceError


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("0", "device"), ("/dev/video2", "device"), ("rtsp://host/1", "stream"),
        ("https://host/cam.m3u8", "stream"), ("synthetic://street?seed=1", "synthetic"),
        ("street.mp4", "file"), ("file:///videos/street.mp4", "file"), ("nothing/here", "file"),
    ],
)  # fmt: skip
def test_kinds(source: str, kind: str) -> None:
    assert kind_of(source) == kind


def test_a_folder_is_a_folder(tmp_path: Path) -> None:
    assert kind_of(str(tmp_path)) == "folder"
    assert kind_of(f"file://{tmp_path}") == "folder"


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://bob:hunter2@host:554/live",
        "RTSP://bob:hunter2@host/live",
        "rtsp://hunter2@host/live",
        "rtsp://bob:p@ss/hunter2@host/live",
        "http://host/shot.jpg?user=bob&password=hunter2&size=1",
        "http://host/shot.jpg?pwd=hunter2",
        "http://host/s?token=hunter2#x",
    ],
)
def test_credentials_are_redacted_wherever_they_stand(address: str) -> None:
    text = redact(f"cannot open {address}: 401")
    assert "hunter2" not in text
    assert "bob:" not in text
    assert "host" in text
    assert text.startswith("cannot open ")
    assert has_credentials(address)


@pytest.mark.parametrize(
    "address", ["rtsp://host/live?channel=1", "rtsp://{secret}@host/live", "street.mp4", "0"]
)
def test_addresses_without_credentials(address: str) -> None:
    assert not has_credentials(address)
    assert redact("street.mp4 at 10:00") == "street.mp4 at 10:00"


def test_a_secret_is_put_in_and_hidden_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "yard").write_text("bob:hun%3Fter2\n")
    camera = Camera(id="yard", source="rtsp://{secret}@host/live", secret="yard")
    opened = Opened(camera, tmp_path)
    assert opened.address == "rtsp://bob:hun%3Fter2@host/live"
    said = opened.redact("bob:hun%3Fter2 and hun?ter2 and hun%3Fter2 and rtsp://bob:hun?ter2@host")
    assert "ter2" not in said
    assert "ter2" not in repr(opened) + str(opened)


def test_a_secret_that_cannot_be_found_is_said_by_name(tmp_path: Path) -> None:
    camera = Camera(id="yard", source="rtsp://{secret}@host/live", secret="yard")
    with pytest.raises(SourceError, match=r"yard.*No such file"):
        Opened(camera, tmp_path)
    with pytest.raises(SourceError, match="secrets_folder"):
        Opened(camera, None)
    with pytest.raises(SourceError, match="names no secret"):
        Opened(Camera(id="yard", source="rtsp://{secret}@host/live"), tmp_path)
