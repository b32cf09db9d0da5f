"""Rules that look at the data: where to begin, and what another kind of model would tell."""

from __future__ import annotations

from services.ai_gateway.domain.findings import Findings
from services.ai_gateway.domain.hyperparameters import LINEAR, MLP, Hyperparameters
from services.ai_gateway.domain.proposal import Proposal, propose
from services.ai_gateway.domain.sizing import SMALL_ROWS, sized_linear, sized_network

# A model that takes off less than this share of the loss of guessing has learned next to nothing.
WORTH_HAVING = 0.02


def no_model_yet_network(f: Findings) -> Proposal | None:
    """Nothing was tried: a network of a size that suits the data."""
    if f.tried or not f.data or MLP not in f.defaults:
        return None
    after = sized_network(f.defaults[MLP], f.data)
    text = (
        f"{f.data.rows} rows and {f.data.columns} columns to learn from: hidden layers of "
        f"{_listed(after)} units, in steps of {after.number('batch_size'):g} rows."
    )
    return propose("no_model_yet_network", text, f.defaults[MLP], after)


def no_model_yet_linear(f: Findings) -> Proposal | None:
    """Nothing was tried: the linear model is quick, and every other one has to beat it."""
    if f.tried or not f.data or LINEAR[f.task] not in f.defaults:
        return None
    after = sized_linear(f.defaults[LINEAR[f.task]], f.data)
    text = (
        f"A linear model of {f.data.columns} columns trains in moments on {f.data.rows} rows, with l2 "
        f"{after.number('l2'):g}; a network that does not beat it is not worth its cost."
    )
    return propose("no_model_yet_linear", text, f.defaults.get(MLP, after), after)


def no_better_than_guessing(f: Findings) -> Proposal | None:
    """The network learned next to nothing: see whether a linear model finds anything at all."""
    guess, final = f.guess_loss, f.final_loss
    if not guess or final is None or final < (1 - WORTH_HAVING) * guess:
        return None
    text = (
        f"On the validation part the network's loss is {final:.4g}, and always guessing alike has "
        f"{guess:.4g}. A linear model tells whether the columns say anything about the target."
    )
    return _linear_instead(f, "no_better_than_guessing", text)


def linear_baseline(f: Findings) -> Proposal | None:
    """Few rows: the linear model may do as well as the network."""
    if not f.data or f.data.rows >= SMALL_ROWS:
        return None
    text = (
        f"With {f.data.rows} rows a linear model often comes close to a network; measuring one tells what "
        "the hidden layers are worth."
    )
    return _linear_instead(f, "linear_baseline", text)


def nonlinear_model(f: Findings) -> Proposal | None:
    """A linear model was trained: a network sees what bends."""
    tried = f.tried
    if not f.trained or not f.data or not tried or tried.algorithm != LINEAR[f.task] or MLP not in f.defaults:
        return None
    after = sized_network(f.defaults[MLP], f.data)
    text = (
        f"A linear model reached a validation loss of {_number(f.final_loss)}. A network of {_listed(after)} "
        f"units can also follow bends and interactions of the {f.data.columns} columns."
    )
    return propose("nonlinear_model", text, tried, after)


def _linear_instead(f: Findings, rule: str, text: str) -> Proposal | None:
    after = f.defaults.get(LINEAR[f.task])
    if not f.trained or not f.tried or f.tried.algorithm != MLP or not f.data or after is None:
        return None
    return propose(rule, text, f.tried, sized_linear(after, f.data))


def _listed(network: Hyperparameters) -> str:
    return " and ".join(str(size) for size in network.hidden_sizes)


def _number(value: float | None) -> str:
    return "unknown size" if value is None else f"{value:.4g}"
