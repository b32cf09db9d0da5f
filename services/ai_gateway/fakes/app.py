"""The fake vendors as one aiohttp application: which path is whose."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from services.ai_gateway.fakes.anthropic import Anthropic
from services.ai_gateway.fakes.batches_anthropic import MessageBatches
from services.ai_gateway.fakes.batches_openai import OpenAIBatches
from services.ai_gateway.fakes.calls import Calls, Handler
from services.ai_gateway.fakes.control import Control
from services.ai_gateway.fakes.faults import Faults
from services.ai_gateway.fakes.gemini import Gemini
from services.ai_gateway.fakes.openai import OpenAI
from services.ai_gateway.fakes.openai_kin import XAI, Perplexity
from services.ai_gateway.fakes.scripts import Scripts
from services.ai_gateway.fakes.truth import KEPT, Served, Truth
from services.ai_gateway.fakes.wire import Dialect, Refused

KEY = "sk-fake"  # every vendor's, unless others are given
LARGEST_BODY = 64 * 1024 * 1024
OPENAI, XAI_, PERPLEXITY, ANTHROPIC, GEMINI = OpenAI(), XAI(), Perplexity(), Anthropic(), Gemini()

_OPENAI_PATHS = (
    ("POST", "/chat/completions", "chat"),
    ("POST", "/embeddings", "embed"),
    ("GET", "/models", "models"),
)
_VERSION = "/gemini/{version:v1|v1beta|v1alpha}/models"
_MODEL = _VERSION + "/{model:[^/]+}"
_PATHS: tuple[tuple[Dialect, str, tuple[tuple[str, str, str], ...]], ...] = (
    (OPENAI, "/openai/v1", _OPENAI_PATHS),
    (XAI_, "/xai/v1", _OPENAI_PATHS),
    (PERPLEXITY, "/perplexity", _OPENAI_PATHS),
    (
        ANTHROPIC,
        "/anthropic/v1",
        (
            ("POST", "/messages", "chat"),
            ("POST", "/messages/count_tokens", "count"),
            ("GET", "/models", "models"),
        ),
    ),
    (GEMINI, _VERSION, (("GET", "", "models"),)),
    (
        GEMINI,
        _MODEL,
        (
            ("POST", ":generateContent", "chat"),
            ("POST", ":streamGenerateContent", "stream"),
            ("POST", ":embedContent", "embed"),
            ("POST", ":batchEmbedContents", "embeds"),
            ("POST", ":countTokens", "count"),
        ),
    ),
)
VENDORS: tuple[Dialect, ...] = (OPENAI, XAI_, PERPLEXITY, ANTHROPIC, GEMINI)


class Fake:
    """All vendors, with their keys, faults, scripts and truth."""

    def __init__(self, keys: Mapping[str, set[str]] | None = None, kept: int = KEPT) -> None:
        self.keys: dict[str, set[str]] = {vendor.vendor: {KEY} for vendor in VENDORS}
        self.keys.update(keys or {})
        self.faults, self.scripts = Faults(), Scripts()
        self.truth = Truth(kept)

    def app(self) -> web.Application:
        """To be run with `handler_cancellation`, or clients that go away are not noticed."""
        app = web.Application(client_max_size=LARGEST_BODY)
        calls = Calls(self.keys, self.faults, self.scripts, self.truth)
        for dialect, prefix, paths in _PATHS:
            for verb, path, operation in paths:
                app.router.add_route(verb, prefix + path, calls.handler(dialect, operation))
        OpenAIBatches(calls, OPENAI).add_to(app, "/openai/v1")
        MessageBatches(calls, ANTHROPIC).add_to(app, "/anthropic/v1")
        Control(self.keys, self.faults, self.scripts, self.truth).add_to(app)
        for dialect in VENDORS:
            app.router.add_route("*", f"/{dialect.vendor}/{{rest:.*}}", _nothing_there(calls, dialect))
        return app


def _nothing_there(calls: Calls, dialect: Dialect) -> Handler:
    async def serve(request: web.Request, served: Served) -> web.StreamResponse:
        raise Refused(dialect.failure(404, served.number, request.path))

    return calls.guarded(dialect, "unknown", serve)
