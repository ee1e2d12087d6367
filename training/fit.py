"""Training of the temporal network on windows of cached vectors.

Adam with decoupled weight decay, cross-entropy weighted so that within each origin of the footage
every label counts alike, and every clip of a label alike, inputs standardised with the training
windows' statistics, gradients clipped. With validation windows the epoch of least validation loss
is kept (EVALUATION 6).

The variant `pooled` is the mean of two heads in one network: `1 - share` of the linear head on
statistics (`training/pooled.py`), made as sure as held-out groups allow, and `share` of the LSTMs,
which learn alone. With validation windows the share of least loss on them is taken, 0 among them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.network import ResidualAttentionLSTM, build
from training import pooled
from training.heads import statistics
from training.subspace import directions, narrow, project, widen
from training.weights import drawn_rows, window_weights

Vectors = npt.NDArray[np.float16]
Probabilities = npt.NDArray[np.float32]
Validation = tuple[Vectors, npt.NDArray[np.intp], npt.NDArray[np.float32]]
"""Windows (W, T, D), targets (W,) and weights (W,) that choose the epoch."""

_DRAWS = 4
"""Of windows, that the branch of statistics is the mean of: it moves less with the seed."""
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Of the LSTMs beside the branch of statistics, that validation chooses from."""


class HeadRecipe(BaseModel):
    """How a temporal network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str = "residual_attention"
    epochs: int = Field(15, ge=1)
    patience: int = Field(5, ge=1, description="epochs without a better validation loss")
    per_clip: int = Field(6, ge=1, description="windows of a clip in one epoch, at most")
    batch: int = Field(64, ge=1)
    rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    subspace: int = Field(
        0, ge=0, description="directions that the first layer is sought among; 0: in all"
    )
    strength: float = Field(2e-3, gt=0, description="1 / penalty of the branch of statistics")
    share: float = Field(0.25, ge=0, le=1, description="of the LSTMs beside that branch")
    real_weight: float = Field(1.0, gt=0, description="of filmed clips beside drawn ones")


def fit(
    vectors: Vectors,
    targets: npt.NDArray[np.intp],
    clips: npt.NDArray[np.intp],
    labels: int,
    recipe: HeadRecipe,
    seed: int,
    validation: Validation | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    groups: npt.NDArray[np.intp] | None = None,
    filmed: npt.NDArray[np.bool_] | None = None,
) -> nn.Module:
    """Train one network; (W, T, D) vectors, (W,) targets in 0..labels-1, (W,) clips they are of.

    `groups` (W,) are the clips' groups, each clip its own if absent; the variant `pooled` asks.
    `filmed` (W,) tells the origins that are weighed apart (`window_weights`).
    An epoch sees at most `per_clip` windows of each label of each clip, drawn anew: neighbouring
    windows share most of their steps, so that seeing all of them costs much and teaches little.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build(recipe.variant, labels, vectors.shape[2], vectors.shape[1])
    _standardise(network, vectors)
    learner, x, basis = network, torch.from_numpy(vectors), None
    if recipe.subspace and recipe.subspace < vectors.shape[2]:
        basis = directions(network, vectors, recipe.subspace)
        x = project(network, vectors, basis)
        learner = narrow(recipe.variant, labels, recipe.subspace, vectors.shape[1])
    for part in (network, learner):
        _set_dropout(part, recipe.dropout)
        _silence_branch(part)
        part.to(device)
    y = torch.from_numpy(targets.astype(np.int64))
    optimiser = torch.optim.AdamW(
        (p for p in learner.parameters() if p.requires_grad),
        lr=recipe.rate,
        weight_decay=recipe.weight_decay,
    )
    random = np.random.default_rng(seed)
    batches = math.ceil(len(drawn_rows(targets, clips, recipe.per_clip, random)) / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=recipe.epochs * batches, pct_start=0.2
    )
    best, best_state, waited = math.inf, None, 0
    weigh = partial(_weights, targets, clips, filmed, labels, recipe)
    for epoch in range(recipe.epochs):
        learner.train()
        total = 0.0
        chosen = drawn_rows(targets, clips, recipe.per_clip, random)
        w = torch.from_numpy(weigh(chosen))
        for rows in torch.split(torch.from_numpy(chosen), recipe.batch):
            logits = learner(x[rows].float().to(device))[0]
            loss = _loss(logits, y[rows].to(device), w[rows].to(device), recipe.label_smoothing)
            _step(loss, optimiser)
            schedule.step()
            total += float(loss.detach()) * len(rows)
        record = {"epoch": epoch + 1, "loss": total / len(chosen)}
        if basis is not None and (validation is not None or epoch + 1 == recipe.epochs):
            widen(learner, network, basis)
        if validation is not None:
            record["validation_loss"] = _validate(network, validation)
            if record["validation_loss"] < best:
                best, waited = record["validation_loss"], 0
                best_state = copy.deepcopy(network.state_dict())
            else:
                waited += 1
        if on_epoch is not None:
            on_epoch(record)
        if waited >= recipe.patience:
            break
    if best_state is not None:
        network.load_state_dict(best_state)
    if isinstance(network, ResidualAttentionLSTM) and network.pooled is not None:
        draws = [weigh(drawn_rows(targets, clips, recipe.per_clip, random)) for _ in range(_DRAWS)]
        draws = [weights * np.float32(len(np.unique(clips)) / weights.sum()) for weights in draws]
        _join_branch(network, vectors, targets, draws, clips if groups is None else groups,
                     recipe, seed, validation)  # fmt: skip
    return network.cpu().eval()


