"""The five vendors on loopback, wire-exact, for tests, the demo and benchmarks.

`python -m services.ai_gateway.fakes --port 0` serves them under `/openai/v1`, `/xai/v1`, `/perplexity`,
`/anthropic` and `/gemini`. What is said depends on the request alone (`speech`), what goes wrong is asked for
(`faults`), and what was really served is kept (`truth`). The gateway never imports this package.
"""
