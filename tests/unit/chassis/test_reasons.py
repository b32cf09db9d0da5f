"""Every reason that the code gives is in the contract, with the gRPC code that the contract gives it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from mlapi.common.v1 import errors_pb2

from services.chassis import errors
from services.chassis.errors import AppError

ROOT = Path(__file__).resolve().parents[3]
PROTO = ROOT / "protos/mlapi/common/v1/errors.proto"
FAMILY = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, AppError)
}
# Places where the reason comes from elsewhere: from a JobError, from another service's answer.
PASSED_ON = {"error.reason", "info.reason", "item.reason"}


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """(place, call, name of what is called) for every call in the services."""
    for path in sorted((ROOT / "services").rglob("*.py")):
        if path == ROOT / "services/chassis/errors.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node, name


def documented() -> dict[str, str]:
    """Reason → the comment above it."""
    found = re.findall(r"((?:^  //.*\n)+)^  ([A-Z_]+) = \d+;", PROTO.read_text(), re.MULTILINE)
    return {name: comment for comment, name in found}


def raised() -> Iterator[tuple[str, str, str]]:
    """(place, reason, gRPC code) for every error that is made with a reason of its own."""
    for place, call, name in calls():
        if name == "invalid_fields":
            yield place, "INVALID_FIELD", "INVALID_ARGUMENT"
        elif name == "NotFound" and isinstance(call.args[0], ast.Constant):
            yield place, f"{str(call.args[0].value).upper()}_NOT_FOUND", "NOT_FOUND"
        elif name == "JobError":
            code, reason = (ast.literal_eval(argument) for argument in call.args[:2])
            yield place, reason, code
        elif name in FAMILY and name != "NotFound" and ast.unparse(call.args[0]) not in PASSED_ON:
            yield place, ast.literal_eval(call.args[0]), FAMILY[name].code


def test_every_reason_is_in_the_contract() -> None:
    places = list(raised())
    assert len(places) > 20
    unknown = [place for place in places if place[1] not in errors_pb2.ErrorReason.keys()[1:]]
    assert not unknown


def test_every_reason_has_the_code_that_the_contract_gives_it() -> None:
    contract = documented()
    assert contract.keys() == set(errors_pb2.ErrorReason.keys())
    wrong = [p for p in raised() if p[2] not in contract[p[1]]]
    assert not wrong


def test_the_edge_answers_with_reasons_of_the_contract() -> None:
    text = (ROOT / "gateway/envoy.yaml").read_text()
    answered = re.findall(r"\n\s+code: (\d+)\n(?:.*\n){2}.*reason: (\w+), domain: mlapi,", text)
    assert len(answered) == text.count("reason: ") > 5
    contract = documented()
    codes = {str(code.value[0]): code.name for code in grpc.StatusCode}
    wrong = [(codes[number], reason) for number, reason in answered if codes[number] not in contract[reason]]
    assert not wrong


@pytest.mark.parametrize("reason", errors_pb2.ErrorReason.keys()[1:])
def test_every_reason_says_its_code(reason: str) -> None:
    assert any(code in documented()[reason] for code in grpc.StatusCode.__members__)
