"""`citywatch incidents`: what there is to say. `incidents.py` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citywatch.options import ConfigFile, Json, Overrides

happened = typer.Typer(no_args_is_help=True, help="Incidents that alerting or `serve` has stored.")

Lane = Annotated[str | None, typer.Option(help="whose incidents [default: the bundle's]")]
StoreFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="where `serve` keeps them [default: the settings]"),
]


@happened.command("list")
def incidents_list(
    camera: Annotated[list[str] | None, typer.Option(help="only these; repeatable")] = None,
    label: Annotated[list[str] | None, typer.Option(help="only these; repeatable")] = None,
    state: Annotated[str | None, typer.Option(help="open or closed")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="2h, 3d or 2026-03-01T18:30:00")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="the newest so many")] = 50,
    lane: Lane = None,
    file: StoreFile = None,
    json: Json = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """What has happened, newest first; with --since what had not ended by then.

    Give the --config of `serve`, or that of the services with their Redis.
    """
    from citywatch.incidents import Place, Wish, list_all

    wish = Wish(camera or (), label or (), state, since, limit)
    list_all(Place(lane, file, config, settings or []), wish, json=json)


@happened.command("show")
def incidents_show(
    incident: Annotated[str, typer.Argument(metavar="ID", help="as `list` names it")],
    lane: Lane = None,
    file: StoreFile = None,
    json: Json = False,
    config: ConfigFile = None,
    settings: Overrides = None,
) -> None:
    """One of them, with all that is known."""
    from citywatch.incidents import Place, show

    show(Place(lane, file, config, settings or []), incident, json=json)
