"""Rules that read the learning curves of a network."""

from __future__ import annotations

import math
from itertools import pairwise

from services.ai_gateway.domain.findings import Findings, train_loss, validation_loss
from services.ai_gateway.domain.hyperparameters import MLP, Hyperparameters
from services.ai_gateway.domain.proposal import Proposal, propose
from services.ai_gateway.domain.sizing import SMALL_ROWS

# A training loss this many times its lowest so far, and higher by this share of the first, is a jump.
JUMP, JUMP_OF_FIRST = 1.5, 0.1
# A training loss this many times that of guessing shows steps far too large.
WORSE_THAN_GUESSING = 1.5
# A validation loss that ends this share above its lowest has turned.
TURNED = 0.05
# A validation loss above the training loss by this share of the loss of guessing is a gap. Dropout makes the
# training loss look worse than it is, so the true gap is wider.
GAP = 0.15
# A loss that falls by this share over the second half of a run, in which the learning rate comes down, has
# not settled.
STILL_FALLING = 0.05
# A run of fewer epochs has not had its chance.
FEW_EPOCHS = 10
# A training loss above this share of the loss of guessing is high.
HIGH = 0.7
# A run whose loss fell by less than this share has hardly moved, and below this rate the rate is suspect: at
# a higher one, flat curves mean that there is nothing to learn.
HARDLY_MOVED, LOW_RATE = 0.1, 5e-4
# The schedule brings the rate from its peak to 0; a run that ends above this share was cut short.
CUT_SHORT = 0.3
ENOUGH_PATIENCE = 20
ENOUGH_NETWORKS = 8


def learning_rate_too_high(f: Findings) -> Proposal | None:
    """The loss was lost, or jumped."""
    tried = _network(f)
    seen = _divergence(f) if tried else None
    if not tried or not seen:
        return None
    text, factor = seen
    after = tried.changed(learning_rate=tried.number("learning_rate") / factor)
    return propose(
        "learning_rate_too_high", f"{text}; steps of 1/{factor} the size keep it down.", tried, after
    )


def overfitting(f: Findings) -> Proposal | None:
    """Validation got worse while training got better: regularise more."""
    tried, seen = _network(f), _overfit(f)
    if not tried or not seen:
        return None
    decay, dropout = tried.number("weight_decay"), tried.number("dropout")
    after = tried.changed(
        weight_decay=max(decay, min(max(10 * decay, 0.01), 1)), dropout=max(dropout, min(dropout + 0.2, 0.6))
    )
    text = f"{seen}: it learns the rows by heart. More weight decay and dropout work against that."
    return propose("overfitting", text, tried, after)


