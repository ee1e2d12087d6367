"""The run behind `ablate`: features of the experiment, all heads, JSON and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from shared.errors import InvalidInput
from training.ablate import HEADS, ablate, markdown, table
from training.experiment import Experiment
from training.runs import Run, write_json
from training.train import learnable


def ablation(
    experiment: Experiment,
    folder: Path,
    heads: str,
    seeds: int,
    exclude: Sequence[str],
    cache: Path,
    console: Console,
    *,
    leaky_seeds: int,
) -> str:
    """Run it; returns the table in Markdown. Raises InvalidInput for a head that does not exist."""
    chosen = list(HEADS) if heads == "all" else heads.split(",")
    unknown = set(chosen) - set(HEADS)
    if unknown:
        raise InvalidInput(f"no such head: {', '.join(sorted(unknown))}; {', '.join(HEADS)}")
    run = Run(folder, "ablate", experiment, experiment.seed)
    learnt, _, _ = learnable(experiment, folder, cache, console)
    outcomes = ablate(
        experiment, learnt, chosen, seeds, folder=folder / "scores", leaky_seeds=leaky_seeds
    )
    tables = {"all": table(experiment, learnt, outcomes)}
    if exclude:
        tables[f"without {', '.join(exclude)}"] = table(experiment, learnt, outcomes, exclude)
    text = "\n".join(f"{name}:\n\n{markdown(rows)}" for name, rows in tables.items())
    (folder / "ablation.md").write_text(text, encoding="utf-8")
    write_json(
        folder / "ablation.json",
        {"seeds": seeds, "leaky_seeds": leaky_seeds, "heads": chosen, "tables": tables},
    )
    run.finish(tables)
    return text
