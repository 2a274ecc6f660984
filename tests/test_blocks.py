import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

from modalsplit.blocks import block_columns, block_names, width


def test_blocks_come_in_order_of_first_appearance():
    assert list(block_columns(["text__0", "image__0", "text__1"])) == ["text", "image"]


def test_columns_that_stand_together_are_a_slice():
    found = block_columns(["a__x", "a__y", "b__x", "a__z"])
    np.testing.assert_array_equal(found["a"], [0, 1, 3])
    assert found["b"] == slice(2, 3)


@pytest.mark.parametrize("names", [[], ["price", "image__0"], ["__0"], ["image_0"], [0, 1]])
def test_names_without_a_block_give_none(names):
    assert block_columns(names) == {}


def test_the_first_separator_ends_the_block():
    """A ColumnTransformer within a ColumnTransformer writes two prefixes; the outer one is the block."""
    assert block_columns(["a__b__0", "a__c__0"]) == {"a": slice(0, 2)}
    assert block_columns(["a.0", "a.1"], separator=".") == {"a": slice(0, 2)}


def test_a_column_transformer_writes_blocks():
    frame = pd.DataFrame({"x": [1.0, 2], "y": [1.0, 3], "z": [1.0, 4]})
    columns = ColumnTransformer([("image", StandardScaler(), ["x", "y"]), ("text", StandardScaler(), ["z"])])
    assert block_columns(columns.fit(frame).get_feature_names_out()) == {
        "image": slice(0, 2),
        "text": slice(2, 3),
    }


@given(
    st.dictionaries(st.text("abc_", min_size=1).filter(lambda s: "__" not in s + "_" and s != "_"), st.integers(1, 5))
)
def test_names_and_columns_are_inverse(widths):
    names = [name for block, n in widths.items() for name in block_names(block, n)]
    assert {block: width(columns) for block, columns in block_columns(names).items()} == widths


def test_width_counts_columns_of_either_kind():
    assert (width(slice(2, 7)), width(np.array([0, 3]))) == (5, 2)
