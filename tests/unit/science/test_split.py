import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.science.split import split_table


def rows(**classes: int) -> pd.DataFrame:
    return pd.DataFrame({"deny": [c for c, n in classes.items() for _ in range(n)]}).reset_index(names="id")


@given(yes=st.integers(5, 60), no=st.integers(5, 60), share=st.floats(0.2, 0.8), seed=st.integers(0, 99))
def test_no_row_is_lost_or_on_both_sides_and_both_sides_have_both_classes(yes, no, share, seed):
    train, test = split_table(rows(yes=yes, no=no), "deny", share, seed)
    assert sorted([*train.id, *test.id]) == list(range(yes + no))
    assert set(train.deny) == set(test.deny) == {"yes", "no"}


def test_the_seed_decides_and_nothing_else():
    table = rows(yes=40, no=60)
    first, again, other = (split_table(table, "deny", 0.25, seed)[1] for seed in (7, 7, 8))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_class_too_rare_for_both_sides_is_named_instead_of_vanishing_from_one():
    with pytest.raises(ValueError, match=r"class 'yes' has 3 rows; with a test share of 0.25 that is too few"):
        split_table(rows(yes=3, no=60), "deny", 0.25, seed=7)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_class_with_just_enough_rows_is_split(share):
    assert [set(side.deny) for side in split_table(rows(yes=10, no=90), "deny", share, seed=7)] == [{"yes", "no"}] * 2


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(ValueError, match="it has to lie between 0 and 1"):
        split_table(rows(yes=40, no=60), "deny", share, seed=7)
