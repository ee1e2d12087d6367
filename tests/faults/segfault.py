"""A real featurizer whose JPEG decoder dies of a segmentation fault, started again and again.

python -m tests.faults.segfault --set ...

Each life is a fork of this process, so that only the first one loads the libraries. A line tells of
each begin and end; the one that ends without a signal is the last.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import cv2
import openvino  # noqa: F401  loaded once, before the forks

from featurizer.__main__ import main as featurizer

POISON = b"this comment in a JPEG kills who decodes it"
_LIVES = 12

imdecode = cv2.imdecode


def fragile(data: Any, flags: int) -> Any:
    """As cv2.imdecode, but for the poison."""
    if POISON in data.tobytes():
        ctypes.string_at(0)  # reads address 0
    return imdecode(data, flags)


def main(arguments: list[str]) -> int:
    """The exit code of the last life."""
    cv2.imdecode = fragile
    for _ in range(_LIVES):
        child = os.fork()
        if not child:
            os._exit(featurizer(arguments))
        print("began", child, flush=True)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("ended", code, flush=True)
        if code >= 0:
            return code
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
