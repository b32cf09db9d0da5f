"""Who changed what: a log of calls in which nothing can be rewritten without a trace.

`entry` is what is written of a call, `chain` how it is stored, `auditor` which calls are written, and
`subject` what a call was about. `mlapi audit` reads it, and knows nothing of this code: what checks a chain
should not share the mistakes of what made it.
"""
