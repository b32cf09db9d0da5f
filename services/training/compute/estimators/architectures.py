"""The network of a layout."""

from __future__ import annotations

from services.training.compute.backend import Backend
from services.training.compute.estimators.inputs import Codes
from services.training.compute.estimators.layout import Layout
from services.training.compute.estimators.network import Network, TrainableNetwork
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.estimators.tab_m import TabM, TrainableTabM
from services.training.compute.kernels.launch import Array


def network(
    layout: Layout, parameters: Array, backend: Backend, rows: int, owners: Codes | None = None
) -> Network | TabM:
    """It runs forward; see `Network`."""
    arguments = (parameters, backend, rows, owners)
    return TabM(layout, *arguments) if isinstance(layout, SharedLayout) else Network(layout, *arguments)


def trainable(  # noqa: PLR0917 (a network, and the room of its gradients)
    layout: Layout, parameters: Array, backend: Backend, rows: int, owners: Codes, gradients: Array
) -> TrainableNetwork | TrainableTabM:
    """It runs backward too; see `TrainableNetwork`."""
    arguments = (parameters, backend, rows, owners)
    if isinstance(layout, SharedLayout):
        return TrainableTabM(layout, *arguments, gradients=gradients)
    return TrainableNetwork(layout, *arguments, gradients=gradients)
