"""Models under one name: versions that are numbered once, and aliases that point to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.training.domain.tenants import DEFAULT_TENANT, scoped


class NoSuchVersion(Exception):
    """There is no version of that number."""


class AliasElsewhere(Exception):
    """The alias does not point to where the caller thinks; `version` is where it does, 0 for nowhere."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


class VersionAliased(Exception):
    """Aliases point to the version: `aliases`."""

    def __init__(self, aliases: tuple[str, ...]) -> None:
        super().__init__(aliases)
        self.aliases = aliases


@dataclass(frozen=True)
class ModelVersion:
    """A model under a name. enhancement_id: whose report speaks for it; empty for none."""

    version: int
    model_id: str
    create_time: datetime
    enhancement_id: str = ""
    comment: str = ""


@dataclass(frozen=True)
class RegisteredModel:
    """A name.

    versions: oldest first, each model once. aliases: to versions that are there.
    last_version: the newest number that was given; it is not given again when that version is deleted.
    """

    name: str
    create_time: datetime
    update_time: datetime
    tenant: str = DEFAULT_TENANT
    versions: tuple[ModelVersion, ...] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)
    last_version: int = 0

    @property
    def key(self) -> str:
        """What tells it from another tenant's models of the same name."""
        return scoped(self.tenant, self.name)

    def numbered(self, version: int) -> ModelVersion | None:
        """The version of that number."""
        return next((one for one in self.versions if one.version == version), None)

    def version_of(self, model_id: str) -> ModelVersion | None:
        """The version that points to that model."""
        return next((one for one in self.versions if one.model_id == model_id), None)

    def called(self, label: str) -> ModelVersion | None:
        """The version that an alias, or a number as text, stands for."""
        if label.isascii() and label.isdigit():
            return self.numbered(int(label)) if len(label) < 10 else None
        return self.numbered(self.aliases.get(label, 0))

    def registered(
        self,
        model_id: str,
        now: datetime,
        aliases: Iterable[str] = (),
        *,
        enhancement_id: str = "",
        comment: str = "",
    ) -> RegisteredModel:
        """With the model as its next version, unless it is one, and `aliases` moved to it."""
        found, versions, last = self.version_of(model_id), self.versions, self.last_version
        if found is None:
            last += 1
            found = ModelVersion(last, model_id, now, enhancement_id, comment)
            versions = (*versions, found)
        moved = {**self.aliases, **dict.fromkeys(aliases, found.version)}
        return replace(self, versions=versions, last_version=last, aliases=moved, update_time=now)

    def pointed(
        self, alias: str, version: int, now: datetime, expected: int | None = None
    ) -> RegisteredModel:
        """With `alias` at `version`, or without it for 0.

        expected: where it has to be before, 0 for nowhere. Raises AliasElsewhere, NoSuchVersion.
        """
        current = self.aliases.get(alias, 0)
        if expected is not None and expected != current:
            raise AliasElsewhere(current)
        if version and self.numbered(version) is None:
            raise NoSuchVersion
        kept = {name: number for name, number in self.aliases.items() if name != alias}
        return replace(self, aliases=kept | ({alias: version} if version else {}), update_time=now)

    def without(self, version: int, now: datetime) -> RegisteredModel:
        """Without that version; raises NoSuchVersion, VersionAliased."""
        if self.numbered(version) is None:
            raise NoSuchVersion
        if aliases := tuple(sorted(name for name, number in self.aliases.items() if number == version)):
            raise VersionAliased(aliases)
        left = tuple(one for one in self.versions if one.version != version)
        return replace(self, versions=left, update_time=now)
