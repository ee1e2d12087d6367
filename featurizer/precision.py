"""In which arithmetic the backbone runs on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from shared.errors import InvalidSettings

Precision = Literal["f32", "bf16", "int8"]

_INT8 = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Without them an x86 CPU adds products of int8 up in 16 bits, which overflow, and gains little."""
_CPUINFO = Path("/proc/cpuinfo")


def choose(wanted: Literal["auto", "f32", "bf16", "int8"], *, quantised: bool) -> Precision:
    """What `auto` means here; `quantised`: the bundle holds an int8 network.

    int8 where the bundle has it and the CPU multiplies int8 fast; else bf16 where there are tiles
    for it (AMX); else f32. avx512_bf16 alone is not enough: on such a Xeon bf16 took 1.7 times the
    processor time of f32. Raises InvalidSettings for int8 where it would give wrong vectors.
    """
    flags = cpu_flags()
    if wanted == "int8" and flags and not flags & _INT8:
        raise InvalidSettings(
            "featurizer.precision=int8: this CPU has neither VNNI nor AMX, and int8 would "
            "overflow; take auto or f32"
        )
    if wanted != "auto":
        return wanted
    if quantised and flags & _INT8:
        return "int8"
    return "bf16" if "amx_bf16" in flags else "f32"


def cpu_flags() -> frozenset[str]:
    """What the first core can do, in Linux's words; empty where Linux does not say."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), ":")
    return frozenset(flags.split(":", 1)[1].split())