@torch.inference_mode()
def predict(network: nn.Module, vectors: Vectors, batch: int = 256) -> Probabilities:
    """(W, T, D) vectors to (W, L) probabilities."""
    parts = [
        torch.softmax(network(torch.from_numpy(vectors[i : i + batch]).float())[0], dim=1)
        for i in range(0, len(vectors), batch)
    ]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def _step(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
    optimiser.step()


def _loss(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    return (losses * weights).mean()


@torch.inference_mode()
def _validate(
    network: nn.Module,
    validation: Validation,
) -> float:
    vectors, targets, weights = validation
    device = next(network.parameters()).device
    network.eval()
    total = 0.0
    for i in range(0, len(vectors), 256):
        logits = network(torch.from_numpy(vectors[i : i + 256]).float().to(device))[0]
        losses = F.cross_entropy(
            logits, torch.from_numpy(targets[i : i + 256].astype(np.int64)).to(device),
            reduction="none",
        )  # fmt: skip
        total += float((losses * torch.from_numpy(weights[i : i + 256]).to(device)).sum())
    return total / len(vectors)


def _silence_branch(network: nn.Module) -> None:
    """The branch of statistics says nothing and does not learn: the LSTMs learn alone."""
    if isinstance(network, ResidualAttentionLSTM) and network.pooled is not None:
        for parameter in network.pooled.requires_grad_(False).parameters():
            nn.init.zeros_(parameter)


def _weights(
    targets: npt.NDArray[np.intp],
    clips: npt.NDArray[np.intp],
    filmed: npt.NDArray[np.bool_] | None,
    labels: int,
    recipe: HeadRecipe,
    rows: npt.NDArray[np.intp],
) -> npt.NDArray[np.float32]:
    """(W,) weights of the chosen rows, 0 for all others."""
    chosen = None if filmed is None else filmed[rows]
    result = np.zeros(len(targets), np.float32)
    result[rows] = window_weights(targets[rows], clips[rows], labels, chosen, recipe.real_weight)
    return result


def _join_branch(
    network: ResidualAttentionLSTM,
    vectors: Vectors,
    targets: npt.NDArray[np.intp],
    draws: Sequence[npt.NDArray[np.float32]],
    groups: npt.NDArray[np.intp],
    recipe: HeadRecipe,
    seed: int,
    validation: Validation | None,
) -> None:
    """Fit the branch of statistics, and give it and the LSTMs their shares of the answer.

    The branch is the mean of one fit for each (W,) weights in `draws`.
    """
    labels = network.label.out_features
    network.cpu()
    x = _statistics(network, vectors)
    others = pooled.out_of_fold(x, targets, draws[0], groups, labels, recipe.strength, seed)
    factor = pooled.sureness(others, targets, draws[0])
    found = [pooled.first_guess(x, targets, weights, labels, recipe.strength) for weights in draws]
    guess = pooled.mean(found).times(factor)
    alone = [parameter.detach().clone() for parameter in network.label.parameters()]

    @torch.no_grad()
    def give(share: float) -> None:
        branch = network.pooled
        assert branch is not None
        branch.weight.copy_(torch.from_numpy(guess.weight) * (1 - share))
        branch.bias.copy_(torch.from_numpy(guess.bias) * (1 - share))
        for parameter, value in zip(network.label.parameters(), alone, strict=True):
            parameter.copy_(value * share)

    def loss(share: float) -> float:
        assert validation is not None
        give(share)
        return _validate(network, validation)

    give(recipe.share if validation is None else min(_SHARES, key=loss))


def _statistics(network: ResidualAttentionLSTM, vectors: Vectors) -> npt.NDArray[np.float32]:
    """(W, T, D) to (W, 3 D) as the network's branch reads them."""
    x = np.concatenate([statistics(vectors[i : i + 256]) for i in range(0, len(vectors), 256)])
    x[:, : vectors.shape[2]] -= network.mean.numpy()
    x /= np.tile(network.scale.numpy(), 3)
    return x


def _set_dropout(network: nn.Module, share: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def _standardise(network: nn.Module, vectors: Vectors) -> None:
    """Set the buffers `mean` and `scale` where the network has them."""
    if not hasattr(network, "mean"):
        return
    flat = vectors.reshape(-1, vectors.shape[2])
    count = max(len(flat) // 100_000, 1)  # every n-th is plenty for means
    sample = flat[::count].astype(np.float32)
    network.mean.copy_(torch.from_numpy(sample.mean(0)))  # type: ignore[operator]
    network.scale.copy_(torch.from_numpy(sample.std(0) + 1e-2))  # type: ignore[operator]
