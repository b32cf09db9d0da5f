"""Tokens of an identity provider: who is let in by them, and who is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from mlapi_client import key_file as writer
from pydantic import ValidationError

from services.chassis.auth import Door
from services.chassis.errors import PermissionDenied, Unauthenticated
from services.chassis.key_file import KeyFile
from services.chassis.scopes import Scope
from services.chassis.settings import ServiceSettings, TokenSettings
from services.chassis.tokens import Tokens

GET, CREATE = "/mlapi.training.v1.JobService/GetJob", "/mlapi.training.v1.JobService/CreateJob"
NOW = 1_800_000_000.0
CLAIMS = {
    "iss": "https://id.example",
    "aud": "mlapi",
    "sub": "ada",
    "exp": NOW + 60,
    "tenant": "team-a",
    "scope": "openid training:read",
}


class Provider:
    """Signs tokens, and publishes its keys."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "jwks.json"
        self.now = NOW
        self.rotate("first")

    def rotate(self, name: str) -> None:
        self.name, self._key = name, ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.file.write_text(json.dumps({"keys": [{**public, "kid": name, "alg": "ES256"}]}))

    def token(self, **changes: Any) -> str:
        claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
        return jwt.encode(claims, self._key, "ES256", headers={"kid": self.name})

    def tokens(self) -> Tokens:
        settings = TokenSettings(self.file, "https://id.example", "mlapi", "tenant")
        return Tokens(settings, lambda: self.now, lambda: self.now)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path)


def refusal(tokens: Tokens, text: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        tokens.caller(text)
    assert text not in refused.value.message
    return refused.value.message


def test_a_token_says_whose_it_is_and_what_for(provider: Provider) -> None:
    tokens = provider.tokens()
    caller = tokens.caller(provider.token())
    assert (caller.tenant, caller.key, caller.scopes) == ("team-a", "ada", {Scope.TRAINING_READ})
    assert tokens.caller(provider.token()) == caller
    other = tokens.caller(provider.token(sub="auth0|größe", scope="training:write other:thing"))
    assert (len(other.key), other.scopes) == (12, {Scope.TRAINING_WRITE})
    assert tokens.caller(provider.token(scope=None)).scopes == frozenset()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://other.example"}, "InvalidIssuerError"),
        ({"aud": "other"}, "InvalidAudienceError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"sub": None}, "MissingRequiredClaimError"),
        ({"exp": NOW - 1}, "has expired"),
        ({"exp": "tomorrow"}, "no time"),
        ({"tenant": None}, "names no tenant"),
        ({"tenant": "../b"}, "names no tenant"),
    ],
)
def test_what_is_not_for_us_is_refused(provider: Provider, changes: dict[str, Any], why: str) -> None:
    assert why in refusal(provider.tokens(), provider.token(**changes))


def test_nobody_but_the_provider_can_sign(provider: Provider) -> None:
    tokens, good = provider.tokens(), provider.token()
    head, body, signature = good.split(".")
    assert refusal(tokens, f"{head}.{body}.{signature[::-1]}")
    assert refusal(tokens, jwt.encode(CLAIMS, "guessed" * 8, "HS256", headers={"kid": "first"}))
    assert refusal(tokens, jwt.encode(CLAIMS, None, "none", headers={"kid": "first"}))  # type: ignore[arg-type]
    stranger = jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "x"})
    assert "a key that is not known" in refusal(tokens, stranger)
    assert "too long" in refusal(tokens, provider.token(more="x" * 9000))


def test_it_ends_when_it_says_also_when_it_was_good_before(provider: Provider) -> None:
    tokens, text = provider.tokens(), provider.token()
    tokens.caller(text)
    provider.now += 61
    assert "has expired" in refusal(tokens, text)


def test_keys_that_are_replaced_take_what_they_signed_along(provider: Provider) -> None:
    tokens, old = provider.tokens(), provider.token()
    tokens.caller(old)
    provider.rotate("second")
    provider.now += 1
    assert "a key that is not known" in refusal(tokens, old)
    tokens.caller(provider.token())
    provider.file.write_text("{")
    provider.now += 1
    tokens.caller(provider.token())  # the last keys stay in force


def test_the_door_takes_keys_and_tokens(provider: Provider, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = writer.create(keys, "team-b", ["training:read"])[1]
    door = Door(KeyFile(keys), lambda: NOW, provider.tokens())
    for text, tenant in ((key, "team-b"), (provider.token(), "team-a")):
        caller = door.admit(GET, {"authorization": f"Bearer {text}"})
        assert caller
        assert caller.tenant == tenant
        with pytest.raises(PermissionDenied):
            door.admit(CREATE, {"authorization": f"Bearer {text}"})
    with pytest.raises(Unauthenticated):
        Door(KeyFile(keys)).admit(GET, {"authorization": f"Bearer {provider.token()}"})


def test_settings_go_together(provider: Provider, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    writer.create(keys, "team-b", ["training:read"])
    base = {"auth_mode": "keys", "api_keys_file": str(keys)}
    whole = {"auth_jwks_file": str(provider.file), "auth_issuer": "i", "auth_audience": "a"}
    assert ServiceSettings.model_validate({**base, **whole}).tokens
    assert ServiceSettings.model_validate(base).tokens is None
    for left_out in whole:
        rest = {name: value for name, value in whole.items() if name != left_out}
        with pytest.raises(ValidationError, match="go together"):
            ServiceSettings.model_validate({**base, **rest})
    with pytest.raises(ValidationError, match="AUTH_MODE=keys"):
        ServiceSettings.model_validate(whole)
    provider.file.write_text('{"keys": []}')
    with pytest.raises(ValidationError, match="no JSON Web Key Set"):
        ServiceSettings.model_validate({**base, **whole})
