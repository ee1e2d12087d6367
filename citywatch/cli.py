"""The `citywatch` command: what there is to say, and which file does it.

Nothing heavy is imported here, so that `--help` and shell completion answer at once: each command
imports what it needs when it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from citywatch.cli_dead_letters import letters
from citywatch.cli_incidents import happened
from citywatch.cli_models import models
from citywatch.options import Bundle, ConfigFile, Json, Overrides
from shared.errors import CitywatchError

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Recognises anomalies in the video of cameras: one process, or services on Kafka.",
    pretty_exceptions_enable=False,
)
cameras = typer.Typer(no_args_is_help=True, help="The cameras of a deployment on Kafka.")
config = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(cameras, name="cameras")
app.add_typer(happened, name="incidents")
app.add_typer(models, name="models")
app.add_typer(letters, name="dead-letters")
app.add_typer(config, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"citywatch {version('citywatch')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print it and exit")
    ] = False,
) -> None:
    pass


@app.command()
def demo(bundle: Bundle = None, settings: Overrides = None) -> None:
    """Four drawn cameras with scripted events, in one process, about a minute.

    Exit code 1 if an event of the script was not recognised.
    """
    from citywatch.demo import demo as run

    raise typer.Exit(run(bundle, settings or []))


@app.command()
def watch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="a video file, a folder of images, rtsp:// or http://, a device (0), synthetic://",
        ),
    ],
    bundle: Bundle = None,
    json: Json = False,
    annotate: Annotated[
        Path | None, typer.Option(metavar="OUT.mp4", help="write the video with what was seen")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="draw scores and incidents over time")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=120, help="frames sampled a second [default: 15]")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="begin files again at their end")] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="stop after so long, by the clock")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="when a recording began, such as 2026-03-01T18:30:00"),
    ] = None,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Watch files, streams and devices in one process, no servers needed.

    Exit code 0: all sources were read. 1: some or all failed on the way. 2: something in the
    command can be mended. Ctrl-C ends with the summary.
    """
    from citywatch.watch import Wish
    from citywatch.watch import watch as run

    wish = Wish(
        tuple(sources), bundle, json, annotate, plot, fps, loop, seconds, start, config,
        tuple(settings or ()),
    )  # fmt: skip
    raise typer.Exit(run(wish))


@app.command()
def serve(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE")],
    settings: Overrides = None,
) -> None:
    """Watch the cameras of a citywatch.toml for good: one process, incidents kept in a file."""
    from citywatch.serve import serve as run

    raise typer.Exit(run(config, settings or []))


