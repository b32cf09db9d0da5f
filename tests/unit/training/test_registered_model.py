"""What is true of a name of models after any moves, refused ones among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.domain.registry import AliasElsewhere, NoSuchVersion, RegisteredModel, VersionAliased
from tests.unit.training.samples import LATER, NOW

ALIASES = st.sampled_from(["champion", "candidate"])
NUMBERS = st.integers(0, 5)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("register"), st.sampled_from("abcd"), st.sets(ALIASES)),
        st.tuples(st.just("point"), ALIASES, NUMBERS, st.none() | NUMBERS),
        st.tuples(st.just("delete"), NUMBERS),
    ),
    max_size=20,
)


@given(MOVES)
def test_versions_are_numbered_once_and_aliases_point_to_what_is_there(moves: list[tuple]) -> None:
    named, given_out = RegisteredModel("roses", NOW, NOW), {}
    for kind, *how in moves:
        before = named
        try:
            if kind == "register":
                named = named.registered(how[0], LATER, how[1])
                version = named.version_of(how[0])
                assert version is not None
                assert {named.aliases[alias] for alias in how[1]} <= {version.version}
            elif kind == "point":
                named = named.pointed(how[0], how[1], LATER, how[2])
                assert named.aliases.get(how[0], 0) == how[1]
                assert how[2] in (None, before.aliases.get(how[0], 0))
            else:
                named = named.without(how[0], LATER)
                assert named.numbered(how[0]) is None
        except (AliasElsewhere, NoSuchVersion, VersionAliased):
            assert named is before
        for one in named.versions:
            assert given_out.setdefault(one.version, one) == one
        numbers = [one.version for one in named.versions]
        assert numbers == sorted(set(numbers))
        assert len({one.model_id for one in named.versions}) == len(numbers)
        assert set(named.aliases.values()) <= set(numbers)
        assert max([*given_out, 0]) == named.last_version


def test_a_label_is_an_alias_or_a_number() -> None:
    named = RegisteredModel("roses", NOW, NOW).registered("a", NOW, ["champion"]).registered("b", NOW)
    labels = ("champion", "1", "2", "3", "0", "", "²", "9" * 99)
    found = {label: one.model_id for label in labels if (one := named.called(label))}
    assert found == {
        "champion": "a",
        "1": "a",
        "2": "b",
    }


def test_refusals_say_what_is_in_the_way() -> None:
    named = RegisteredModel("roses", NOW, NOW).registered("a", NOW, ["champion"])
    with pytest.raises(AliasElsewhere) as elsewhere:
        named.pointed("champion", 0, NOW, expected=0)
    assert elsewhere.value.version == 1
    with pytest.raises(VersionAliased) as aliased:
        named.without(1, NOW)
    assert aliased.value.aliases == ("champion",)
    assert named.pointed("champion", 0, LATER).without(1, LATER).registered("a", LATER).last_version == 2
