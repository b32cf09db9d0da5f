"""Between enhancements and their messages; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2
from google.rpc import code_pb2, status_pb2
from mlapi.ai_gateway.v1 import enhancement_pb2, enhancement_service_pb2
from mlapi.training.v1 import registry_pb2

from services.ai_gateway.domain.enhancement import (
    DEFAULT_TRIALS,
    Adoption,
    Asked,
    Consultation,
    Enhancement,
    Problem,
    Recommendation,
    Run,
    State,
)
from services.ai_gateway.domain.finals import Comparison, Difference, Finals, Side
from services.ai_gateway.domain.trials import Arm, Search, Values
from services.ai_gateway.rpc.timestamps import timestamp
from services.chassis.errors import invalid_fields

_STATES = {
    State.RUNNING: enhancement_pb2.Enhancement.RUNNING,
    State.SUCCEEDED: enhancement_pb2.Enhancement.SUCCEEDED,
    State.FAILED: enhancement_pb2.Enhancement.FAILED,
    State.CANCELLED: enhancement_pb2.Enhancement.CANCELLED,
}
_RECOMMENDATIONS = {
    None: enhancement_pb2.Enhancement.RECOMMENDATION_UNSPECIFIED,
    Recommendation.ADOPT: enhancement_pb2.Enhancement.ADOPT,
    Recommendation.KEEP: enhancement_pb2.Enhancement.KEEP,
}
_STATUSES = {
    State.RUNNING: "processing",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


def asked(request: enhancement_service_pb2.EnhanceRequest) -> Asked:
    """What a caller asks for; raises InvalidArgument for arms that there are none of."""
    arms, problems = [], {}
    for place, name in enumerate(request.arms):
        try:
            arms.append(Arm(name.lower()))
        except ValueError:
            problems[f"arms[{place}]"] = f"{name!r} is none; there are {', '.join(Arm)}"
    if problems:
        raise invalid_fields(problems)
    return Asked(
        request.job_id,
        request.model_id,
        request.dataset_id,
        request.target,
        tuple(arms),
        request.max_trials or DEFAULT_TRIALS,
        request.max_cost_usd,
        tuple(request.providers),
        request.seed if request.HasField("seed") else None,
    )


def task(one: Enhancement, result: bool = True) -> enhancement_service_pb2.Task:
    """An enhancement as a task. result: whether what it has come to is in it."""
    return enhancement_service_pb2.Task(
        task_id=one.task_id,
        status=_STATUSES[one.state],
        progress=one.progress,
        result=enhancement(one) if result else None,
        error=_status(one.problem),
        create_time=timestamp(one.made) if result else None,
        end_time=timestamp(one.ended),
        expire_time=timestamp(one.expires),
    )


def enhancement(one: Enhancement) -> enhancement_pb2.Enhancement:
    """An enhancement on the wire."""
    state = _STATES[one.state]
    if one.stop and one.state is State.RUNNING:
        state = enhancement_pb2.Enhancement.CANCELLING
    return enhancement_pb2.Enhancement(
        enhancement_id=one.enhancement_id,
        task_id=one.task_id,
        state=state,
        progress=one.progress,
        recommendation=_RECOMMENDATIONS[one.recommendation],
        reason=one.reason,
        input=_input(one),
        arms=[_arm(run, one) for run in one.runs],
        best=_best(one),
        evidence=_evidence(one.finals),
        cost=_cost(one),
        consultations=[_consultation(asked, one) for asked in one.consultations],
        data_warnings=one.warnings,
        adopted=version(one.adopted, one) if one.adopted else None,
        error=_status(one.problem),
        tenant=one.tenant,
        create_time=timestamp(one.made),
        end_time=timestamp(one.ended),
        expire_time=timestamp(one.expires),
    )


def version(adopted: Adoption, one: Enhancement) -> registry_pb2.ModelVersion:
    """What it was adopted as, on the wire."""
    return registry_pb2.ModelVersion(
        name=adopted.name,
        version=adopted.version,
        model_id=adopted.model_id,
        enhancement_id=one.enhancement_id,
        comment=one.reason,
        create_time=timestamp(adopted.time),
    )


def _input(one: Enhancement) -> enhancement_pb2.EnhancementInput:
    subject = one.subject
    return enhancement_pb2.EnhancementInput(
        job_id=subject.job_id,
        model_id=subject.model_id,
        dataset_id=subject.dataset_id,
        dataset_version=subject.dataset_version,
        target=subject.target,
        task=subject.task,
        algorithm=subject.algorithm,
        metric=subject.metric,
        values=_struct(subject.values),
        max_trials=one.asked.max_trials,
        max_cost_usd=one.asked.max_cost_usd,
        providers=one.asked.models,
        seed=subject.seed,
    )


def _arm(run: Run, one: Enhancement) -> enhancement_pb2.Arm:
    done = [trial for trial in run.trials if trial.validation is not None]
    best = run.best
    return enhancement_pb2.Arm(
        name=run.arm,
        ran=bool(run.trials),
        note=run.note,
        trial_count=len(done),
        failed_count=len(run.trials) - len(done),
        best_so_far=best_so_far(run, one),
        best_values=_struct(best.values) if best else None,
        best_validation=(best.validation or 0.0) if best else 0.0,
        best_test=(best.test or 0.0) if best else 0.0,
        sweep_ids=[search.sweep_id for search in run.searches if search.sweep_id],
        seconds=sum(search.measured.seconds for search in run.searches),
    )


def best_so_far(run: Run, one: Enhancement) -> list[float]:
    """After each of the arm's trials; what all begin with comes first."""
    first = [] if run.arm is Arm.DEFAULT else list(one.start.trials)
    start = [trial.validation for trial in first if trial.validation is not None]
    found: list[float] = [min(start)] if start else []
    for trial in run.trials:
        values = [value for value in (trial.validation, found[-1] if found else None) if value is not None]
        found += [min(values)] if values else []
    return found


