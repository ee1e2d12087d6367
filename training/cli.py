"""The command line of training. Each command imports what it needs: torch alone takes seconds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from shared.errors import CitywatchError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Data sets in, model bundles and evaluation reports out.

A usual way through:

    python -m training prepare folders VIDEOS --out data/mine

    python -m training train training/experiments/street.toml --data ../shared/data

    python -m training evaluate --bundle runs/street/bundle --data data/mine --out runs/report

    python -m training compare runs/street/bundle models/street --data data/mine --positive fighting

Frames and features are kept in `cache/`, results in `runs/`: a run that was killed goes on where
it stood.
""",
)

Data = Annotated[
    Path, typer.Option("--data", help="Folder with `manifest.csv`: video, label, group.")
]
Root = Annotated[
    Path | None, typer.Option("--data", help="Where the TOML's paths start; else beside it.")
]
BundleFolder = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
Kept = Annotated[Path, typer.Option("--cache", help="Frames and features, kept between runs.")]
Toml = Annotated[Path, typer.Argument(help="An experiment; see training/experiments.")]
CACHE = Path("cache")
STREET = Path("models/street")


@app.command()
def prepare(
    layout: Annotated[
        str,
        typer.Argument(
            help="folders (LABEL/VIDEO), ucf-crime, ucf-crime-1..4, ucsd, avenue, umn, drawn, "
            "drawn-held-out"
        ),
    ],
    source: Annotated[
        str, typer.Argument(help="The data set's folder; for drawn: how many scenes.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the manifest.")],
    lists: Annotated[
        Path | None, typer.Option("--lists", help="UCF-Crime's official lists.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the first drawn scene.")] = 0,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Look for duplicates (opens every video).")
    ] = True,
) -> None:
    """Write `manifest.csv` for a data set, and look for duplicates and leaks.

    Exact copies are found by SHA-256, near ones by perceptual hash, mirrored copies included. Pairs
    in different groups are listed: give them one group, or a split by group leaks.
    """
    from training.prepare import prepare as run

    run(layout, source, out, lists, seed, Console(), check=check)


@app.command()
def features(data: Data, bundle: BundleFolder = STREET, cache: Kept = CACHE) -> None:
    """Make and keep the features of every clip; what is there already is not made again."""
    from featurizer.extractor import open_extractor
    from featurizer.settings import FeaturizerSettings
    from shared.bundle import Bundle
    from training import manifest
    from training.features import Cache

    opened = Bundle(bundle)
    clips = manifest.read(data)
    kept = Cache(cache, opened.description.input, opened.backbone_fingerprint)
    tracks = kept.tracks(clips, open_extractor(opened, FeaturizerSettings()))
    steps = sum(len(track.index) for track in tracks)
    Console().print(f"{len(tracks)} clips, {steps} steps in {kept.folder}")


@app.command()
def train(
    experiment: Toml,
    data: Root = None,
    out: Annotated[Path | None, typer.Option("--out", help="Default: runs/NAME.")] = None,
    cache: Kept = CACHE,
) -> None:
    """Train a bundle: backbone, features, folds by group, thresholds, head.

    Writes `OUT/bundle` and `OUT/run.json` (configuration, seed, versions, git state, metrics on
    held-out groups). Does not touch `models/`: `export` does.
    """
    from training import experiment as experiments
    from training.train import train as run

    described = experiments.read(experiment, data)
    console = Console()
    bundle = run(described, out or Path("runs") / described.name, cache, console)
    console.print(f"bundle: {bundle.folder} ({bundle.fingerprint})")


@app.command()
def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for metrics.json and report.html.")],
    bundle: BundleFolder = STREET,
    positive: Annotated[
        str | None, typer.Option("--positive", help="Score this label against all others.")
    ] = None,
    quiet: Annotated[
        list[Path] | None,
        typer.Option("--quiet", help="Videos in which nothing happens; may be repeated."),
    ] = None,
    cache: Kept = CACHE,
) -> None:
    """Measure a bundle on a folder of clips: `metrics.json`, figures, one HTML report.

    Clips are read by the code that serves. Labels that the bundle does not know are refused; labels
    that the data lacks are fine. With `--positive` the clip metrics are those of one label against
    the rest, decided at the bundle's threshold.
    """
    from training.reporting import evaluate as run

    metrics = run(bundle, data, out, positive, quiet or [], cache)
    learnt = metrics["data"]["learnt_from"]
    if learnt:
        Console().print(
            f"The bundle has learnt from {learnt} of these clips: the numbers say how well it "
            "remembers, not how well it recognises."
        )
    _print_metrics(metrics)
    Console().print(f"{out / 'metrics.json'}, {out / 'report.html'}")


