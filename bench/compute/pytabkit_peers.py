"""pytabkit, the reference implementation of RealMLP, at its defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pytabkit import RealMLP_TD_Classifier
from pytabkit.models.training.lightning_modules import TabNNModule

from bench.compute.cases import BATCH, Case
from bench.compute.turns import Turns


def real_mlp(case: Case, x: Any, y: Any, turns: Turns) -> None:
    """Trained by Lightning, of whose epochs the module's last hook tells."""
    torch.set_num_threads(1)
    scored = TabNNModule.on_validation_epoch_end

    def told(module: Any) -> None:
        scored(module)
        turns.epoch_done()

    TabNNModule.on_validation_epoch_end = told
    places = {"n_threads": 1, "device": "cpu", "random_state": 0, "n_epochs": 100_000}
    network = RealMLP_TD_Classifier(batch_size=BATCH, hidden_sizes=list(case.hidden), **places)
    network.fit(x, y, val_idxs=np.arange(case.rows, case.rows + case.validation))
