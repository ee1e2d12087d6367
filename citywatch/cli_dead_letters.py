"""`citywatch dead-letters`: what there is to say. `dead_letters.py` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citywatch.options import ConfigFile, Json, Overrides

letters = typer.Typer(no_args_is_help=True, help="Records that were put aside on Kafka.")

FromTopic = Annotated[
    str | None, typer.Option(metavar="NAME", help="they came from, such as frames, street.features")
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="part of the reason")]
OfCameras = Annotated[
    list[str] | None, typer.Option("--camera", metavar="ID", help="only these; repeatable")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="2h, 3d or 2026-03-01T18:30:00, when put aside")
]


@letters.command("list")
def dead_letters_list(
    topic: FromTopic = None,
    reason: Reason = None,
    camera: OfCameras = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="the newest so many")] = 100,
    json: Json = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """What was put aside, when, and why."""
    from citywatch.dead_letters import list_letters, wish
    from citywatch.deployment import deployment

    wanted = wish(topic, reason, camera or [], since)
    with deployment(config, settings or []) as there:
        list_letters(there, wanted, limit, json=json)


@letters.command("show")
def dead_letters_show(
    letter: Annotated[str, typer.Argument(help="as `list` names it, such as 3/17")],
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write its value, untouched")
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """One of them, with its headers and what is in it."""
    from citywatch.dead_letters import show
    from citywatch.deployment import deployment

    with deployment(config, settings or []) as there:
        show(there, letter, save, json=json)


@letters.command("redrive")
def dead_letters_redrive(
    letter: Annotated[
        list[str] | None, typer.Argument(help="as `list` names them; none: all that match")
    ] = None,
    topic: FromTopic = None,
    reason: Reason = None,
    camera: OfCameras = None,
    since: Since = None,
    limit: Annotated[int | None, typer.Option(min=1, help="the newest so many")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    json: Json = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """Send records back to where they came from; the letters themselves stay.

    Predictions go back as they are. Frames and features go back as a recording, under a session of
    its own: the windows of their old one have moved on. Exit code 1: none of them can go back.
    """
    from citywatch.dead_letters import redrive_letters, wish
    from citywatch.deployment import deployment

    wanted = wish(topic, reason, camera or [], since, letter or [])
    with deployment(config, settings or []) as there:
        raise typer.Exit(redrive_letters(there, wanted, limit, yes=yes, json=json))
