"""What can be told of a job's features before it trains, from what is asked for and from profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.chassis.errors import invalid_fields
from services.training.application.weights import check_weights
from services.training.domain.dataset import ColumnType, Content
from services.training.domain.model import Model
from services.training.domain.transforms import MOST_TRANSFORMS, FeatureTransform, TransformKind

_NUMBERS = (ColumnType.INTEGER, ColumnType.FLOAT)
# What each kind may be made of.
_SUITABLE = {
    TransformKind.LOG: _NUMBERS,
    TransformKind.BINS: _NUMBERS,
    TransformKind.RATIO: _NUMBERS,
    TransformKind.DIFFERENCE: (*_NUMBERS, ColumnType.TIMESTAMP),
    TransformKind.DATE_PARTS: (ColumnType.TIMESTAMP,),
    TransformKind.FREQUENCY: (ColumnType.TEXT,),
}


def check_columns(content: Content, target: str, weights: str, excluded: Sequence[str]) -> None:
    """Raises InvalidArgument unless the weights are such, the excluded columns can be, and some are left."""
    if weights:
        if weights == target:
            raise invalid_fields({"weight_column": f"is {target!r}, as the target is"})
        check_weights(content, weights, "dataset")
    if problems := excluded_problems(content, target, weights, excluded):
        raise invalid_fields(problems)
    if not all(item.column.name in {target, weights} for item in content.columns):
        return
    named = " and ".join(repr(name) for name in (target, weights) if name)
    only = "are the only columns" if target and weights else "is the only column"
    field = "target" if target else "weight_column"
    raise invalid_fields({field: f"{named} {only}; there is nothing to learn from"})


def excluded_problems(
    content: Content, target: str, weights: str, excluded: Sequence[str], beside: Sequence[str] = ()
) -> dict[str, str]:
    """Field → what is wrong with leaving out these columns, and some beside; empty when all is well."""
    problems: dict[str, str] = {}
    for place, name in enumerate(excluded):
        if problem := _excluded_problem(content, target, weights, name):
            problems[f"excluded_columns[{place}]"] = problem
        elif name in excluded[:place]:
            problems[f"excluded_columns[{place}]"] = f"{name!r} is there twice"
    left = {item.column.name for item in content.columns} - {target, weights, *excluded, *beside}
    if excluded and not left and not problems:
        problems["excluded_columns"] = "are all that there is to learn from"
    return problems


def _excluded_problem(content: Content, target: str, weights: str, name: str) -> str:
    if content.column(name) is None:
        names = ", ".join(repr(item.column.name) for item in content.columns[:20])
        return f"{name!r} is not a column of the dataset; it has {names}"
    if name in {target, weights}:
        return f"{name!r} is the {'target' if name == target else 'weight column'}, and so no feature"
    return ""


def check_start_columns(start: Model | None, excluded: Sequence[str]) -> None:
    """Raises InvalidArgument when the model to begin with reads a column that is to be left out."""
    read = {feature.name for feature in start.features} & set(excluded) if start else set()
    if read:
        named = ", ".join(repr(name) for name in sorted(read))
        raise invalid_fields({"warm_start_model_id": f"reads {named}, which excluded_columns leaves out"})


def transform_problems(
    content: Content,
    no_features: Sequence[str],
    transforms: Sequence[FeatureTransform],
    made: Sequence[str] = (),
) -> dict[str, str]:
    """Field → what is wrong with making these columns; empty when all is well.

    no_features: the target, the weights and what is excluded. made: names that other transforms give.
    """
    if len(transforms) > MOST_TRANSFORMS:
        return {"transforms": f"at most {MOST_TRANSFORMS}, got {len(transforms)}"}
    problems: dict[str, str] = {}
    taken = {item.column.name: "a column of the dataset" for item in content.columns}
    taken |= dict.fromkeys(made, "made already")
    for number, one in enumerate(transforms):
        path = f"transforms[{number}]"
        found = {f"{path}.{name}": text for name, text in one.problems().items()}
        if not found:
            found = {f"{path}.{name}": text for name, text in _source_problems(content, no_features, one)}
            for name in one.names:
                if name in taken and not found:
                    found = {path: f"makes {name!r}, which is {taken[name]}"}
            taken |= dict.fromkeys(one.names, "made already")
        problems |= found
    return problems


def _source_problems(
    content: Content, no_features: Sequence[str], transform: FeatureTransform
) -> Iterator[tuple[str, str]]:
    kinds = [content.column(name) for name in transform.columns]
    for place, (name, column) in enumerate(zip(transform.columns, kinds, strict=True)):
        path, suitable = f"columns[{place}]", _SUITABLE[transform.kind]
        if column is None:
            yield path, f"{name!r} is not a column of the dataset"
        elif name in no_features:
            yield path, f"{name!r} is the target, the weight column or excluded, and so no feature"
        elif column.type not in suitable:
            yield path, f"{transform.kind} is of {' or '.join(suitable)}, and {name!r} is {column.type}"
        elif place and kinds[0] and (column.type in _NUMBERS) != (kinds[0].type in _NUMBERS):
            yield path, f"{name!r} is {column.type}, and {transform.columns[0]!r} {kinds[0].type}"


def check_transforms(
    content: Content, no_features: Sequence[str], transforms: Sequence[FeatureTransform]
) -> None:
    """Raises InvalidArgument naming what is wrong with making these columns."""
    if problems := transform_problems(content, no_features, transforms):
        raise invalid_fields(problems)
