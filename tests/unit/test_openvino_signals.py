"""A stage may drop its network in a thread of its own: signals must still reach the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.bundles import write_bundle

SCRIPT = """
import gc, os, signal, sys, threading
from pathlib import Path
from shared.bundle import Bundle
from {module} import {name}
made = [{name}(Bundle(Path(sys.argv[1])))]
def drop():
    made.clear()
    gc.collect()
dropping = threading.Thread(target=drop)
dropping.start()
dropping.join()
signal.signal(signal.SIGTERM, lambda number, frame: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("featurizer.openvino_backend", "OpenVinoExtractor"),
        ("classifier.openvino_backend", "OpenVinoClassifier"),
    ],
)
def test_sigterm_after_a_network_is_dropped(
    module: str, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder)
    script = SCRIPT.format(module=module, name=name)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
