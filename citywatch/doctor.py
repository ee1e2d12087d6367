"""`citywatch doctor`: what this machine offers, what is used, what is missing, what to do."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from citywatch.configuration import lane_and_bundle, resolve
from shared.errors import CitywatchError, Unavailable
from shared.settings import Configuration, KafkaSettings

State = Literal["ok", "absent", "fault"]
_MARK = {"ok": "[green]✓[/]", "absent": "[yellow]–[/]", "fault": "[red]✗[/]"}
_CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(frozen=True)
class Finding:
    """One line of the report; a `fault` makes the exit code 1, an `absent` thing does not."""

    what: str
    state: State
    detail: str
    advice: str = ""


def doctor(
    bundle: Path | None, services: bool, config: Path | None, settings: Sequence[str]
) -> int:
    """Print the report; returns 0 (ready), 1 (a fault) or 3 (a service is wanted and away)."""
    configuration = resolve(config, settings, bundle)
    console = Console(highlight=False)
    findings = []
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in examine(configuration):
        findings.append(finding)
        table.add_row(_MARK[finding.state], finding.what, escape(finding.detail))
        if finding.advice:
            table.add_row("", "", f"[dim]→ {escape(finding.advice)}[/]")
    console.print(table)
    faults = [f.what for f in findings if f.state == "fault"]
    away = [f.what for f in findings if f.state == "absent" and f.what in ("Kafka", "Redis")]
    if faults:
        console.print(f"\nNot ready: {', '.join(faults)}.")
        return 1
    if services and away:
        console.print(f"\n{' and '.join(away)} did not answer.")
        return Unavailable.exit_code
    ready = "watch, demo and serve" + ("" if away else ", and the services on Kafka")
    console.print(f"\nReady for {ready}.")
    return 0


def examine(configuration: Configuration) -> Iterable[Finding]:
    """All findings, in the order of the flow."""
    checks: Sequence[Callable[[], Finding]] = (
        _machine, _decoder, _acceleration, _cpu, _gpu, _openvino,
        lambda: _bundle(configuration), lambda: _kafka(configuration),
        lambda: _redis(configuration),
    )  # fmt: skip
    for check in checks:
        yield check()


def _machine() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding(
        "machine", "ok", f"{platform.system()} {platform.machine()}, {cores} cores, "
        f"Python {platform.python_version()}",
    )  # fmt: skip


def _decoder() -> Finding:
    import cv2

    built = cv2.getBuildInformation()
    ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()
    line = next((x for x in built.splitlines() if "avcodec:" in x), "")
    version = line.split("(")[-1].rstrip(")") if "(" in line else "?"
    if not ffmpeg:
        return Finding(
            "decoder", "fault", f"OpenCV {cv2.__version__} without FFmpeg",
            "install opencv-python-headless from a package index: its wheels hold FFmpeg",
        )  # fmt: skip
    return Finding("decoder", "ok", f"OpenCV {cv2.__version__} with FFmpeg (avcodec {version})")


def _acceleration() -> Finding:
    nodes = sorted(str(node) for node in Path("/dev/dri").glob("renderD*"))
    if nodes:
        return Finding(
            "hardware decoding", "ok", f"{', '.join(nodes)} is there",
            "[ingest] decoder chooses: auto, software, vaapi, nvdec",
        )  # fmt: skip
    return Finding("hardware decoding", "absent", "no render device; video is decoded in software")


def _cpu() -> Finding:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return Finding("CPU", "ok", platform.processor() or "unknown")
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    found = [flag for flag in _CPU_FLAGS if flag in flags]
    name = fields.get("model name", platform.processor())
    return Finding("CPU", "ok", f"{name}; {', '.join(found) or 'no AVX2 or better'}")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("GPU", "ok", f"{', '.join(names)}; CUDA {torch.version.cuda}")
    return Finding("GPU", "absent", "none; the backbone runs on the CPU by OpenVINO")


def _openvino() -> Finding:
    try:
        import openvino
    except ImportError:
        return Finding("OpenVINO", "fault", "not installed", "pip install openvino")
    devices = ", ".join(openvino.Core().available_devices)
    return Finding("OpenVINO", "ok", f"{openvino.__version__.split('-')[0]}; devices: {devices}")


def _bundle(configuration: Configuration) -> Finding:
    try:
        lane, bundle = lane_and_bundle(configuration)
        fingerprint = bundle.fingerprint
    except CitywatchError as error:
        return Finding("bundle", "fault", str(error), "name another with --bundle FOLDER")
    labels = ", ".join(name.replace("_", " ") for name in bundle.label_names)
    return Finding("bundle", "ok", f"{bundle.folder} (lane {lane}, {fingerprint}): {labels}")


def _kafka(configuration: Configuration) -> Finding:
    servers = configuration.get(KafkaSettings).bootstrap_servers
    answers = any(_answers(server.strip()) for server in servers.split(","))
    if answers:
        return Finding("Kafka", "ok", f"{servers} answers")
    return Finding(
        "Kafka", "absent", f"nothing answers at {servers}; not needed by watch, demo and serve",
        "for the services: docker compose up, or make services; [kafka] bootstrap_servers",
    )  # fmt: skip


def _redis(configuration: Configuration) -> Finding:
    from alerting.settings import AlertingSettings

    address = urlsplit(configuration.get(AlertingSettings).redis_url.get_secret_value())
    server = f"{address.hostname or '127.0.0.1'}:{address.port or 6379}"
    if _answers(server):
        return Finding("Redis", "ok", f"{server} answers")
    return Finding(
        "Redis", "absent", f"nothing answers at {server}; not needed by watch, demo and serve",
        "for alerting on Kafka: docker compose up, or make services; [alerting] redis_url",
    )  # fmt: skip


def _answers(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host or server, int(port)), 2):
            return True
    except (OSError, ValueError):
        return False
