"""Rules for the linear models: a penalty and a bound on iterations is all there is to turn."""

from __future__ import annotations

from services.ai_gateway.domain.findings import Findings
from services.ai_gateway.domain.hyperparameters import LINEAR, Hyperparameters
from services.ai_gateway.domain.proposal import Proposal, propose

# A validation loss above the training loss by this share of the loss of guessing is a gap.
GAP = 0.1


def more_iterations(f: Findings) -> Proposal | None:
    """It ran out of iterations before it converged."""
    tried = _linear(f)
    if not tried:
        return None
    left = f.reported.get("gradient", f.reported.get("residual", 0.0))
    limit, tolerance = tried.number("max_iterations"), tried.number("tolerance")
    if f.steps < limit or left <= tolerance:
        return None
    text = f"All {limit:g} iterations were used, and {left:.3g} is left where {tolerance:g} was asked for."
    return propose("more_iterations", text, tried, tried.changed(max_iterations=max(5 * limit, 100)))


def larger_penalty(f: Findings) -> Proposal | None:
    """The model does much better on the rows that it has seen."""
    tried, gap = _linear(f), _gap(f)
    if not tried or gap is None or gap[1] < GAP:
        return None
    text = f"{gap[0]}: it learns the rows by heart. A larger penalty keeps the weights small."
    return propose("larger_penalty", text, tried, tried.changed(l2=max(10 * tried.number("l2"), 1)))


def smaller_penalty(f: Findings) -> Proposal | None:
    """The model does alike on all rows, so that it can afford larger weights."""
    tried, gap = _linear(f), _gap(f)
    if not tried or gap is None or gap[1] >= GAP or tried.number("l2") < 0.01:
        return None
    text = f"{gap[0]}: nothing is learned by heart, and a smaller penalty may fit more closely."
    return propose("smaller_penalty", text, tried, tried.changed(l2=tried.number("l2") / 10))


def _linear(f: Findings) -> Hyperparameters | None:
    return f.tried if f.trained and f.tried and f.tried.algorithm == LINEAR[f.task] else None


def _gap(f: Findings) -> tuple[str, float] | None:
    """Validation loss less training loss: in words, and as a share of the loss of guessing."""
    train, final, guess = f.reported.get("train_loss"), f.final_loss, f.guess_loss
    if train is None or final is None or not guess:
        return None
    return f"The training loss is {train:.4g} and the validation loss {final:.4g}", (final - train) / guess
