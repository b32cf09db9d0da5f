"""Names of spans' attributes and of metrics, new and old side by side.

New: OpenTelemetry's generative AI conventions (open-telemetry/semantic-conventions-genai), which have no
releases yet: client-inference as of commit 024a4f9, client-embeddings as of 88eccb1, all "development".
Old: version 1.41.0 of the general conventions, the last that had them, and what it called deprecated but
dashboards still read. The old ones go when the new ones are stable.
"""

from __future__ import annotations

# Vendor → its name in the conventions.
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "perplexity": "perplexity",
    "xai": "x_ai",
}
OLD_SYSTEMS = {**PROVIDERS, "xai": "xai"}
CHAT, EMBEDDINGS = "chat", "embeddings"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_TOP_K = "gen_ai.request.top_k"
REQUEST_SEED = "gen_ai.request.seed"
REQUEST_STOP = "gen_ai.request.stop_sequences"
REQUEST_CHOICES = "gen_ai.request.choice.count"
REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
REQUEST_REASONING = "gen_ai.request.reasoning.level"
OUTPUT_TYPE = "gen_ai.output.type"
DIMENSIONS = "gen_ai.embeddings.dimension.count"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

OLD_SYSTEM = "gen_ai.system"
OLD_CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
OLD_INPUT_TOKENS = "gen_ai.usage.prompt_tokens"
OLD_OUTPUT_TOKENS = "gen_ai.usage.completion_tokens"

# The conventions have no names for these.
TENANT = "mlapi.tenant"
ATTEMPT = "mlapi.attempt"
ATTEMPTS = "mlapi.attempts"
TARGET = "mlapi.target"
KEY = "mlapi.key"
COST = "mlapi.cost_nano_usd"
CACHE = "mlapi.cache"

# Metrics, as Prometheus spells them: dots become underscores, a unit its suffix, `{token}` nothing.
DURATION = "gen_ai_client_inference_duration_seconds"
FIRST_CHUNK = "gen_ai_client_inference_time_to_first_chunk_seconds"
OUTPUT_CHUNK = "gen_ai_client_inference_time_per_output_chunk_seconds"
USAGE_INPUT = "gen_ai_client_inference_usage_input_tokens_total"
USAGE_OUTPUT = "gen_ai_client_inference_usage_output_tokens_total"
USAGE_CACHE_READ = "gen_ai_client_inference_usage_cache_read_input_tokens_total"
USAGE_CACHE_WRITE = "gen_ai_client_inference_usage_cache_write_input_tokens_total"
USAGE_REASONING = "gen_ai_client_inference_usage_reasoning_output_tokens_total"
OPERATION_INPUT = "gen_ai_client_inference_operation_input_tokens"
OPERATION_OUTPUT = "gen_ai_client_inference_operation_output_tokens"
EMBEDDINGS_DURATION = "gen_ai_client_embeddings_duration_seconds"
EMBEDDINGS_INPUT = "gen_ai_client_embeddings_operation_input_tokens"
OLD_DURATION = "gen_ai_client_operation_duration_seconds"
OLD_FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"
OLD_OUTPUT_CHUNK = "gen_ai_client_operation_time_per_output_chunk_seconds"
OLD_TOKENS = "gen_ai_client_token_usage"

TOKENS = "ml_api_ai_tokens_total"
COST_USD = "ml_api_ai_cost_usd_total"
SAVED_USD = "ml_api_ai_savings_usd_total"
CALLS = "ml_api_ai_calls_total"
ATTEMPTS_MADE = "ml_api_ai_attempts_total"
CIRCUIT = "ml_api_ai_circuit_state"
THRESHOLDS = "ml_api_ai_budget_thresholds_total"

# Which the conventions advise.
SECONDS_BUCKETS = tuple(0.01 * 2**n for n in range(14))
TOKENS_BUCKETS = tuple(4**n for n in range(14))
