"""The backbone that ships: every layer trained here, from a teacher.

A student begins with the teacher's weights (ImageNet MobileNetV2). All its layers learn, on
network inputs of real and drawn footage, to give for a disturbed input (gain, noise) the teacher's
vector of the clean one. No label is used, so that folds over the same clips stay honest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from featurizer.inputs import Image
from featurizer.mobilenetv2 import MobileNetV2
from shared.bundle import Input
from shared.messages import Frame
from training.clips import steps
from training.manifest import Clip
from training.recordings import Recordings

Images = npt.NDArray[np.uint8]
"""Network inputs (N, S, S, 3)."""


class DistilRecipe(BaseModel):
    """How the backbone is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(600, ge=1)
    batch: int = Field(16, ge=1)
    rate: float = Field(2e-3, gt=0, description="per step, as a share of a tensor's own size")
    weight_decay: float = Field(1e-4, ge=0)
    images_per_clip: int = Field(12, ge=1)
    gain: float = Field(0.2, ge=0, lt=1, description="inputs are multiplied by 1 - gain..1 + gain")
    noise: float = Field(4.0, ge=0, description="deviation in grey levels")


def examples(
    clips: Sequence[Clip],
    recordings: Recordings,
    description: Input,
    per_clip: int,
    stored: Path,
) -> Images:
    """About `per_clip` inputs (N, S, S, 3) spread evenly over each clip.

    Written to `stored`, and read from there by a run that is taken up again.
    """
    if stored.is_file():
        with np.load(stored) as file:
            return np.asarray(file["images"], np.uint8)
    images: list[Image] = []
    for clip in track(clips, description="inputs", transient=True):
        sent = [m for m in recordings.messages(clip) if isinstance(m, Frame)]
        for at in np.unique(np.linspace(0, len(sent) - 1, per_clip + 1).round().astype(int)):
            step = list(steps(_before(sent, int(at), description), description))[-1]
            if step.image is not None:
                images.append(step.image)
    result = np.stack(images)
    part = stored.with_suffix(".part.npz")
    np.savez(part, images=result)
    part.replace(stored)
    return result


def _before(sent: Sequence[Frame], at: int, description: Input) -> Sequence[Frame]:
    """The frame and those before it that its input needs."""
    reach = max(description.distances_ms, default=0) + description.tolerance_ms
    since = sent[at].captured_at - reach * 1e6
    first = at
    while first > 0 and (sent[first].captured_at > since or sent[first].encoding == "unchanged"):
        first -= 1
    return sent[first : at + 1]


def distil(
    teacher: MobileNetV2,
    data: Images,
    taught: npt.NDArray[np.float16],
    description: Input,
    recipe: DistilRecipe,
    seed: int,
    checkpoint: Path,
    on_step: Callable[[int, float], None] | None = None,
) -> MobileNetV2:
    """Train the student; goes on from `checkpoint` if a run was killed.

    `data` (N, S, S, 3) are network inputs, `taught` (N, 1280) the teacher's vectors of them.
    `on_step` is told the step and the mean squared error, in deviations of the teacher's vectors.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = MobileNetV2(padding=teacher.padding)
    student.load_state_dict(
        {n: v for n, v in teacher.state_dict().items() if n.startswith("features.")}
    )
    # The teacher's batch norm is folded (mean 0, variance 1): its weights learn, its statistics
    # stay, hence eval() throughout.
    student.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    wanted = torch.from_numpy(taught.astype(np.float32))
    mean, scale = wanted.mean(0).to(device), (wanted.std(0) + 0.05).to(device)
    parameters = list(student.parameters())
    # Sizes of tensors differ a hundredfold where batch norm was folded in: each has its own rate.
    groups = [{"params": [p], "size": float(p.detach().square().mean().sqrt())} for p in parameters]
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    begin = 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        begin = int(saved["step"])
        student.load_state_dict(saved["student"])
        optimiser.load_state_dict(saved["optimiser"])
    for step in track(range(begin, recipe.steps), description="distil", transient=True):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * max(group["size"], 1e-2) * _shape(step / recipe.steps)
        random = np.random.default_rng([seed, step])  # a resumed run draws what it would have
        rows = random.choice(len(data), min(recipe.batch, len(data)), replace=False)
        images = _disturbed(data[rows], random, recipe)
        x = normalised(torch.from_numpy(images).to(device), description)
        found = (student(x.contiguous(memory_format=torch.channels_last)) - mean) / scale
        match = F.mse_loss(found, (wanted[rows].to(device) - mean) / scale)
        optimiser.zero_grad()
        match.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        if on_step is not None:
            on_step(step + 1, float(match.detach()))
        if (step + 1) % 50 == 0 or step + 1 == recipe.steps:
            _save(checkpoint, step + 1, student, optimiser)
    return student.cpu().eval()


def finished(teacher: MobileNetV2, recipe: DistilRecipe, checkpoint: Path) -> MobileNetV2 | None:
    """The student of a run that came to its end; None if there is none yet."""
    if not checkpoint.is_file():
        return None
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if int(saved["step"]) < recipe.steps:
        return None
    student = MobileNetV2(padding=teacher.padding)
    student.load_state_dict(saved["student"])
    return student.eval()


def changes(teacher: MobileNetV2, student: MobileNetV2) -> dict[str, float]:
    """How far each convolution moved: norm of the change over the teacher's norm."""
    before = dict(teacher.named_parameters())
    return {
        name: float(((after - before[name]).norm() / before[name].norm()).detach())
        for name, after in student.named_parameters()
        if after.ndim == 4
    }


def normalised(images: Tensor, description: Input) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W), as the extractor does it."""
    mean = torch.tensor(description.mean, device=images.device)
    scale = torch.tensor(description.scale, device=images.device)
    return ((images.float() - mean) / scale).permute(0, 3, 1, 2)


def _disturbed(
    images: npt.NDArray[np.uint8], random: np.random.Generator, recipe: DistilRecipe
) -> npt.NDArray[np.uint8]:
    gain = random.uniform(1 - recipe.gain, 1 + recipe.gain, (len(images), 1, 1, 1))
    noise = random.normal(0, 1, images.shape).astype(np.float32)
    level = random.uniform(0, recipe.noise, (len(images), 1, 1, 1))
    return np.clip(images * gain + noise * level, 0, 255).astype(np.uint8)


def _shape(done: float) -> float:
    """Learning rate over the run: a tenth of it to warm up, then half a cosine."""
    return min(done / 0.1 + 0.01, 1.0) * 0.5 * (1 + math.cos(math.pi * done))


def _save(path: Path, step: int, student: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    part = path.with_suffix(".part")
    torch.save(
        {
            "step": step,
            "student": student.state_dict(),
            "optimiser": optimiser.state_dict(),
        },
        part,
    )
    part.replace(path)