def smaller_network(f: Findings) -> Proposal | None:
    """Validation got worse, and the network is larger than the data: halve it."""
    tried, seen = _network(f), _overfit(f)
    if not tried or not seen or not f.data or _weights(tried, f.data.columns) <= f.data.rows:
        return None
    sizes = tuple(max(size // 2, 8) if size > 8 else size for size in tried.hidden_sizes)
    text = (
        f"{seen}, and there are {_weights(tried, f.data.columns)} weights for {f.data.rows} rows. Half the "
        "units can hold less by heart."
    )
    return propose("smaller_network", text, tried, tried.changed(hidden_sizes=sizes))


def shorter_schedule(f: Findings) -> Proposal | None:
    """It stopped early, before the learning rate came down: plan for as many epochs as are needed."""
    tried, best = _network(f), f.best
    if not tried or not best or not _stopped_early(f, tried):
        return None
    last, planned = f.epochs[-1], tried.number("max_epochs")
    share = last.learning_rate / tried.number("learning_rate")
    epochs = max(2 * best.number, 10)
    if share < CUT_SHORT or epochs >= planned:
        return None
    text = (
        f"Training stopped early at epoch {last.number} of {planned:g}, its best was epoch {best.number}, "
        f"and the learning rate was still at {share:.0%} of its peak. Over {epochs} epochs it comes down."
    )
    return propose("shorter_schedule", text, tried, tried.changed(max_epochs=epochs))


def more_patience(f: Findings) -> Proposal | None:
    """It stopped early after a short wait, on a loss that had not turned."""
    tried, best = _network(f), f.best
    if not tried or not best or not _stopped_early(f, tried) or _overfit(f):
        return None
    patience = tried.number("early_stopping_patience")
    if patience >= ENOUGH_PATIENCE:
        return None
    text = (
        f"Training stopped at epoch {f.epochs[-1].number} of {tried.number('max_epochs'):g}, {patience:g} "
        f"epochs after its best validation loss, {validation_loss(best):.4g}; such a wait can be chance."
    )
    after = tried.changed(early_stopping_patience=max(3 * patience, ENOUGH_PATIENCE))
    return propose("more_patience", text, tried, after)


def more_epochs(f: Findings) -> Proposal | None:
    """All epochs were run and the loss had not settled."""
    tried = _network(f)
    if not tried or not f.trained or _overfit(f) or len(f.epochs) < tried.number("max_epochs"):
        return None
    losses = [validation_loss(e) for e in f.judged] or [
        train_loss(e) for e in f.epochs if e.train_loss is not None
    ]
    fall, few = _late_fall(losses), len(f.epochs) < FEW_EPOCHS
    if learning_rate_too_high(f) or (fall < STILL_FALLING and not few):
        return None
    text = (
        f"All {len(f.epochs)} epochs were run, and over the second half of them the loss still fell by "
        f"{fall:.1%}: {'they are few' if few else 'it has not settled'}."
    )
    epochs = (10 if few else 2) * len(f.epochs)
    return propose("more_epochs", text, tried, tried.changed(max_epochs=epochs))


def underfitting(f: Findings) -> Proposal | None:
    """The training loss itself is high: more room to learn in, less dropout."""
    tried, guess = _network(f), f.guess_loss
    losses = [e.train_loss for e in f.epochs if e.train_loss is not None]
    if not tried or not f.trained or not guess or not losses or losses[-1] < HIGH * guess:
        return None
    if _overfit(f) or learning_rate_too_high(f) or learning_rate_too_low(f):  # no matter of size
        return None
    text = (
        f"The training loss ended at {losses[-1]:.4g}, and always guessing alike has {guess:.4g}: the "
        "network does not even fit the rows that it sees. Wider layers and less dropout give it room."
    )
    sizes = tuple(max(size, min(2 * size, 1024)) for size in tried.hidden_sizes)
    after = tried.changed(hidden_sizes=sizes, dropout=tried.number("dropout") / 2)
    return propose("underfitting", text, tried, after)


def learning_rate_too_low(f: Findings) -> Proposal | None:
    """The rate is low, and the loss hardly moved, downwards to the end."""
    tried, best = _network(f), f.best
    if not tried or not best or tried.number("learning_rate") >= LOW_RATE:
        return None
    first, low, rate = validation_loss(f.judged[0]), validation_loss(best), tried.number("learning_rate")
    fall = 1 - low / first if first > 0 else 1.0
    if fall >= HARDLY_MOVED or best.number < 0.9 * f.judged[-1].number:
        return None
    text = (
        f"At a learning rate of {rate:g} the validation loss fell by {fall:.1%} only, from {first:.4g} to "
        f"{low:.4g} at epoch {best.number} of {f.judged[-1].number}: larger steps get further."
    )
    return propose("learning_rate_too_low", text, tried, tried.changed(learning_rate=10 * rate))


def small_data(f: Findings) -> Proposal | None:
    """Few rows: average more networks, and hold each back more."""
    before = _finished_or_default(f)
    if not before or not f.data or f.data.rows >= SMALL_ROWS:
        return None
    networks, decay = before.number("ensemble_size"), before.number("weight_decay")
    text = (
        f"{f.data.rows} rows are few: single networks differ by chance. Averaging more of them, each with "
        "more weight decay, evens that out."
    )
    after = before.changed(
        ensemble_size=max(networks, min(4 * networks, 16)),
        weight_decay=max(decay, min(max(3 * decay, 0.03), 1)),
    )
    return propose("small_data", text, before, after)


def ensemble(f: Findings) -> Proposal | None:
    """Few networks are averaged: more of them usually lower the loss."""
    before = _finished_or_default(f)
    if not before or before.number("ensemble_size") >= ENOUGH_NETWORKS:
        return None
    networks = before.number("ensemble_size")
    more = 4 if networks == 1 else ENOUGH_NETWORKS
    text = (
        f"The mean of {more} networks in place of {networks:g} usually has a lower loss, for about "
        f"{more / networks:.2g} times the time."
    )
    return propose("ensemble", text, before, before.changed(ensemble_size=more))


def _network(f: Findings) -> Hyperparameters | None:
    return f.tried if f.tried and f.tried.algorithm == MLP else None


def _finished_or_default(f: Findings) -> Hyperparameters | None:
    """The network that was trained, or the default one when nothing was tried."""
    if f.tried is None:
        return f.defaults.get(MLP)
    return _network(f) if f.trained else None


def _divergence(f: Findings) -> tuple[str, int] | None:
    """What went wrong first, and by how much to divide the rate."""
    lowest = math.inf
    guess = f.guess_loss or math.inf
    for epoch in f.epochs:
        loss = epoch.train_loss
        if loss is None:
            return f"The training loss was no number at epoch {epoch.number}", 10
        if loss > WORSE_THAN_GUESSING * guess:
            text = f"At epoch {epoch.number} the training loss was {loss:.4g}, and guessing has {guess:.4g}"
            return text, 100 if loss > 10 * guess else 4
        first = f.epochs[0].train_loss or 0.0
        if loss > max(JUMP * lowest, lowest + JUMP_OF_FIRST * first):
            return f"The training loss jumped from {lowest:.4g} to {loss:.4g} at epoch {epoch.number}", 4
        lowest = min(lowest, loss)
    return None


def _overfit(f: Findings) -> str | None:
    """The sign of it, in words; None without one. A loss that jumps has another cause."""
    best = f.best
    if not best or _divergence(f):
        return None
    last = f.judged[-1]
    low, end = validation_loss(best), validation_loss(last)
    if low > 0 and end / low - 1 >= TURNED:
        return (
            f"The validation loss was lowest at epoch {best.number}, {low:.4g}, and ended "
            f"{end / low - 1:.0%} higher while the training loss went on to {train_loss(last):.4g}"
        )
    gap, scale = low - train_loss(best), f.guess_loss or train_loss(f.judged[0])
    if gap > GAP * scale:
        return (
            f"At its best epoch the validation loss is {low:.4g} and the training loss {train_loss(best):.4g}"
        )
    return None


def _stopped_early(f: Findings, tried: Hyperparameters) -> bool:
    best = f.best
    if not best or not f.trained or f.epochs[-1].number >= tried.number("max_epochs"):
        return False
    return f.epochs[-1].number - best.number >= tried.number("early_stopping_patience")


def _late_fall(losses: list[float]) -> float:
    """By which share the loss fell over the second half of the epochs."""
    if not losses:
        return 0.0
    before = losses[(len(losses) - 1) // 2]
    return 1 - losses[-1] / before if before > 0 else 0.0


def _weights(network: Hyperparameters, columns: int) -> int:
    """About as many as one network has; categories take more inputs than their columns."""
    return sum(above * below for above, below in pairwise((columns, *network.hidden_sizes, 1)))
