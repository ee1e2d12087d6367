"""`citywatch models`: what there is to say. `models.py` and `fetch.py` do it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citywatch.options import Json

models = typer.Typer(no_args_is_help=True, help="Model bundles, and published weights.")


@models.command("list")
def models_list(
    folder: Annotated[
        Path | None, typer.Argument(help="a folder of bundles [default: models]")
    ] = None,
    json: Json = False,
) -> None:
    """The bundles that are there."""
    from citywatch.models import list_all

    list_all(folder, json=json)


@models.command("show")
def models_show(
    bundle: Annotated[Path, typer.Argument(metavar="FOLDER", help="such as models/street")],
    json: Json = False,
) -> None:
    """What one bundle takes in, recognises and weighs, and its card."""
    from citywatch.models import show

    show(bundle, json=json)


@models.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="mobilenet_v2 or mobilenet_v2_v1")],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="where it goes")] = Path("weights"),
) -> None:
    """Download weights that torchvision publishes, to train a backbone from; needs a network.

    Goes on where it broke off, and checks the file. Exit code 2: not the file that was published.
    3: no network.
    """
    from citywatch.fetch import fetch

    raise typer.Exit(fetch(name, to))
