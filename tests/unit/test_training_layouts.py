import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from shared.errors import InvalidInput
from training import layouts

DATA = Path(os.environ.get("CITYWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
LISTS = DATA / "ucf_crime_lists"


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_name_labels_and_groups(tmp_path: Path) -> None:
    _touch(tmp_path / "RoadAccidents" / "cam1" / "a.mp4", tmp_path / "RoadAccidents" / "b.avi")
    _touch(tmp_path / "normal" / "a.mp4", tmp_path / "normal" / "notes.txt")
    found = {(c.label, c.group) for c in layouts.folders(tmp_path)}
    assert found == {
        ("road_accidents", "RoadAccidents-cam1"),
        ("road_accidents", "RoadAccidents-b"),
        ("normal", "normal-a"),
    }
    with pytest.raises(InvalidInput, match="no such folder"):
        layouts.folders(tmp_path / "absent")


@pytest.mark.skipif(not LISTS.is_dir(), reason=f"no data: {LISTS}")
def test_ucf_crime_official_lists() -> None:
    clips = layouts.ucf_crime(Path("videos"), LISTS, strict=False)
    splits = Counter(clip.split for clip in clips)
    assert splits == {"train": 1610, "test": 290}
    assert len({clip.label for clip in clips}) == 14
    assert {"road_accident", "fighting", "normal", "explosion", "assault"} <= {
        clip.label for clip in clips
    }
    assert all(c.frame_labels is not None for c in clips if c.split == "test")
    arson = next(c for c in clips if c.name == "Arson/Arson022_x264.mp4")
    assert arson.frame_labels is not None
    assert len(arson.frame_labels) == 8640 and sum(arson.frame_labels) == 501  # 3500 to 4000
    normal = [c for c in clips if c.split == "test" and c.label == "normal"]
    assert len(normal) == 150 and not any(any(c.frame_labels or ()) for c in normal)


@pytest.mark.skipif(not LISTS.is_dir(), reason=f"no data: {LISTS}")
@pytest.mark.parametrize("fold", [1, 2, 3, 4])
def test_ucf_crime_recognition_folds(fold: int) -> None:
    clips = layouts.ucf_crime_recognition(Path("videos"), LISTS, fold)
    assert Counter(clip.split for clip in clips) == {"train": 532, "test": 168}
    assert len({clip.label for clip in clips}) == 14


def test_absent_videos_of_a_list_are_named(tmp_path: Path) -> None:
    (tmp_path / "Anomaly_Train.txt").write_text("Abuse/Abuse001_x264.mp4\n")
    (tmp_path / "Anomaly_Test.txt").write_text("")
    (tmp_path / "Test_Annotation.txt").write_text("")
    with pytest.raises(InvalidInput, match=r"Abuse001_x264.mp4: listed in Anomaly_Train.txt"):
        layouts.ucf_crime(tmp_path, tmp_path)


def test_ucsd_masks_become_frame_labels(tmp_path: Path) -> None:
    for folder in ("Train/Train001", "Test/Test001", "Test/Test001_gt"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(3):
        mask = np.zeros((8, 8), np.uint8)
        mask[0, 0] = 255 if number == 1 else 0
        cv2.imwrite(str(tmp_path / "Test" / "Test001_gt" / f"{number}.bmp"), mask)
    train, test = layouts.ucsd(tmp_path)
    assert (train.label, train.split, train.frame_labels) == ("normal", "train", None)
    assert (test.label, test.split, test.frame_labels) == ("anomaly", "test", (0, 1, 0))


def test_avenue_masks_become_frame_labels(tmp_path: Path) -> None:
    _touch(tmp_path / "training_videos" / "01.avi", tmp_path / "testing_videos" / "01.avi")
    masks = np.empty((1, 2), object)
    masks[0, 0], masks[0, 1] = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.uint8)
    (tmp_path / "testing_label_mask").mkdir()
    savemat(tmp_path / "testing_label_mask" / "1_label.mat", {"volLabel": masks})
    train, test = layouts.avenue(tmp_path)
    assert train.frame_labels is None and test.frame_labels == (0, 1)


def test_umn_scenes_state_their_first_abnormal_frame(tmp_path: Path) -> None:
    video = tmp_path / "scene01.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 15, (32, 32))
    for _ in range(6):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    with pytest.raises(InvalidInput, match=r"scene01.txt: absent"):
        layouts.umn(tmp_path)
    video.with_suffix(".txt").write_text("4\n")
    assert layouts.umn(tmp_path)[0].frame_labels == (0, 0, 0, 0, 1, 1)
