"""What cheaper arithmetic, bare luminance and static-frame gating cost in recognition.

    python -m benchmarks.recognition [--every 1]

229 real surveillance clips (fighting or not, `fights/` of the data folder; every second one by
default), with features as training makes them (float32, JPEG, gated: the reference), and with one
thing changed at a time. A clip's score is the largest 1 - P(normal) of its windows. Two heads: the
bundle's own, which may have learnt from such clips, and a linear one on held-out clips (five folds
by source). It learns from reference features and is tested on changed ones, as a bundle is that
serves otherwise than it was trained; for gating, where features as such differ, it learns and is
tested without it, and that is what gating is compared with. Points are hundredths of the AUC.
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
from featurizer.inputs import Inputs, still_input
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
    gating: bool = True


REFERENCE = Variant("f32")
VARIANTS = {
    "int8": Variant("int8"),
    "luminance in place of JPEG": Variant("f32", "grey"),
    "int8 and luminance, as watch has it": Variant("int8", "grey"),
}
UNGATED = Variant("f32", gating=False)
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
    everything = {"reference": REFERENCE, **VARIANTS, "every frame": UNGATED}
    for name, variant in everything.items():
        print(f"features: {name}", flush=True)
        found[variant] = [_track(c, bundle, variant, extractors[variant.precision]) for c in clips]
    truth = np.array([c.label != "normal" for c in clips])
    own = {v: auc(truth, bundle_scores(bundle, tracks)) for v, tracks in found.items()}
    linear = linear_aucs(bundle, clips, truth, found)
    free = linear_aucs(bundle, clips, truth, {UNGATED: found[UNGATED]}, UNGATED)[UNGATED]
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
    note = (
        f"linear head on held-out sources, each its own features: {free:.4f} to "
        f"{linear[REFERENCE]:.4f}; the bundle's own head: {own[UNGATED]:.4f} to "
        f"{own[REFERENCE]:.4f}; {gated_share(found[REFERENCE], found[UNGATED]):.1%} of the steps "
        "differ"
    )
    claims.append(Claim("AUC lost: static-frame gating", "points",
                        [100 * (free - linear[REFERENCE])], note=note))  # fmt: skip
    report(*claims)


def _track(clip: Clip, bundle: Bundle, variant: Variant, extract: Extract) -> Track:
    return make(steps(clip.source, bundle.description.input, variant), extract)


def steps(source: str, description: Input, variant: Variant) -> Iterator[Step]:
    """What the network would see of a recording, by the code that serves."""
    settings = IngestSettings.model_validate(
        {"pictures": variant.pictures, "static_gating": variant.gating}
    )
    camera = Camera(id="clip", source=source, fps=description.fps)
    decode = FrameDecoder("lane", 30.0, lambda: 0, only_grey=description.of_motion)
    inputs = Inputs(description)
    last = zero = still_input(description)
    picture = None
    pictures = open_source(source, settings, small=True).pictures(lambda at: True)
    for message in capture(pictures, camera, Session(0, 0, live=False), settings):
        if not isinstance(message, Frame):
            return
        decoded = decode(Record(Partition("frames", 0), 0, "clip", encode(message), (), 0))
        assert isinstance(decoded, Decoded)
        at, motion = message.captured_at, message.motion
        unchanged = message.encoding == "unchanged"
        if not unchanged:
            picture = decoded.picture
        assert picture is not None
        if unchanged and not description.of_motion:
            image = last
        elif unchanged and inputs.stands(at, picture, motion):
            image = zero
        else:
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
    found: Mapping[Variant, Sequence[Track]], reference: Variant = REFERENCE,
) -> dict[Variant, float]:  # fmt: skip
    """AUC of each variant behind heads that learnt from the reference, on the same folds."""
    folds = group_folds([c.label for c in clips], [c.group for c in clips], 5, 0)
    windows = {v: cut(tracks, bundle.description.classifier) for v, tracks in found.items()}
    numbers = {v: statistics(windows[v].vectors(found[v])) for v in found}
    scores = {v: np.zeros(len(clips)) for v in found}
    learnt = windows[reference]
    for fold in folds:
        train = np.isin(learnt.clip, fold.train)
        head = fit_linear(numbers[reference][train], truth[learnt.clip[train]].astype(np.intp))
        for variant, own in windows.items():
            given = head.predict_proba(numbers[variant])[:, 1]
            scores[variant][fold.test] = _largest(own, given, len(clips))[fold.test]
    return {variant: auc(truth, each) for variant, each in scores.items()}


def _largest(windows: Windows, scores: Scores, clips: int) -> Scores:
    result = np.zeros(clips)
    np.maximum.at(result, windows.clip, scores)
    return result


def gated_share(gated: Sequence[Track], free: Sequence[Track]) -> float:
    """Share of the steps whose vector is another one with gating."""
    differs = [(a.vectors != b.vectors).any(1) for a, b in zip(gated, free, strict=True)]
    return float(np.concatenate(differs).mean())


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