def _best(one: Enhancement) -> enhancement_pb2.BestConfiguration | None:
    place = one.finals.winner if one.finals and one.finals.search.measured.ended else None
    if not place or one.finals is None:
        return None
    chosen, trials = one.finals.finalists[place], one.finals.trials_of(place)
    return enhancement_pb2.BestConfiguration(
        arm=chosen.arm,
        source=chosen.source,
        values=_struct(chosen.values),
        changes=list(changes(one.subject.values, chosen.values)),
        model_id=trials[0].model_id if trials else "",
    )


def changes(before: Values, after: Values) -> Iterator[enhancement_pb2.Change]:
    """What is not the same; what only one of them names is the platform's default in the other."""
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield enhancement_pb2.Change(field=name, before=_json(before, name), after=_json(after, name))


def _evidence(finals: Finals | None) -> enhancement_pb2.Evidence | None:
    if finals is None or finals.comparison is None or finals.winner is None:
        return None
    found = finals.comparison
    return enhancement_pb2.Evidence(
        seed_count=len(finals.seeds),
        row_count=found.row_count,
        input_validation=finals.score(0) or 0.0,
        best_validation=finals.score(finals.winner) or 0.0,
        comparison=_comparison(found),
        probability_better=found.improvement.probability,
        finalist_count=len(finals.finalists) - 1,
    )


def _comparison(found: Comparison) -> registry_pb2.Comparison:
    return registry_pb2.Comparison(
        row_count=found.row_count,
        loss=found.loss,
        candidate=_side(found.candidate),
        baseline=_side(found.baseline),
        improvement=_difference(found.improvement),
        over_constant=_difference(found.over_constant),
    )


def _side(one: Side) -> registry_pb2.Comparison.Side:
    return registry_pb2.Comparison.Side(
        model_ids=one.model_ids, metrics=dict(one.metrics), deviations=dict(one.deviations)
    )


def _difference(one: Difference) -> registry_pb2.Difference:
    return registry_pb2.Difference(**vars(one))


def _cost(one: Enhancement) -> enhancement_pb2.EnhancementCost:
    paid = [asked for asked in one.consultations if asked.input_tokens or asked.nano_usd]
    return enhancement_pb2.EnhancementCost(
        call_count=len(paid),
        input_tokens=sum(asked.input_tokens for asked in paid),
        output_tokens=sum(asked.output_tokens for asked in paid),
        ai_nano_usd=one.ai_nano_usd,
        training_usd=one.training_usd,
        training_seconds=sum(search.measured.seconds for search in one.searches),
    )


def _consultation(asked: Consultation, one: Enhancement) -> enhancement_pb2.Consultation:
    search = _search_of(asked, one)
    trials = search.measured.trials if search else ()
    tried = [trial for trial in trials if _by(trial.source, asked.source)]
    results = [trial.validation for trial in tried if trial.validation is not None]
    refused = search.measured.rejections if search else ()
    return enhancement_pb2.Consultation(
        arm=asked.arm,
        round=asked.round,
        source=asked.source,
        proposal_count=asked.proposals,
        tried_count=len(tried),
        rejections=[
            *asked.rejections,
            *(item.reason for item in refused if _by(item.source, asked.source)),
        ],
        problem=asked.problem,
        best_validation=min(results, default=None),
        nano_usd=asked.nano_usd,
        seconds=asked.seconds,
    )


def _search_of(asked: Consultation, one: Enhancement) -> Search | None:
    run = next(run for run in one.runs if run.arm is asked.arm)
    return run.searches[asked.round - 1] if asked.round <= len(run.searches) else None


def _by(source: str, name: str) -> bool:
    """Whether a proposal is that one's, alone or with others; the advisor's name their rule."""
    return any(one == name or one.startswith(f"{name}/") for one in source.split("+"))


def _status(problem: Problem | None) -> status_pb2.Status | None:
    if problem is None:
        return None
    return status_pb2.Status(code=code_pb2.Code.Value(problem.code), message=problem.message)


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(dict(values), struct_pb2.Struct())


def _json(values: Values, name: str) -> str:
    return json.dumps(values[name]) if name in values else ""
