"""Options that many commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="a citywatch.toml")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="override one setting; repeatable"),
]
Bundle = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="model bundle [default: models/street]")
]
Json = Annotated[bool, typer.Option("--json", help="one JSON object a line on standard output")]
