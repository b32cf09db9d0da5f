"""What an enhancement does next: sweeps of its arms, the final, the verdict. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from services.ai_gateway.domain.enhancement import Enhancement, Recommendation, Run
from services.ai_gateway.domain.finals import Comparison, Finalist, Finals
from services.ai_gateway.domain.trials import Arm, Proposed, Search, Trial, Values, validation

# Proposals are asked for again when what came of the ones before is known.
LLM_ROUNDS, HYBRID_ROUNDS = 3, 2
# Those who propose to TPE get so much of its trials: with more of them, published hybrids did worse.
PROPOSED_SHARE = 0.3
FINALISTS = 3
TRIALS_OF_FINALIST = 4  # of an arm: what is tested should not cost more than what is searched
SEEDS, FEW_SEEDS = 5, 3  # of each side; few where an arm has few trials
FEW_TRIALS = 8
# One-sided. Two rows of a table that say the same would pass a test at 5 % in one of twenty tables.
SIGNIFICANT = 0.025


@dataclass(frozen=True)
class Step:
    """The next sweep of an arm. ask: proposals wanted for it, from models or from the embedded advisor."""

    size: int
    sampler: str = ""
    ask: int = 0


def next_step(run: Run, budget: int) -> Step | None:
    """What the arm does after the sweeps that it has made; None when it is done."""
    left, made = run.left(budget), len(run.searches)
    match run.arm:
        case Arm.RANDOM | Arm.TPE if not made:
            return Step(left, str(run.arm))
        case Arm.LOCAL if not made:
            return Step(left, ask=left)
        case Arm.LLM if left > 0 and made < LLM_ROUNDS:
            size = -(-left // (LLM_ROUNDS - made))
            return Step(size, ask=size)
        case Arm.HYBRID if left > 0 and made < HYBRID_ROUNDS:
            size = -(-left // (HYBRID_ROUNDS - made))
            return Step(size, str(Arm.TPE), max(1, round(size * PROPOSED_SHARE)))
    return None


def first_search(asked: Values, seed: int) -> Search:
    """The input, and the platform's defaults where the input is something else."""
    named = {"seed": seed}  # which changes nothing: a proposal has to name a value
    proposals = [Proposed({**asked, **named}, "input")]
    if asked:
        proposals.append(Proposed(named, "default"))
    return Search(len(proposals), proposals=tuple(proposals))


def merged(answers: Sequence[Sequence[Proposed]], tried: Sequence[Values], most: int) -> list[Proposed]:
    """Proposals of several, taken in turns, each once; what several propose is all of theirs.

    What was tried already is left out.
    """
    found: dict[str, Proposed] = {}
    seen = {_key(_bare(values)) for values in tried}
    for place in range(max((len(one) for one in answers), default=0)):
        for answer in answers:
            if place < len(answer):
                key, one = _key(answer[place].values), answer[place]
                if key in found and one.source not in found[key].source.split("+"):
                    found[key] = Proposed(one.values, f"{found[key].source}+{one.source}")
                elif key not in found and key not in seen:
                    found[key] = one
    return list(found.values())[:most]


def _key(values: Values) -> str:
    numbers = {name: float(one) if isinstance(one, int) else one for name, one in values.items()}
    return json.dumps(numbers, sort_keys=True)


# The final


def finalists(enhancement: Enhancement) -> tuple[Finalist, ...]:
    """The input, and the best configurations of all arms that did better than it on validation rows."""
    first = enhancement.start.trials[0]
    asked = Finalist(enhancement.subject.values, Arm.DEFAULT, "input")
    seen = {_key(_bare(first.values))}
    chosen = [asked]
    most = max(1, min(FINALISTS, enhancement.asked.max_trials // TRIALS_OF_FINALIST))
    for arm, trial in sorted(_results(enhancement), key=lambda one: validation(one[1])):
        key = _key(_bare(trial.values))
        if len(chosen) > most or validation(trial) >= validation(first):
            break
        if key not in seen:
            seen.add(key)
            chosen.append(Finalist(_bare(trial.values), arm, trial.source))
    return tuple(chosen)


def final(chosen: tuple[Finalist, ...], seed: int, max_trials: int) -> Finals:
    """The sweep that trains each of them with every seed. The first seed is the input's own."""
    count = SEEDS if max_trials >= FEW_TRIALS else FEW_SEEDS
    seeds = tuple((seed + 1_000_003 * number) % 2**32 for number in range(count))
    proposals = tuple(Proposed({**one.values, "seed": s}, one.source) for one in chosen for s in seeds)
    return Finals(chosen, seeds, Search(len(proposals), proposals=proposals))


def verdict(comparison: Comparison) -> tuple[Recommendation, str]:
    """What the test rows say, and why."""
    found, constant = comparison.improvement, comparison.over_constant
    said = f"{comparison.loss} on {comparison.row_count} test rows is lower by {found.mean:.4g}"
    sure = f"(95 % interval {found.low:.4g} to {found.high:.4g}, one-sided p = {found.p_value:.2g})"
    if not found.mean > 0:
        return Recommendation.KEEP, "No improvement: what was better on validation rows is not on test rows."
    if not found.p_value < SIGNIFICANT:
        return Recommendation.KEEP, f"No improvement beyond chance: {said} {sure}."
    if not constant.p_value < SIGNIFICANT:
        text = (
            f"No use: neither the input nor the best configuration is better than a constant; {said} {sure}."
        )
        return Recommendation.KEEP, text
    return Recommendation.ADOPT, f"Better beyond chance: {said} {sure}."


def _results(enhancement: Enhancement) -> list[tuple[Arm, Trial]]:
    return [
        (run.arm, trial) for run in enhancement.runs for trial in run.trials if trial.validation is not None
    ]


def _bare(values: Values) -> Values:
    return {name: value for name, value in values.items() if name != "seed"}
