"""A model as a file: what was sent, under its name, or no file at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from mlapi.training.v1.model_service_pb2 import ExportModelRequest
from mlapi_client import Client, DataLoss, InvalidArgument, NotFound
from mlapi_client.cli import main

from tests.unit.client.fake_api import EXPORTED, FakeApi, status


@pytest.mark.parametrize(
    ("name", "asked", "sent"),
    [
        ("m.onnx", None, ExportModelRequest.ONNX),
        ("m.SafeTensors", None, ExportModelRequest.SAFETENSORS),
        ("m.onnx", "safetensors", ExportModelRequest.SAFETENSORS),
    ],
)
def test_a_file_of_the_format(
    api: FakeApi, client: Client, tmp_path: Path, *, name: str, asked: str | None, sent: int
) -> None:
    api.failures["ExportModel"] = [status("UNAVAILABLE", retry_after=0.01)]
    path = client.models.export("m", str(tmp_path / name), asked)
    assert path.read_bytes() == b"".join(EXPORTED)
    assert [request.format for request in api.calls["ExportModel"]] == [sent, sent]
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_format_is_not_sent(api: FakeApi, client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="onnx or safetensors, got 'pmml'"):
        client.models.export("m", tmp_path / "m.pmml")
    assert not api.calls["ExportModel"]


def test_nothing_is_left_of_what_failed(api: FakeApi, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("earlier")
    api.failures["ExportModel"] = [status("NOT_FOUND")]
    with pytest.raises(NotFound):
        client.models.export("m", path)
    api.stored_sha256 = "another"
    with pytest.raises(DataLoss):
        client.models.export("m", path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["earlier"]


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ([], "m.onnx"),
        (["--format", "safetensors"], "m.safetensors"),
        (["-o", "a.safetensors"], "a.safetensors"),
    ],
)
def test_the_command(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, arguments: list[str], file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["models", "export", "m", *arguments]
    result = CliRunner().invoke(main, command, env={"MLAPI_ADDRESS": api.address})
    assert (result.exit_code, result.stdout) == (0, f"Wrote {file}, 13 bytes.\n")
    assert Path(file).read_bytes() == b"".join(EXPORTED)
    (request,) = api.calls["ExportModel"]
    assert ExportModelRequest.Format.Name(request.format).lower() == Path(file).suffix[1:]


def test_a_folder_that_is_not_there(api: FakeApi, tmp_path: Path) -> None:
    arguments = ["models", "export", "m", "-o", str(tmp_path / "none" / "m.onnx")]
    result = CliRunner().invoke(main, arguments, env={"MLAPI_ADDRESS": api.address})
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
