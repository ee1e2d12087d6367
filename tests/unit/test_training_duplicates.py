from pathlib import Path

import cv2
import numpy as np

from training.duplicates import digest, distance, find, signature, summary
from training.manifest import Clip


def _video(seed: int, shift: int = 0) -> list[np.ndarray]:
    """A fixed scene of smooth blobs with something small that moves."""
    random = np.random.default_rng(seed)
    scene = cv2.resize(random.integers(0, 255, (9, 16, 3), np.uint8), (320, 180))
    images = []
    for number in range(20):
        image = scene.copy()
        cv2.circle(image, (20 + 5 * number + shift, 90), 8, (255, 255, 255), -1)
        images.append(image)
    return images


def test_the_same_camera_seconds_apart_is_near_and_another_is_not() -> None:
    first, later, other = signature(_video(1)), signature(_video(1, 60)), signature(_video(2))
    assert distance(first, later) < 8 < 20 < distance(first, other)


def test_a_mirrored_copy_is_near() -> None:
    mirrored = [image[:, ::-1] for image in _video(1)]
    assert distance(signature(_video(1)), signature(mirrored)) < 4


def test_noise_and_brightness_do_not_hide_a_copy() -> None:
    random = np.random.default_rng(0)
    copy = [
        np.clip(0.8 * image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        for image in _video(1)
    ]
    assert distance(signature(_video(1)), signature(copy)) < 8


def test_pairs_across_groups_are_reported(tmp_path: Path) -> None:
    contents = {"a.mp4": b"one", "b.mp4": b"one", "c.mp4": b"three"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    clips = [
        Clip("a", str(tmp_path / "a.mp4"), "x", "g1"),
        Clip("b", str(tmp_path / "b.mp4"), "x", "g2"),
        Clip("c", str(tmp_path / "c.mp4"), "x", "g1"),
    ]
    signatures = [signature(_video(seed)) for seed in (1, 2, 1)]
    pairs = list(find(clips, signatures))
    assert {(p.first, p.second, p.kind) for p in pairs} == {("a", "b", "exact"), ("a", "c", "near")}
    across = summary(pairs)["across_groups"]
    assert [(p["first"], p["second"]) for p in across] == [("a", "b")]


def test_a_folder_of_pictures_has_a_digest_of_names_and_contents(tmp_path: Path) -> None:
    for folder, name in (("one", "1.png"), ("two", "1.png"), ("three", "2.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"x")
    one, two, three = (digest(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two != three
