"""What the environment says to the AI gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, model_validator

from services.chassis.settings import Port, ServiceSettings

VENDORS = ("openai", "anthropic", "perplexity", "gemini", "xai")
# Secret managers that a later version reads; sent to a vendor, a reference would be a key that fails.
REFERENCES = ("aws-sm://", "azure-kv://", "gcp-sm://")


def _checked_key(key: SecretStr) -> SecretStr:
    """The key without the white space around it; no message holds any of it."""
    text = key.get_secret_value().strip()
    for prefix in REFERENCES:
        if text.startswith(prefix):
            raise ValueError(
                f"{prefix} references are not read by this version; give the key itself or a file with it"
            )
    if not all("!" <= letter <= "~" for letter in text):
        raise ValueError("a key is printable ASCII without spaces, in one line")
    return SecretStr(text)


def _content(path: Any) -> Any:
    if not isinstance(path, str) or not path:
        return path
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"cannot be read: {reason}") from None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("has to be an http:// or https:// URL")
    return url.rstrip("/")


Key: TypeAlias = Annotated[SecretStr, AfterValidator(_checked_key)]
KeyFile: TypeAlias = Annotated[Key, BeforeValidator(_content)]  # a path in the environment, the key here
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

    openai_api_key_file: KeyFile = NO_KEY
    anthropic_api_key_file: KeyFile = NO_KEY
    perplexity_api_key_file: KeyFile = NO_KEY
    gemini_api_key_file: KeyFile = NO_KEY
    xai_api_key_file: KeyFile = NO_KEY

    openai_base_url: BaseUrl = "https://api.openai.com/v1"
    anthropic_base_url: BaseUrl = "https://api.anthropic.com"
    perplexity_base_url: BaseUrl = "https://api.perplexity.ai"
    gemini_base_url: BaseUrl = "https://generativelanguage.googleapis.com"
    xai_base_url: BaseUrl = "https://api.x.ai/v1"

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for vendor in VENDORS:
            name = f"{vendor}_api_key"
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise ValueError(f"{name.upper()} and {name.upper()}_FILE are both set; keep one")
        return self

    def key(self, vendor: str) -> SecretStr:
        """The vendor's key; empty when it is not configured."""
        key: SecretStr = getattr(self, f"{vendor}_api_key") or getattr(self, f"{vendor}_api_key_file")
        return key

    def base_url(self, vendor: str) -> str:
        """Where the vendor's API is, without a slash at the end."""
        url: str = getattr(self, f"{vendor}_base_url")
        return url
