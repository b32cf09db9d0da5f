"""Certificates of the services: what is refused at the start, and what is read again later."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.dev_ca import SERVER_NAME, certificates, write
from gateway.settings import EdgeSettings
from services.chassis.changes import LOOK_SECONDS
from services.chassis.settings import ServiceSettings
from services.chassis.tls import TlsFiles, Watched


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    return {name.lower(): path for name, path in certificates(tmp_path).items()}


def files(given: dict[str, str]) -> TlsFiles:
    found = ServiceSettings.model_validate(given).tls
    assert found
    return found


def refused(kind: type[ServiceSettings], **values: str) -> str:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(values)
    return str(caught.value)


def test_what_belongs_together_is_taken(given: dict[str, str]) -> None:
    assert files(given).name == SERVER_NAME
    assert ServiceSettings.model_validate({}).tls is None
    assert EdgeSettings.model_validate(given).edge_tls_key_file == Path(given["edge_tls_key_file"])


def test_half_of_it_or_what_does_not_belong_together_is_refused(
    given: dict[str, str], tmp_path: Path
) -> None:
    for left_out in ("tls_cert_file", "tls_key_file", "tls_ca_file"):
        rest = {name: path for name, path in given.items() if name != left_out}
        assert "go together" in refused(ServiceSettings, **rest)
    for left_out in ("edge_tls_cert_file", "edge_tls_key_file"):
        assert "go together" in refused(EdgeSettings, **{n: p for n, p in given.items() if n != left_out})
    mixed = {**given, "tls_key_file": given["edge_tls_key_file"]}
    assert "no pair of one with its key" in refused(ServiceSettings, **mixed)
    assert "cannot be read" in refused(ServiceSettings, **{**given, "tls_ca_file": str(tmp_path / "none")})
    Path(given["tls_cert_file"]).write_text("not a certificate")
    assert "no certificates" in refused(ServiceSettings, **given)


def test_a_change_is_noticed_when_it_is_whole(given: dict[str, str], tmp_path: Path) -> None:
    clock = [0.0]
    watched = Watched(files(given), lambda: clock[0])

    def changed() -> bool:
        clock[0] += LOOK_SECONDS
        return watched.changed()

    assert not changed()
    key = (tmp_path / "service.key").read_bytes()
    write(tmp_path)
    assert not watched.changed()  # not looked at that often
    new_key = (tmp_path / "service.key").read_bytes()
    (tmp_path / "service.key").write_bytes(key)
    assert not changed()  # half-way: the key is another certificate's
    (tmp_path / "service.key").write_bytes(new_key)
    assert changed()
    assert not changed()
    os.remove(tmp_path / "ca.crt")
    assert not changed()
    write(tmp_path)  # of a new CA
    assert changed()


def test_certificates_are_kept_while_they_are_good(given: dict[str, str], tmp_path: Path) -> None:
    before = (tmp_path / "edge.crt").read_bytes()
    certificates(tmp_path)
    assert (tmp_path / "edge.crt").read_bytes() == before
    assert (tmp_path / "edge.key").stat().st_mode & 0o077 == 0
