"""What cheaper arithmetic, bare luminance and static-frame gating cost in recognition.

    python -m benchmarks.recognition [--every 1]

229 real surveillance clips (fighting or not, `fights/` of the data folder), scored by the bundle
with every step as a service on Kafka takes it in float32 (the reference), and with one thing
changed at a time. A clip's score is the largest 1 - P(normal) of its windows. Two heads: the
bundle's own, which may have learnt from such clips, and a linear one that learns from reference
features of other sources' clips only (five folds by source) and is tested on changed ones: what
changes behind a head that was trained without the change. Points are hundredths of the AUC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.claim import Claim, report
from benchmarks.material import arguments, bundle_of, clip, with_int8
from classifier.inference import open_classifier
from featurizer.decoding import Decoded, FrameDecoder
from featurizer.inputs import Inputs, zero_difference
from featurizer.openvino_backend import OpenVinoExtractor
from featurizer.quantise import cosine
from ingest.capture import capture
from ingest.settings import IngestSettings
from ingest.sources import open_source
from shared.bundle import Bundle, Input
from shared.bus import Partition, Record
from shared.cameras import Camera
from shared.codec import encode
from shared.messages import Frame, Session
from training import manifest, metrics
from training.clips import Step
from training.features import Extract, Track, make
from training.heads import fit_linear, statistics
from training.manifest import Clip
from training.splits import group_folds
from training.windows import Windows, cut

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """One way of making features."""

    precision: str
    pictures: str = "jpeg"
    gating: bool = False


REFERENCE = Variant("f32")
VARIANTS = {
    "int8": Variant("int8"),
    "luminance in place of JPEG": Variant("f32", "grey"),
    "static-frame gating": Variant("f32", gating=True),
    "all three, as watch has it": Variant("int8", "grey", gating=True),
}
BOUND = 0.5  # points of AUC


def main() -> None:
    """Features of all variants, then both heads on each."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--every", type=int, default=2, help="take every n-th clip only")
    chosen = parser.parse_args()
    clips = manifest.read(clip(chosen, "fights/manifest.csv"))[:: chosen.every]
    bundle = with_int8(bundle_of(chosen), clip(chosen))
    extractors: Mapping[str, Extract] = {
        "f32": OpenVinoExtractor(bundle, 0, "f32"), "int8": OpenVinoExtractor(bundle, 0, "int8"),
    }  # fmt: skip
    found: dict[Variant, list[Track]] = {}
    for name, variant in {"reference": REFERENCE, **VARIANTS}.items():
        print(f"features: {name}", flush=True)
        found[variant] = [_track(c, bundle, variant, extractors[variant.precision]) for c in clips]
    truth = np.array([c.label != "normal" for c in clips])
    own = {v: auc(truth, bundle_scores(bundle, tracks)) for v, tracks in found.items()}
    linear = linear_aucs(bundle, clips, truth, found)
    claims = []
    for name, variant in VARIANTS.items():
        note = (
            f"linear head on held-out sources: {linear[REFERENCE]:.4f} to {linear[variant]:.4f}; "
            f"the bundle's own head: {own[REFERENCE]:.4f} to {own[variant]:.4f}; cosine of "
            f"features {similarity(found[REFERENCE], found[variant]):.4f}; {len(clips)} clips"
        )
        lost = 100 * (linear[REFERENCE] - linear[variant])
        claims.append(Claim(f"AUC lost: {name}", "points", [lost], target=BOUND, at_most=True,
                            note=note))  # fmt: skip
    report(*claims)


def _track(clip: Clip, bundle: Bundle, variant: Variant, extract: Extract) -> Track:
    return make(steps(clip.source, bundle.description.input, variant), extract)


def steps(source: str, description: Input, variant: Variant) -> Iterator[Step]:
    """What the network would see of a recording, by the code that serves."""
    settings = IngestSettings.model_validate(
        {"pictures": variant.pictures, "static_gating": variant.gating}
    )
    camera = Camera(id="clip", source=source, fps=description.fps)
    decode = FrameDecoder("lane", 30.0, lambda: 0, only_grey=description.kind == "difference")
    inputs = Inputs(description)
    last = zero = zero_difference(description)
    picture = None
    pictures = open_source(source, settings, small=True).pictures(lambda at: True)
    for message in capture(pictures, camera, Session(0, 0, live=False), settings):
        if not isinstance(message, Frame):
            return
        decoded = decode(Record(Partition("frames", 0), 0, "clip", encode(message), (), 0))
        assert isinstance(decoded, Decoded)
        at, motion = message.captured_at, message.motion
        if message.encoding == "unchanged":
            assert picture is not None
            inputs.stand(at, picture)
            image = zero if description.kind == "difference" else last
        else:
            assert decoded.picture is not None
            picture = decoded.picture
            image = inputs.take(at, picture, motion)  # type: ignore[assignment]
        if image is not None:
            last = image
        yield Step(message.index, at, image, motion)


def bundle_scores(bundle: Bundle, tracks: Sequence[Track]) -> Scores:
    """(C,) the largest 1 - P(normal) of each clip's windows, by the bundle's own head."""
    windows = cut(tracks, bundle.description.classifier)
    probabilities, _ = open_classifier(bundle)(windows.vectors(tracks))
    normal = [label.name for label in bundle.description.labels].index("normal")
    return _largest(windows, 1.0 - np.asarray(probabilities, np.float64)[:, normal], len(tracks))


def linear_aucs(
    bundle: Bundle, clips: Sequence[Clip], truth: npt.NDArray[np.bool_],
    found: Mapping[Variant, Sequence[Track]],
) -> dict[Variant, float]:  # fmt: skip
    """AUC of each variant behind heads that learnt from the reference, on the same folds."""
    folds = group_folds([c.label for c in clips], [c.group for c in clips], 5, 0)
    windows = {v: cut(tracks, bundle.description.classifier) for v, tracks in found.items()}
    numbers = {v: statistics(windows[v].vectors(found[v])) for v in found}
    scores = {v: np.zeros(len(clips)) for v in found}
    learnt = windows[REFERENCE]
    for fold in folds:
        train = np.isin(learnt.clip, fold.train)
        head = fit_linear(numbers[REFERENCE][train], truth[learnt.clip[train]].astype(np.intp))
        for variant, own in windows.items():
            given = head.predict_proba(numbers[variant])[:, 1]
            scores[variant][fold.test] = _largest(own, given, len(clips))[fold.test]
    return {variant: auc(truth, each) for variant, each in scores.items()}


def _largest(windows: Windows, scores: Scores, clips: int) -> Scores:
    result = np.zeros(clips)
    np.maximum.at(result, windows.clip, scores)
    return result


def similarity(reference: Sequence[Track], other: Sequence[Track]) -> float:
    """Mean cosine of the vectors of the same steps."""
    rows = [a.present & b.present for a, b in zip(reference, other, strict=True)]
    one = np.concatenate([a.vectors[r] for a, r in zip(reference, rows, strict=True)])
    two = np.concatenate([b.vectors[r] for b, r in zip(other, rows, strict=True)])
    return float(cosine(one, two).mean())


def auc(truth: npt.NDArray[np.bool_], scores: Scores) -> float:
    """Area under the ROC curve."""
    return metrics.auc(truth.astype(np.intp), scores)


if __name__ == "__main__":
    main()