@app.command()
def report(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder that holds a metrics.json.")],
    bundle: BundleFolder = STREET,
    cache: Kept = CACHE,
) -> None:
    """Write the figures and the HTML report again from `metrics.json` and kept features."""
    from training.reporting import report as run

    Console().print(f"{run(bundle, data, out, cache)}")


@app.command()
def ablate(
    experiment: Toml,
    data: Root = None,
    out: Annotated[Path | None, typer.Option("--out", help="Default: runs/NAME-ablation.")] = None,
    heads: Annotated[
        str, typer.Option("--heads", help="Comma-separated; `all` for every one.")
    ] = "all",
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 5,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Count again without this group; may be repeated."),
    ] = None,
    leaky: Annotated[
        int, typer.Option("--leaky", min=0, help="Seeds of a random split; 0: none.")
    ] = 1,
    cache: Kept = CACHE,
) -> None:
    """Compare heads on the same folds by group, beside the leaky split, labelled as such.

    A killed run goes on where it stood; several may work on one `--out` with different heads.
    """
    from training import experiment as experiments
    from training.ablation import ablation

    described = experiments.read(experiment, data)
    folder = out or Path("runs") / f"{described.name}-ablation"
    text = ablation(
        described, folder, heads, seeds, exclude or [], cache, Console(), leaky_seeds=leaky
    )
    Console().print(text, markup=False)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `train` run.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder; its texts are kept.")] = STREET,
) -> None:
    """Copy a trained bundle to where it ships, and check that it loads and is small enough."""
    from training.export import ship

    bundle, size = ship(run, out)
    Console().print(f"{bundle.folder}: {bundle.fingerprint}, {size / 2**20:.2f} MiB")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A bundle.")],
    second: Annotated[Path, typer.Argument(help="Another bundle.")],
    data: Data,
    positive: Annotated[str, typer.Option("--positive", help="The label to compare by.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for compare.json.")] = None,
    cache: Kept = CACHE,
) -> None:
    """Compare two bundles on the same clips, with intervals paired by group."""
    from training.reporting import compare as run
    from training.runs import plain

    result = run(first, second, data, positive, out, cache)
    Console().print_json(json.dumps(plain(result)))


@app.command()
def quantize(
    video: Annotated[
        list[str],
        typer.Option("--video", help="Footage of your own cameras; may be repeated."),
    ],
    bundle: BundleFolder = STREET,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a copy of the bundle; else into it.")
    ] = None,
) -> None:
    """Add an int8 backbone to a bundle: twice as fast on CPUs with VNNI, about a minute's work.

    Refused where the features turn further than a mean cosine of 0.99 from those in float32. From
    then on `featurizer.precision=auto` uses it. `evaluate` tells what it does to recognition.
    """
    from training.quantize import quantize as run

    record, path = run(bundle, video, out)
    Console().print(
        f"cosine to float32 on {record.pictures} pictures held out: mean {record.cosine_mean:.4f}, "
        f"5th percentile {record.cosine_p05:.4f}, least {record.cosine_least:.4f}\n"
        f"calibrated on {record.calibrated_on} pictures by {record.made_by}, kept in float32: "
        f"{record.kept_in_float}: {path}",
        highlight=False,
    )


def _print_metrics(metrics: Mapping[str, Any]) -> None:
    lines = dict(metrics["intervals"])
    if metrics["motion"]:
        lines["motion alone, auc"] = f"{metrics['motion']['auc']:.3f}"
    event = metrics["event"]
    if event and event["camera_hours"]:
        lines["event.recall"] = (
            f"{event['hits']} of {event['events']}, {event['right_label']} by their own label, at "
            f"{event['false_alarms_per_hour']:.1f} false alarms per camera-hour"
        )
        lines["event.recall_at_rate"] = (
            f"{event['recall_at_rate']['1']:.3f} at 1 false alarm per camera-hour; one is "
            f"{event['rate_step_per_hour']:.1f} per camera-hour here"
        )
        delay = [event["delay"][name] for name in ("median_seconds", "p90_seconds")]
        said = ["missed" if value is None else f"{value:.1f} s" for value in delay]
        lines["event.delay"] = f"median {said[0]}, 90th percentile {said[1]}"
    for name, value in lines.items():
        Console().print(f"{name:<24}{value}", highlight=False, markup=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; errors meant for people are one line and an exit code."""
    try:
        app(args=list(argv) if argv is not None else None)
    except CitywatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
