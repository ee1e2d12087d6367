"""Videos that are the same: byte by byte, or to the eye (EVALUATION 1 and 14).

A video's signature is a difference hash (64 bits: is a cell of the 9 x 8 grey picture brighter
than its right neighbour?) of five pictures spread over it. Two videos are near each other when
their signatures differ in few bits on average, mirrored copies included. Two clips of one fixed
camera are near each other as well, and that is wanted: they belong into one group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ingest.pictures import Image
from training.manifest import Clip

Signature = npt.NDArray[np.bool_]
"""(pictures, 8, 8)."""

PICTURES = 5
NEAR_BITS = 8.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two clips that are the same; `bits` is the mean distance of their signatures, of 64."""

    first: str
    second: str
    kind: str
    bits: float
    same_group: bool


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    total = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if file != path:
            total.update(str(file.relative_to(path)).encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def difference_hash(image: Image) -> npt.NDArray[np.bool_]:
    """(8, 8) bits of one BGR picture."""
    cells = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cells[:, 1:] > cells[:, :-1])


def signature(images: Iterable[Image]) -> Signature:
    """Hashes of `PICTURES` pictures spread evenly over the video."""
    hashes = [difference_hash(image) for image in images]
    if not hashes:
        return np.zeros((PICTURES, 8, 8), np.bool_)
    picks = np.linspace(0, len(hashes) - 1, PICTURES).round().astype(int)
    return np.stack([hashes[i] for i in picks])


def distance(first: Signature, second: Signature) -> float:
    """Mean number of differing bits a picture, of 64; the smaller of plain and mirrored."""
    mirrored = ~second[:, :, ::-1]
    return float(min(np.mean(np.sum(first != other, (1, 2))) for other in (second, mirrored)))


def find(
    clips: Sequence[Clip], signatures: Sequence[Signature], near_bits: float = NEAR_BITS
) -> Iterator[Pair]:
    """Every pair of clips that is the same by hash (`exact`) or to the eye (`near`)."""
    digests = [clip.source if clip.drawn else digest(Path(clip.source)) for clip in clips]
    for i, j in combinations(range(len(clips)), 2):
        bits = distance(signatures[i], signatures[j])
        exact = digests[i] == digests[j]
        if exact or bits <= near_bits:
            a, b = clips[i], clips[j]
            kind = "exact" if exact else "near"
            yield Pair(a.name, b.name, kind, bits, a.group == b.group)


def summary(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Counts, and the pairs that stand in different groups: those leak."""
    return {
        "exact": sum(pair.kind == "exact" for pair in pairs),
        "near": sum(pair.kind == "near" for pair in pairs),
        "across_groups": [asdict(pair) for pair in pairs if not pair.same_group],
    }
