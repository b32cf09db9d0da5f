"""PyTorch: eager with fused AdamW, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.compute.cases import BATCH, LEARNING_RATE, WEIGHT_DECAY, Case
from bench.compute.turns import Turns


def eager(case: Case, x: Any, y: Any, turns: Turns) -> None:
    """One call after the other, as most people write it."""
    _train(case, x, y, turns, lambda loss: loss)


def compiled(case: Case, x: Any, y: Any, turns: Turns) -> None:
    """Network and loss through `torch.compile`, backward included."""
    _train(case, x, y, turns, torch.compile)


def _train(case: Case, x: Any, y: Any, turns: Turns, made: Callable[[Any], Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = _network(case)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    loss_of = made(lambda inputs, labels: nn.functional.cross_entropy(network(inputs), labels))
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    while True:
        order = torch.randperm(case.rows)
        for start in range(0, case.rows, BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad(set_to_none=True)
            loss_of(x[rows], y[rows]).backward()
            optimizer.step()
        turns.epoch_done()


def _network(case: Case) -> nn.Module:
    parts: list[nn.Module] = []
    for above, below in zip(case.layers, case.layers[1:], strict=False):
        parts += [nn.Linear(above, below), nn.ReLU()]
    return nn.Sequential(*parts[:-1])
