"""Reads one camera, in a process that may be killed. `nursery.py` forks it.

OpenCV's `read()` can block for ever after a network loss; here that harms nobody else. `pipe.py`
says what goes in and out.
"""

from __future__ import annotations

import os
import sys
import threading

import cv2

from ingest.pipe import Kind, Order, Parcel
from ingest.recorder import Recorder
from shared.errors import SourceError


def main() -> None:
    """Obey one order, then end."""
    # What a library prints to standard output must not get between the parcels.
    up = os.dup(1)
    os.dup2(2, 1)
    cv2.setNumThreads(1)

    def send(parcel: Parcel) -> None:
        left = [memoryview(part) for part in parcel.pack()]
        while left:
            written = os.writev(up, left)
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = left[0][written:]

    send(Parcel(Kind.ALIVE))
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    # RTSP over UDP loses packets without a word.
    options = "rtsp_transport;tcp"
    if order.settings.decoder == "nvdec":
        options += "|video_codec;h264_cuvid"
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = options
    recorder = Recorder(order, lambda: send(Parcel(Kind.ALIVE)))
    threading.Thread(target=_obey, args=[recorder], daemon=True).start()
    try:
        for parcel in recorder.parcels():
            send(parcel)
    except SourceError as error:
        send(Parcel(Kind.TROUBLE, payload=str(error).encode()))
    else:
        send(Parcel(Kind.END))


def _obey(recorder: Recorder) -> None:
    """A full frame on request; the end when the parent is gone."""
    while os.read(0, 64):
        recorder.require_key()
    os._exit(0)
