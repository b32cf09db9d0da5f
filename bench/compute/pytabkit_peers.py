"""pytabkit, the reference implementation of RealMLP and TabM, at its defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pytabkit import RealMLP_TD_Classifier, TabM_D_Classifier
from pytabkit.models.alg_interfaces import tabm_interface
from pytabkit.models.training.lightning_modules import TabNNModule

from bench.compute.cases import BATCH, Case
from bench.compute.turns import Turns

_RUN = {"batch_size": BATCH, "n_threads": 1, "device": "cpu", "random_state": 0, "n_epochs": 100_000}


def real_mlp(case: Case, x: Any, y: Any, turns: Turns) -> None:
    """Trained by Lightning, of whose epochs the module's last hook tells."""
    scored = TabNNModule.on_validation_epoch_end

    def told(module: Any) -> None:
        scored(module)
        turns.epoch_done()

    TabNNModule.on_validation_epoch_end = told
    _fit(RealMLP_TD_Classifier(hidden_sizes=list(case.hidden), **_RUN), case, x, y)


def tabm(case: Case, x: Any, y: Any, turns: Turns) -> None:
    """Trained by a loop of its own, which scores the validation rows once after every epoch."""

    class Told(tabm_interface.Metrics):
        @staticmethod
        def apply(*arguments: Any, **named: Any) -> Any:
            score = Told.__base__.apply(*arguments, **named)
            turns.epoch_done()
            return score

    tabm_interface.Metrics = Told
    network = TabM_D_Classifier(d_block=case.hidden[0], tabm_k=case.members, patience=100_000, **_RUN)
    _fit(network, case, x, y)


def _fit(network: Any, case: Case, x: Any, y: Any) -> None:
    torch.set_num_threads(1)
    network.fit(x, y, val_idxs=np.arange(case.rows, case.rows + case.validation))
