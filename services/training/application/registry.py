"""Register models under names, move aliases, get, list and delete them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.chassis.clock import Clock
from services.chassis.errors import Aborted, FailedPrecondition, NotFound, invalid_fields
from services.training.application import idempotency, paging
from services.training.application.ports import Store, Transaction
from services.training.domain.model import Model
from services.training.domain.registry import (
    AliasElsewhere,
    ModelVersion,
    NoSuchVersion,
    RegisteredModel,
    VersionAliased,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LONGEST_COMMENT = 1000
MOST_ALIASES = 20
LIST = "registered_models"


@dataclass(frozen=True)
class Registration:
    """What a caller asks for: a model as the next version of `name`, and aliases that move to it."""

    name: str
    model_id: str
    aliases: tuple[str, ...] = ()
    enhancement_id: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Registry:
    """Names of models. A name belongs to the tenant whose models it names."""

    store: Store
    clock: Clock

    def register(self, asked: Registration, request_id: str) -> tuple[str, ModelVersion]:
        """The name and the version; raises InvalidArgument naming the fields, NotFound and AlreadyExists."""
        _check(asked)
        print_ = idempotency.fingerprint(asked)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "RegisterModel", print_):
                return _version_of(idempotency.answer_of(replay, RegisteredModel), asked.model_id)
            now = self.clock()
            tx.alone(f"registered/{asked.name}")  # there may be no row yet that could be locked
            held = tx.registry.get(asked.name)
            keep_model(tx, asked.model_id)
            model = tx.models.get(asked.model_id)
            if model is None:
                raise NotFound("model", asked.model_id)
            named = held or RegisteredModel(asked.name, now, now, model.tenant)
            _check_owner(named, model)
            named = named.registered(
                asked.model_id,
                now,
                asked.aliases,
                enhancement_id=asked.enhancement_id,
                comment=asked.comment,
            )
            tx.registry.put(named)
            idempotency.remember(tx, request_id, "RegisterModel", print_, named, now)
        return _version_of(named, asked.model_id)

    def get(self, name: str) -> RegisteredModel:
        """Raises NotFound."""
        with self.store.read() as tx:
            return _found(tx.registry.get(name), name)

    def page(self, size: int, token: str) -> tuple[list[RegisteredModel], str]:
        """One page in alphabetical order, and the token of the next."""
        size, after = paging.parse_named(LIST, size, token)
        with self.store.read() as tx:
            items = tx.registry.page(after, size + 1)
        following = paging.name_token(LIST, items[size - 1].key) if len(items) > size else ""
        return items[:size], following

    def set_alias(
        self, name: str, alias: str, version: int, expected: int | None, request_id: str
    ) -> RegisteredModel:
        """Moves an alias, or removes it for version 0.

        expected: where it has to be, 0 for nowhere. Raises InvalidArgument, NotFound, and Aborted when it is
        elsewhere.
        """
        _check_alias("alias", alias)
        asked = idempotency.fingerprint(name, alias, version, expected)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "SetAlias", asked):
                return idempotency.answer_of(replay, RegisteredModel)
            now = self.clock()
            tx.alone(f"registered/{name}")
            try:
                named = _found(tx.registry.get(name), name).pointed(alias, version, now, expected)
            except NoSuchVersion:
                raise NotFound("model_version", f"{name}@{version}") from None
            except AliasElsewhere as error:
                where = f"points to version {error.version}" if error.version else "points to no version"
                message = f"The alias {alias!r} of {name!r} {where}."
                raise Aborted("ALIAS_MOVED", message, alias=alias, version=error.version) from None
            tx.registry.put(named)
            idempotency.remember(tx, request_id, "SetAlias", asked, named, now)
        return named

    def delete_version(self, name: str, version: int, request_id: str) -> None:
        """Raises NotFound, and FailedPrecondition while an alias points to it."""
        asked = idempotency.fingerprint(name, version)
        with self.store.write() as tx:
            if idempotency.earlier(tx, request_id, "DeleteModelVersion", asked):
                return
            now = self.clock()
            tx.alone(f"registered/{name}")
            try:
                named = _found(tx.registry.get(name), name).without(version, now)
            except NoSuchVersion:
                raise NotFound("model_version", f"{name}@{version}") from None
            except VersionAliased as error:
                message = f"Version {version} of {name!r} is {', '.join(error.aliases)}; move that first."
                raise FailedPrecondition(
                    "MODEL_VERSION_ALIASED", message, name=name, version=version
                ) from None
            tx.registry.put(named)
            idempotency.remember(tx, request_id, "DeleteModelVersion", asked, None, now)

    def delete(self, name: str, request_id: str) -> None:
        """Raises NotFound."""
        asked = idempotency.fingerprint(name)
        with self.store.write() as tx:
            if idempotency.earlier(tx, request_id, "DeleteRegisteredModel", asked):
                return
            tx.alone(f"registered/{name}")
            tx.registry.delete(_found(tx.registry.get(name), name))
            idempotency.remember(tx, request_id, "DeleteRegisteredModel", asked, None, self.clock())


def keep_model(tx: Transaction, model_id: str) -> None:
    """Until the transaction ends, no other one deletes the model, or has a version point to it."""
    tx.alone(f"model/{model_id}")


def _found(named: RegisteredModel | None, name: str) -> RegisteredModel:
    if named is None:
        raise NotFound("registered_model", name)
    return named


def _version_of(named: RegisteredModel, model_id: str) -> tuple[str, ModelVersion]:
    version = named.version_of(model_id)
    assert version is not None  # it was just registered
    return named.name, version


def _check(asked: Registration) -> None:
    problems = {}
    if not NAME.fullmatch(asked.name):
        rule = "has to be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        problems["name"] = f"{rule}, got {asked.name[:120]!r}"
    if len(asked.comment) > LONGEST_COMMENT:
        problems["comment"] = f"has to be at most {LONGEST_COMMENT} characters, got {len(asked.comment)}"
    if len(asked.aliases) > MOST_ALIASES:
        problems["aliases"] = f"at most {MOST_ALIASES} at once, got {len(asked.aliases)}"
    if problems:
        raise invalid_fields(problems)
    for number, alias in enumerate(asked.aliases):
        _check_alias(f"aliases[{number}]", alias)


def _check_alias(field: str, alias: str) -> None:
    """Digits are versions."""
    if not NAME.fullmatch(alias) or alias.isdigit():
        rule = "has to be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        raise invalid_fields({field: f"{rule}, and not only digits, got {alias[:120]!r}"})


def _check_owner(named: RegisteredModel, model: Model) -> None:
    """Whoever sees all tenants' things could else hand one tenant's model to another."""
    if named.tenant != model.tenant:
        raise invalid_fields({"model_id": "belongs to another tenant than the models of this name"})