@app.command()
def doctor(
    bundle: Bundle = None,
    services: Annotated[
        bool, typer.Option("--services", help="count a missing Kafka or Redis as a fault")
    ] = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """What this machine offers, what is used, what is missing, and what to do about it."""
    from citywatch.doctor import doctor as run

    raise typer.Exit(run(bundle, services, config, settings or []))


@app.command()
def subscribe(
    camera: Annotated[list[str] | None, typer.Option(help="only these; repeatable")] = None,
    label: Annotated[list[str] | None, typer.Option(help="only these; repeatable")] = None,
    json: Json = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Follow the incidents of a deployment on Kafka as they open and close."""
    from citywatch.subscribe import subscribe as run

    raise typer.Exit(run(camera or [], label or [], json, config, settings or []))


@app.command()
def backfill(
    recording: Annotated[str, typer.Argument(help="a video file, or a folder of images")],
    camera: Annotated[str, typer.Option(metavar="ID", help="whose recording it is")],
    start: Annotated[str, typer.Option(metavar="TIME", help="such as 2026-05-01T08:00:00Z")],
    lane: Annotated[
        list[str] | None, typer.Option(help="lanes that score it [default: the camera's]")
    ] = None,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="of silence, then it gives up")
    ] = 120.0,
    json: Json = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Score a recording through a deployment on Kafka, beside its live cameras.

    The same recording with the same start gives the same prediction ids and no second incident.
    Exit code 0: all of it was scored. 1: part of it. 2: something in the command can be mended.
    3: the services do not answer.
    """
    from citywatch.backfill import Wish
    from citywatch.backfill import backfill as run
    from citywatch.deployment import deployment
    from shared.service import stop_on_signals

    wish = Wish(recording, camera, start, tuple(lane or ()), patience, json)
    stop = stop_on_signals()
    with deployment(config, settings or []) as there:
        raise typer.Exit(run(there, wish, stop))


@app.command()
def plan(
    cameras: Annotated[int, typer.Option(min=1)],
    fps: Annotated[float, typer.Option(min=0.1, max=120, help="frames sampled a second")] = 15.0,
    static: Annotated[
        float, typer.Option(min=0, max=1, help="share of frames in which nothing moves")
    ] = 0.0,
    lanes: Annotated[int, typer.Option(min=1, help="models on the same frames")] = 1,
    replicas: Annotated[int, typer.Option(min=1, help="of every topic")] = 2,
    retention_hours: Annotated[float, typer.Option(min=0.05, help="of the frames")] = 1.0,
    utilisation: Annotated[float, typer.Option(min=0.1, max=1, help="of the cores")] = 0.7,
    broker_gigabits: Annotated[float, typer.Option(min=0.1, help="network of a broker")] = 10.0,
    core_month: Annotated[
        float | None, typer.Option(min=0, help="price of a core a month, in any currency")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="figures of your machine: python -m benchmarks.machine"),
    ] = None,
    json: Json = False,
) -> None:
    """What a fleet needs: partitions, brokers, cores, memory, from measured figures."""
    from citywatch.plan import Fleet
    from citywatch.plan import run as show

    fleet = Fleet(
        cameras, fps, static, lanes, replicas, retention_hours, utilisation,
        broker_gigabits=broker_gigabits, core_month=core_month,
    )  # fmt: skip
    raise typer.Exit(show(fleet, profile, as_json=json))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def run(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="ingest, featurizer, classifier or alerting")],
) -> None:
    """Run one service on Kafka; the same as `python -m SERVICE`. Its options: SERVICE --help."""
    from importlib import import_module

    from shared.errors import InvalidInput

    if service not in ("ingest", "featurizer", "classifier", "alerting"):
        raise InvalidInput(f"{service}: not a service; ingest, featurizer, classifier, alerting")
    raise typer.Exit(import_module(f"{service}.__main__").main(context.args))


@config.command("show")
def config_show(config: ConfigFile = None, settings: Overrides = None) -> None:
    """The settings as they resolve now: command line > environment > file > default."""
    from citywatch.configuration import show

    show(config, settings or [])


@cameras.command("list")
def cameras_list(json: Json = False, config: ConfigFile = None, settings: Overrides = None) -> None:
    """Print the cameras that are registered."""
    from citywatch.cameras import list_all

    list_all(json, config, settings or [])


@cameras.command("add")
def cameras_add(
    id: Annotated[str, typer.Argument(help="letters, digits, '.', '_', '-'")],
    source: Annotated[str, typer.Argument(help="path, address, device or synthetic://")],
    fps: Annotated[float, typer.Option(help="frames sampled a second")] = 15.0,
    lane: Annotated[
        list[str] | None, typer.Option(help="lanes that watch it [default: all]")
    ] = None,
    secret: Annotated[
        str | None, typer.Option(help="name of the secret that {secret} in the source stands for")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="begin a file again at its end")] = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Register a camera, or change it; running ingest workers take it up at once."""
    from citywatch.cameras import add

    table = {"id": id, "source": source, "fps": fps, "loop": loop, "secret": secret}
    add([table | {"lanes": lane or []}], config, settings or [])


@cameras.command("import")
def cameras_import(
    file: Annotated[Path, typer.Argument(help="a TOML file with [[cameras]] tables")],
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Register every camera of a file."""
    from citywatch.cameras import add, tables

    add(tables(file), config, settings or [])


@cameras.command("remove")
def cameras_remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID...")],
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Remove cameras; their captures end and their incidents close."""
    from citywatch.cameras import remove

    remove(ids, config, settings or [])


@cameras.command("test")
def cameras_test(
    source: Annotated[str, typer.Argument(metavar="URL")],
    seconds: Annotated[float, typer.Option(help="how long to wait for a picture")] = 10.0,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Open one source as ingest would, and say what comes from it."""
    from citywatch.cameras import test

    raise typer.Exit(test(source, seconds, config, settings or []))


def main() -> None:
    """Run the command; a known trouble is one line on standard error and its exit code."""
    try:
        app()
    except CitywatchError as error:
        print(f"citywatch: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
