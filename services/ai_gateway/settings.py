"""What the environment says to the AI gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from services.ai_gateway.adapters import routes_file
from services.ai_gateway.adapters.key_ring import printable, split
from services.ai_gateway.adapters.secret_stores import references
from services.ai_gateway.application.enhancements import ENHANCE
from services.ai_gateway.domain.routing import Deadlines
from services.chassis.key_file import own_requests
from services.chassis.rates.rate import Kind, RateBook, rates
from services.chassis.settings import Port, RateText, ServiceSettings

VENDORS = ("openai", "anthropic", "perplexity", "gemini", "xai")


def _checked_key(key: SecretStr) -> SecretStr:
    """Keys and references to them, with commas between; no message holds any of it."""
    for text in split(key.get_secret_value()):
        if references.is_reference(text):
            references.parse(text)
        _check(text)
    if len(key.get_secret_value().splitlines()) > 1:
        raise ValueError("a key is printable ASCII without spaces, in one line")
    return SecretStr(key.get_secret_value().strip())


def _check(text: str) -> None:
    if not printable(text):
        raise ValueError("a key is printable ASCII without spaces, in one line")


def _readable(path: Path | None) -> Path | None:
    """A file of keys, one a line; it may change later."""
    if path is None:
        return None
    try:
        for text in split(path.read_text()):
            if references.is_reference(text):
                raise ValueError("holds a reference to a secret manager; put that into the variable itself")
            _check(text)
        return path
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"cannot be read: {reason}") from None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("has to be an http:// or https:// URL")
    return url.rstrip("/")


Key: TypeAlias = Annotated[SecretStr, AfterValidator(_checked_key)]
KeyFile: TypeAlias = Annotated[Path | None, AfterValidator(_readable)]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_checked_url)]
NO_KEY = SecretStr("")


class AiGatewaySettings(ServiceSettings):
    """The AI gateway. A vendor without a key is not configured."""

    ai_gateway_grpc_port: Port = 50052
    ai_gateway_metrics_port: Port = 9102
    training_address: str = "127.0.0.1:50051"

    openai_api_key: Key = NO_KEY
    anthropic_api_key: Key = NO_KEY
    perplexity_api_key: Key = NO_KEY
    gemini_api_key: Key = NO_KEY
    xai_api_key: Key = NO_KEY

    openai_api_key_file: KeyFile = None
    anthropic_api_key_file: KeyFile = None
    perplexity_api_key_file: KeyFile = None
    gemini_api_key_file: KeyFile = None
    xai_api_key_file: KeyFile = None

    openai_base_url: BaseUrl = "https://api.openai.com/v1"
    anthropic_base_url: BaseUrl = "https://api.anthropic.com"
    perplexity_base_url: BaseUrl = "https://api.perplexity.ai"
    gemini_base_url: BaseUrl = "https://generativelanguage.googleapis.com"
    xai_base_url: BaseUrl = "https://api.x.ai/v1"
    # Any server that speaks OpenAI's dialect, such as Ollama's or vLLM's: its models are `local/NAME`.
    local_base_url: BaseUrl | Literal[""] = ""

    ai_routes: str = ""  # aliases, see adapters/routes_file.py
    ai_prices_file: Path | None = None  # see prices/catalog.py
    ai_unpriced_models: Literal["refuse", "allow"] = "refuse"
    ai_max_output_tokens: int = Field(16_384, gt=0)  # of answers whose callers set no bound
    # Of each caller, when RATE_LIMIT_ENABLED: of all AI calls, their tokens, and calls of enhance.
    ai_requests: RateText = "200/day, 50/hour"
    ai_tokens: RateText = ""
    ai_enhance_requests: RateText = "5/minute"
    # Whether spans have what is asked and answered; OpenTelemetry's own name for it.
    otel_instrumentation_genai_capture_message_content: bool = False
    # Told of budgets whose threshold was passed, see adapters/webhook.py.
    ai_alert_webhook_url: BaseUrl | Literal[""] = ""
    ai_alert_webhook_secret: SecretStr = NO_KEY
    ai_connect_timeout: float = Field(5.0, gt=0)
    ai_first_token_timeout: float = Field(60.0, gt=0)
    ai_between_tokens_timeout: float = Field(30.0, gt=0)
    ai_whole_answer_timeout: float = Field(180.0, gt=0)
    ai_batch_poll_seconds: float = Field(30.0, gt=0)  # between two looks at a batch
    # A batch is held so long by the process that does something for it; after a crash another goes on then.
    ai_batch_lease_seconds: float = Field(300.0, ge=1)
    # With keys: one of the scope `training:delegate`; enhancements train with it on behalf of whoever asked.
    ai_training_api_key: SecretStr = NO_KEY
    ai_enhance_poll_seconds: float = Field(0.5, gt=0)  # between two looks at an enhancement
    # An enhancement is held so long by the process that does something for it.
    ai_enhance_lease_seconds: float = Field(300.0, ge=1)
    # Seconds after its deadline when a call that nobody has settled is charged in full.
    ai_settling_seconds: float = Field(60.0, gt=0)

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.ai_alert_webhook_url and not self.ai_alert_webhook_secret:
            raise ValueError("AI_ALERT_WEBHOOK_URL needs AI_ALERT_WEBHOOK_SECRET, which signs what is sent")
        return self

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for vendor in VENDORS:
            name = f"{vendor}_api_key"
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise ValueError(f"{name.upper()} and {name.upper()}_FILE are both set; keep one")
        return self

    @property
    def unpriced(self) -> bool:
        """Whether models may be called that nobody knows the price of."""
        return self.ai_unpriced_models == "allow"

    @property
    def capture_content(self) -> bool:
        """Whether traces have what is asked and answered."""
        return self.otel_instrumentation_genai_capture_message_content

    def deadlines(self) -> Deadlines:
        """Of a call whose caller has more time than that."""
        return Deadlines(
            self.ai_connect_timeout,
            self.ai_first_token_timeout,
            self.ai_between_tokens_timeout,
            self.ai_whole_answer_timeout,
            self.request_timeout,
        )

    def rates(self) -> RateBook:
        """Every limit on callers."""
        others = (
            *rates(self.ai_tokens, Kind.TOKENS),
            *rates(self.ai_enhance_requests, Kind.REQUESTS, ENHANCE),
        )
        return RateBook(self.ai_requests, others=others, own=own_requests(self.api_keys_file))

    @field_validator("ai_routes")
    @classmethod
    def _aliases(cls, text: str) -> str:
        routes_file.aliases(text, frozenset((*VENDORS, "local")))
        return text

    def keys(self) -> dict[str, list[str]]:
        """Vendor → the keys that the environment has for it."""
        found = {
            vendor: [text for text in texts if not references.is_reference(text)]
            for vendor, texts in self._given().items()
        }
        return {vendor: keys for vendor, keys in found.items() if keys}

    def key_references(self) -> dict[str, list[references.Reference]]:
        """Vendor → where a secret manager has keys for it."""
        found = {
            vendor: [references.parse(text) for text in texts if references.is_reference(text)]
            for vendor, texts in self._given().items()
        }
        return {vendor: named for vendor, named in found.items() if named}

    def _given(self) -> dict[str, list[str]]:
        return {vendor: split(getattr(self, f"{vendor}_api_key").get_secret_value()) for vendor in VENDORS}

    def key_files(self) -> dict[str, Path]:
        """Vendor → the file that its keys are in."""
        return {vendor: path for vendor in VENDORS if (path := getattr(self, f"{vendor}_api_key_file"))}

    def base_url(self, vendor: str) -> str:
        """Where the vendor's API is, without a slash at the end."""
        url: str = getattr(self, f"{vendor}_base_url")
        return url
