"""What is measured on: the video, the bundle at the video's rate, network inputs, an int8 copy."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

import av
import cv2
import numpy as np

from featurizer import int8
from featurizer.inputs import Image
from featurizer.quantise import quantise
from shared.bundle import Bundle, find
from shared.errors import CitywatchError
from training.quantize import inputs, thinned

CHECKOUT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / ".peers"
"""Environments of peers whose dependencies do not go with ours; git ignores it."""
_CACHE = CHECKOUT / "cache" / "bench"


def arguments(text: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that every script has."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path("models/street"))
    parser.add_argument("--data", type=Path, default=CHECKOUT.parent / "shared" / "data")
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def bundle_of(chosen: argparse.Namespace) -> Bundle:
    """The bundle named, or an exit with what is wrong."""
    try:
        return Bundle(find(chosen.bundle))
    except CitywatchError as error:
        sys.exit(f"{error}; name one with --bundle")


def clip(chosen: argparse.Namespace, name: str = "clips/pedestrians.mp4") -> Path:
    """A file of the data folder, or an exit with what is wrong."""
    path = Path(chosen.data) / name
    if not path.is_file():
        sys.exit(f"{path}: no such file; name the data folder with --data")
    return path


def at_rate(source: Path, target: Path, fps: float) -> Path:
    """A copy of the bundle that wants this many frames a second."""
    shutil.copytree(source, target)
    toml = target / "bundle.toml"
    text, count = re.subn(r"(?m)^fps\s*=.*$", f"fps = {fps:g}", toml.read_text())
    assert count == 1, f"{toml}: {count} lines set fps"
    toml.write_text(text)
    Bundle(target)
    return target


def repeated(video: Path, times: int, path: Path) -> Path:
    """The video's own packets so many times over, nothing coded anew."""
    with av.open(str(path), "w") as target:
        stream = None
        begin = 0
        for _ in range(times):
            with av.open(str(video)) as source:
                given = source.streams.video[0]
                stream = stream or target.add_stream_from_template(given)
                end = begin
                for packet in source.demux(given):
                    if packet.dts is None or packet.pts is None:
                        continue  # the mark of the end
                    packet.pts, packet.dts = packet.pts + begin, packet.dts + begin
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.stream = stream
                    target.mux(packet)
                begin = end
    return path


def every_frame(bundle: Bundle, video: Path, folder: Path) -> tuple[Path, float]:
    """A copy of the bundle in which every frame of the video is a step, and the video's rate."""
    rate = float(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS))
    return at_rate(bundle.folder, folder, rate), rate


def of_differences(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle of flow with inputs of differences, which cost next to nothing.

    What its network makes of them is of no use, and takes as long.
    """
    shutil.copytree(bundle, folder)
    toml = folder / "bundle.toml"
    text = re.sub(r'(?m)^kind = "flow"$', 'kind = "difference"', toml.read_text())
    toml.write_text(re.sub(r"(?m)^distances_ms = \[(.*)\]$", r"distances_ms = [\1, \1, \1]", text))
    Bundle(folder)
    return folder


def network_inputs(bundle: Bundle, video: Path, count: int) -> Image:
    """uint8 (count, size, size, 3): what the backbone sees of the video, begun again at its end."""
    images = thinned(inputs(str(video), bundle.description.input), count)
    return np.stack([images[i % len(images)] for i in range(count)])


def with_int8(bundle: Bundle, video: Path) -> Bundle:
    """The bundle itself if it has an int8 backbone, else a cached copy that gets one here.

    Calibrated on all videos of the folder in which `video` lies: one scene alone would flatter it.
    """
    if int8.file_of(bundle.folder).is_file():
        return bundle
    folder = _CACHE / int8.origin(bundle)
    if not int8.file_of(folder).is_file():
        print("quantising the backbone once, a minute or a few", flush=True)
        shutil.copytree(bundle.folder, folder, dirs_exist_ok=True)
        videos = sorted(video.parent.glob("*.mp4"))
        each = 600 // len(videos)
        pictures = [
            image
            for path in videos
            for image in thinned(inputs(str(path), bundle.description.input), each)
        ]
        record = quantise(Bundle(folder), pictures, folder)
        print(f"cosine {record.cosine_mean} (5th percentile {record.cosine_p05})", flush=True)
    return Bundle(folder)


def peer_python(name: str, packages: str) -> Path | None:
    """The interpreter of a peer's environment; None, and how to make it, where it is absent."""
    python = PEERS / name / "bin" / "python"
    if python.is_file():
        return python
    print(
        f"peer absent: {name}. Install it: python -m venv {PEERS / name} && "
        f"{PEERS / name}/bin/pip install {packages}",
        file=sys.stderr,
    )
    return None
