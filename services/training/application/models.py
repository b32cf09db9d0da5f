"""Get, list, delete, explain and predict with models."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock

from services.chassis.clock import Clock
from services.chassis.errors import FailedPrecondition, NotFound, invalid_fields
from services.training.application import idempotency, paging
from services.training.application.datasets import drop_unused_content
from services.training.application.ports import (
    Artifacts,
    InvalidRow,
    Learner,
    Outcome,
    Store,
    TrainedModel,
    Transaction,
)
from services.training.application.references import found_model
from services.training.application.registry import keep_model
from services.training.domain.job import Task
from services.training.domain.model import Explanation, Model

MOST_ROWS = 10_000
# Models kept ready to predict; restoring one costs a read of its weights.
MODELS_IN_MEMORY = 16


class Models:
    """The models of this installation."""

    def __init__(self, store: Store, artifacts: Artifacts, learner: Learner, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._learner = learner
        self._clock = clock
        self._ready: OrderedDict[str, TrainedModel] = OrderedDict()
        self._lock = Lock()

    def get(self, model_id: str) -> Model:
        """The model that `model_id` stands for, see `references`; raises NotFound."""
        with self._store.read() as tx:
            return found_model(tx, model_id)

    def page(self, size: int, token: str) -> tuple[list[Model], str]:
        """One page, newest first, and the token of the next."""
        page = paging.parse("models", size, token)
        with self._store.read() as tx:
            items = tx.models.page(paging.one_more(page))
        return paging.cut("models", page, items)

    def delete(self, model_id: str, request_id: str) -> None:
        """Raises NotFound, and FailedPrecondition while a version of a name points to it.

        The row goes first: a crash then leaves nameless weights, no broken model.
        """
        asked = idempotency.fingerprint(model_id)
        with self._store.write() as tx:
            if idempotency.earlier(tx, request_id, "DeleteModel", asked):
                return
            keep_model(tx, model_id)
            model = tx.models.get(model_id)
            if model is None:
                raise NotFound("model", model_id)
            _check_unused(tx, model_id)
            tx.models.delete(model_id)
            idempotency.remember(tx, request_id, "DeleteModel", asked, None, self._clock())
        with self._lock:
            self._ready.pop(model_id, None)
        self._artifacts.delete_model(model_id)
        drop_unused_content(self._store, self._artifacts, model.source.key)

    def predict(self, model_id: str, rows: Sequence[Mapping[str, object]]) -> tuple[Model, list[Outcome]]:
        """One outcome for each row; raises NotFound, and InvalidArgument naming the row and the column."""
        if len(rows) > MOST_ROWS:
            raise invalid_fields({"rows": f"at most {MOST_ROWS} at once, got {len(rows)}"})
        model = self.get(model_id)
        try:
            return model, self.trained(model.model_id).predict(rows)
        except InvalidRow as bad:
            raise invalid_fields({f"rows[{bad.row}].{bad.column}": bad.problem}) from None

    def explain(self, model_id: str) -> Explanation:
        """Raises NotFound, and FailedPrecondition for a model of which nothing was measured."""
        model = self.get(model_id)
        found = self.trained(model.model_id).explanation
        if found is None:
            raise FailedPrecondition("MODEL_NOT_EXPLAINED", _why_not(model), model_id=model_id)
        return found

    def trained(self, model_id: str) -> TrainedModel:
        """The model ready to be used; raises NotFound."""
        with self._lock:
            if model_id in self._ready:
                self._ready.move_to_end(model_id)
                return self._ready[model_id]
        try:
            trained = self._learner.restore(model_id)
        except FileNotFoundError:  # deleted since it was looked up
            raise NotFound("model", model_id) from None
        with self._lock:
            self._ready[model_id] = trained
            while len(self._ready) > MODELS_IN_MEMORY:
                self._ready.popitem(last=False)
        return trained


def _check_unused(tx: Transaction, model_id: str) -> None:
    names = ", ".join(f"{name}@{one.version}" for name, one in tx.registry.pointing_to(model_id))
    if names:
        message = f"The model {model_id!r} is {names}; delete that version first."
        raise FailedPrecondition("MODEL_IN_USE", message, model_id=model_id, versions=names)


def _why_not(model: Model) -> str:
    if model.task is Task.CLUSTERING:
        return "A model of clusters has no error that could be explained."
    return "An earlier release trained this model, or it reads too many columns: train it anew, or on fewer."
