from pathlib import Path

import pytest

from shared.errors import InvalidInput
from training.manifest import Clip, read, refuse_unknown, write


def _folder(tmp_path: Path, text: str, *videos: str) -> Path:
    for video in videos:
        (tmp_path / video).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / video).touch()
    (tmp_path / "manifest.csv").write_text(text)
    return tmp_path


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a, b.mp4").touch()
    drawn = "synthetic://street?seed=1&events=fighting@2.0-4.0,assault@5.0-6.0"
    clips = [
        Clip("a", str(tmp_path / "videos" / "a, b.mp4"), "fighting", "g1", "train", (0, 1, 1)),
        Clip(drawn, drawn, "normal", "g2"),
    ]
    write(tmp_path / "lists" / "manifest.csv", clips)
    again = read(tmp_path / "lists")
    assert Path(again[0].source).samefile(clips[0].source)
    assert (again[0].label, again[0].group, again[0].split) == ("fighting", "g1", "train")
    assert again[0].frame_labels == (0, 1, 1)
    assert again[1] == clips[1]
    assert again[1].drawn and not again[0].drawn


def test_extra_columns_are_ignored_and_optional_ones_may_be_absent(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "group,video,label,note\ng,a.mp4,normal,x\n", "a.mp4")
    clip = read(folder)[0]
    assert clip.split is None and clip.frame_labels is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("video,label\na.mp4,normal\n", "column group is absent"),
        ("video,label,group\n", "no video is listed"),
        ("video,label,group\nb.mp4,normal,g\n", "line 2: b.mp4 is absent"),
        ("video,label,group\na.mp4,,g\n", "line 2: video, label and group must not be empty"),
        ("video,label,group,split\na.mp4,normal,g,dev\n", "split 'dev'"),
        ("video,label,group,frame_labels\na.mp4,normal,g,[2]\n", "JSON list of 0 and 1"),
        ("video,label,group,frame_labels\na.mp4,normal,g,nonsense\n", "JSON list of 0 and 1"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path: Path, text: str, says: str) -> None:
    folder = _folder(tmp_path, text, "a.mp4")
    with pytest.raises(InvalidInput, match=says.replace("[", r"\[")):
        read(folder)


def test_a_folder_without_a_manifest_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="training prepare"):
        read(tmp_path)


def test_unknown_labels_are_named_together_with_those_known() -> None:
    clips = [Clip("a", "a", "theft", "g"), Clip("b", "b", "normal", "g")]
    with pytest.raises(InvalidInput, match=r"theft.*fighting, normal"):
        refuse_unknown(clips, ("fighting", "normal"))
    refuse_unknown(clips[1:], ("fighting", "normal"))
