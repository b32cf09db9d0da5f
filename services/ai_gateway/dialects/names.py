"""What the dialects are called."""

OPENAI, ANTHROPIC, GEMINI = "openai", "anthropic", "gemini"
