"""Keys: where they come from, and that a wrong one is refused without being shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ai_gateway.settings import AiGatewaySettings
from services.chassis.settings import load

CANARY = "sk-canary-7f3a"


def test_a_key_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(f"{CANARY}\n")
    monkeypatch.setenv("OPENAI_API_KEY", f"{CANARY}, other")
    monkeypatch.setenv("GEMINI_API_KEY_FILE", str(secret))
    monkeypatch.setenv("XAI_API_KEY", "")
    monkeypatch.setenv("XAI_API_KEY_FILE", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    found = load(AiGatewaySettings)
    assert found.keys() == {"openai": [CANARY, "other"]}
    assert found.key_files() == {"gemini": secret}
    assert found.base_url("openai") == "http://127.0.0.1:9/v1"
    assert CANARY not in repr(found)


@pytest.mark.parametrize(
    ("variables", "complaints"),
    [
        ({"OPENAI_API_KEY": "aws-sm://"}, ["OPENAI_API_KEY: ", "aws-sm://NAME"]),
        ({"XAI_API_KEY_FILE": "KEY.reference"}, ["XAI_API_KEY_FILE: ", "the variable itself"]),
        ({"XAI_API_KEY": f"{CANARY}\n{CANARY}"}, ["XAI_API_KEY: ", "one line"]),
        ({"XAI_API_KEY_FILE": "/nowhere/key"}, ["XAI_API_KEY_FILE: ", "No such file"]),
        ({"OPENAI_API_KEY": CANARY, "OPENAI_API_KEY_FILE": "KEY"}, ["both set"]),
        ({"GEMINI_BASE_URL": "ftp://x"}, ["GEMINI_BASE_URL: ", "https://"]),
        (
            {"OPENAI_API_KEY": f"azure-kv://{CANARY}", "GEMINI_API_KEY": f"gcp-sm://{CANARY}"},
            ["OPENAI_API_KEY: ", "GEMINI_API_KEY: "],
        ),
    ],
)
def test_what_is_wrong_is_named_and_no_key_is_shown(
    variables: dict[str, str],
    complaints: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = tmp_path / "key"
    secret.write_text(CANARY)
    secret.with_name("key.reference").write_text(f"aws-sm://{CANARY}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("KEY", str(secret)) if name.endswith("FILE") else value)
    with pytest.raises(SystemExit):
        load(AiGatewaySettings)
    said = capsys.readouterr().err
    assert all(complaint in said for complaint in complaints)
    assert CANARY not in said
