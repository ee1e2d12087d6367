"""Layouts of known data sets, each to the same list of clips."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat

from shared.bundle import NORMAL
from shared.errors import InvalidInput
from training.footage import VIDEOS
from training.manifest import Clip

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
_SPLIT_FILES = ("Anomaly_Train.txt", "Anomaly_Test.txt")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def folders(root: Path) -> list[Clip]:
    """`root/LABEL/VIDEO` or `root/LABEL/GROUP/VIDEO`; without groups each video is its own."""
    _exists(root)
    clips = []
    for label in sorted(p for p in root.iterdir() if p.is_dir()):
        for video in sorted(_videos(label)):
            parts = video.relative_to(label).parts
            group = parts[0] if len(parts) > 1 else video.stem
            clips.append(Clip(str(video), str(video), tidy(label.name), f"{label.name}-{group}"))
    if not clips:
        raise InvalidInput(f"{root}: no LABEL/VIDEO in this folder")
    return clips


def ucf_crime(root: Path, lists: Path, *, strict: bool = True) -> list[Clip]:
    """UCF-Crime by its official lists: 1610 training and 290 test videos.

    `lists` holds `Anomaly_Train.txt`, `Anomaly_Test.txt` and the temporal annotation, at any
    depth. Test videos get frame labels where the annotation gives their length. With `strict`
    every video must be under `root`.
    """
    lengths = _lengths(_find(lists, "Test_Annotation.txt"))
    clips = []
    for name, split in zip(_SPLIT_FILES, ("train", "test"), strict=True):
        for line in _lines(_find(lists, name)):
            video = line[0]
            path = root / video
            if strict and not path.exists():
                raise InvalidInput(f"{path}: listed in {name}, but absent")
            label = _ucf_label(video)
            frames = lengths.get(video)
            clips.append(Clip(video, str(path), label, Path(video).stem, split, frames))
    return clips


def ucf_crime_recognition(root: Path, lists: Path, fold: int) -> list[Clip]:
    """UCF-Crime's recognition task: fold 1 to 4, 532 training and 168 test videos of 14 labels."""
    clips = []
    for split in ("train", "test"):
        for line in _lines(_find(lists, f"{split}_{fold:03d}.txt")):
            video = line[0]
            clips.append(Clip(video, str(root / video), _ucf_label(video), Path(video).stem, split))
    return clips


def ucsd(root: Path) -> list[Clip]:
    """UCSD Ped1 or Ped2: `Train/Train001`, `Test/Test001`, masks in `Test/Test001_gt`.

    One camera, hence one group a split; the test clips' label is `anomaly`.
    """
    clips = []
    for split in ("Train", "Test"):
        for folder in sorted((root / split).glob(f"{split}[0-9][0-9][0-9]")):
            masks = folder.with_name(f"{folder.name}_gt")
            frames = _mask_labels(masks) if masks.is_dir() else None
            label = NORMAL if split == "Train" else "anomaly"
            clips.append(
                Clip(folder.name, str(folder), label, f"{root.name}-{split}", split.lower(), frames)
            )
    if not clips:
        raise InvalidInput(f"{root}: no Train/Train001 or Test/Test001 in this folder")
    return clips


def avenue(root: Path) -> list[Clip]:
    """CUHK Avenue: `training_videos/01.avi`, `testing_videos`, `testing_label_mask/1_label.mat`."""
    clips = []
    for folder, split in (("training_videos", "train"), ("testing_videos", "test")):
        for video in sorted((root / folder).glob("*.avi")):
            mat = root / "testing_label_mask" / f"{int(video.stem)}_label.mat"
            frames = None
            if split == "test" and mat.is_file():
                masks = loadmat(mat)["volLabel"].ravel()
                frames = tuple(int(np.any(mask)) for mask in masks)
            label = NORMAL if split == "train" else "anomaly"
            clips.append(Clip(video.name, str(video), label, f"avenue-{split}", split, frames))
    if not clips:
        raise InvalidInput(f"{root}: no training_videos/*.avi in this folder")
    return clips


def umn(root: Path) -> list[Clip]:
    """UMN, cut into its scenes: `scene01.avi` … with `scene01.txt`: the first abnormal frame.

    The set comes as one film; where its scenes begin is not part of it, so cut it first.
    """
    clips = []
    for video in sorted(_videos(root)):
        text = video.with_suffix(".txt")
        if not text.is_file():
            raise InvalidInput(f"{text}: absent; it states the first abnormal frame of the scene")
        begin, length = int(text.read_text().split()[0]), _frames(video)
        frames = tuple(int(number >= begin) for number in range(length))
        clips.append(Clip(video.name, str(video), "anomaly", video.stem, None, frames))
    if not clips:
        raise InvalidInput(f"{root}: no videos in this folder")
    return clips


def tidy(name: str) -> str:
    """`RoadAccidents` or `Road Accident` as a label: `road_accidents`, `road_accident`."""
    return re.sub(r"[^a-z0-9]+", "_", _WORDS.sub("_", name).lower()).strip("_")


def _ucf_label(video: str) -> str:
    folder = video.split("/", maxsplit=1)[0]
    if "Normal" in folder:
        return NORMAL
    return "road_accident" if folder == "RoadAccidents" else tidy(folder)


def _lengths(path: Path) -> dict[str, tuple[int, ...]]:
    """Frame labels by video from lines `VIDEO FRAMES LABEL BEGIN END BEGIN END`."""
    result = {}
    for video, frames, _, *spans in _lines(path):
        flags = np.zeros(int(frames), int)
        for begin, end in zip(spans[::2], spans[1::2], strict=True):
            if int(begin) >= 0:
                flags[int(begin) : int(end) + 1] = 1
        result[video] = tuple(int(flag) for flag in flags)
    return result


def _mask_labels(folder: Path) -> tuple[int, ...]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES)
    masks = (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files)
    return tuple(int(mask is not None and bool(np.any(mask))) for mask in masks)


def _frames(video: Path) -> int:
    opened = cv2.VideoCapture(str(video))
    try:
        return int(opened.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        opened.release()


def _lines(path: Path) -> Iterable[list[str]]:
    return [line.split() for line in path.read_text().splitlines() if line.strip()]


def _find(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if not found:
        raise InvalidInput(f"{folder}: {name} is not in this folder")
    return found[0]


def _videos(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.suffix.lower() in VIDEOS]


def _exists(folder: Path) -> None:
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
