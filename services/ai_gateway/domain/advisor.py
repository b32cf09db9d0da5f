"""The embedded advisor: explicit rules, each from findings to a proposal or nothing."""

from __future__ import annotations

from collections.abc import Iterator

from services.ai_gateway.domain import rules_linear, rules_network, rules_start
from services.ai_gateway.domain.findings import Findings
from services.ai_gateway.domain.proposal import Proposal, Rule

# Most promising first: what is broken, then what is out of balance, then what nearly always helps a little.
RULES: tuple[Rule, ...] = (
    rules_start.no_model_yet_network,
    rules_start.no_model_yet_linear,
    rules_network.learning_rate_too_high,
    rules_network.learning_rate_too_low,
    rules_start.no_better_than_guessing,
    rules_network.overfitting,
    rules_network.more_epochs,
    rules_network.shorter_schedule,
    rules_network.more_patience,
    rules_network.underfitting,
    rules_network.smaller_network,
    rules_linear.more_iterations,
    rules_linear.larger_penalty,
    rules_start.nonlinear_model,
    rules_network.small_data,
    rules_network.ensemble,
    rules_linear.smaller_penalty,
    rules_start.linear_baseline,
)


def advise(findings: Findings, most: int) -> list[Proposal]:
    """At most `most` proposals, most promising first: no two alike, and none that was tried already."""
    found: list[Proposal] = []
    for proposal in _applying(findings):
        if proposal.hyperparameters not in (findings.tried, *(other.hyperparameters for other in found)):
            found.append(proposal)
    return found[:most]


def _applying(findings: Findings) -> Iterator[Proposal]:
    for rule in RULES:
        if proposal := rule(findings):
            yield proposal
