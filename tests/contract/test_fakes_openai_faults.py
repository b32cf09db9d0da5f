"""The fake of OpenAI, and of its kin, as the real `openai` SDK sees it: what goes wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import openai
import pytest

from tests.contract.openai_sdk import client, user
from tests.contract.vendors import Vendors


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ("400", openai.BadRequestError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("422", openai.UnprocessableEntityError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("502", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("529", openai.InternalServerError),
        ("cut", openai.APIConnectionError),
        ("drop", openai.APIConnectionError),
    ],
)
@pytest.mark.parametrize("vendor", ["openai", "xai", "perplexity"])
def test_errors_are_the_sdks_own(vendors: Vendors, vendor: str, fault: str, raised: type[Exception]) -> None:
    with pytest.raises(raised) as caught:
        client(vendors, vendor).chat.completions.create(model="m", messages=user(f"fault {fault}"))
    assert type(caught.value) is raised
    served = vendors.only()
    assert (served.complete, served.cancelled, served.fault) == (False, False, fault)
    assert served.output == (5 if fault in ("cut", "drop") else 0)


def test_a_rate_limit_says_when_to_come_back(vendors: Vendors) -> None:
    for model, seconds in (("gpt-5--429-7", "7"), ("gpt-5--429", "1")):
        with pytest.raises(openai.RateLimitError) as caught:
            client(vendors).chat.completions.create(model=model, messages=user("hello"))
        assert caught.value.response.headers["retry-after"] == seconds
        assert caught.value.code == "rate_limit_exceeded"
    with pytest.raises(openai.RateLimitError) as caught:
        client(vendors).chat.completions.create(model="gpt-5--429date-90", messages=user("hello"))
    then = parsedate_to_datetime(caught.value.response.headers["retry-after"])
    assert timedelta(0) < then - datetime.now(UTC) <= timedelta(seconds=90)


def test_keys_are_checked(vendors: Vendors) -> None:
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key provided: sk-") as caught:
        client(vendors, key="sk-wrong").chat.completions.create(model="gpt-5", messages=user("hello"))
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        client(vendors, "perplexity", key="sk-wrong").models.list()
    with pytest.raises(openai.BadRequestError) as flat:
        client(vendors, "xai", key="sk-wrong").models.list()
    body = flat.value.response.json()
    assert body["code"] == "Client specified an invalid argument"
    assert body["error"].startswith("Incorrect API key")


def test_what_is_malformed_is_refused(vendors: Vendors) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client(vendors).chat.completions.create(model="gpt-5", messages=[])
    assert (caught.value.param, caught.value.code) == ("messages", "missing_required_parameter")
    with pytest.raises(openai.NotFoundError):
        client(vendors).moderations.create(input="hello")


@pytest.mark.parametrize(
    ("fault", "raised", "content"),
    [
        ("cut-2", openai.APIConnectionError, "word0 word1"),
        ("drop-2", openai.APIConnectionError, "word0 word1"),
        ("error-0", openai.APIError, ""),
        ("error-1", openai.APIError, "word0"),
        ("garble-3", ValueError, "word0 word1 word2"),
        ("stall-1", openai.APITimeoutError, "word0"),
    ],
)
def test_a_stream_breaks_off(vendors: Vendors, fault: str, raised: type[Exception], content: str) -> None:
    sdk = client(vendors, timeout=0.3)
    heard: list[str] = []
    with pytest.raises(raised):
        listen(sdk, f"say 9 fault {fault}", heard)
    assert "".join(heard) == content
    served = vendors.only()
    assert (served.output, served.complete) == (len(content.split()), False)
    assert served.cancelled == fault.startswith("stall")


def test_a_stream_may_end_without_a_word(vendors: Vendors) -> None:
    stream = client(vendors).chat.completions.create(
        model="gpt-5--close-2", messages=user("say 9"), stream=True
    )
    assert [chunk.choices[0].finish_reason for chunk in stream] == [None] * 3
    assert not vendors.only().complete


def listen(sdk: openai.OpenAI, text: str, heard: list[str]) -> None:
    """Puts what a stream says into `heard`, as it comes."""
    with sdk.chat.completions.create(model="gpt-5", messages=user(text), stream=True) as stream:
        for chunk in stream:
            heard.append(chunk.choices[0].delta.content or "")
