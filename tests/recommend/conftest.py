"""Made data as fixtures."""

import pytest
from made import checkerboard, named, parity_parts

from modalsplit import Interactions


@pytest.fixture
def items():
    return named(parity_parts())


@pytest.fixture
def taken(items):
    return Interactions(checkerboard(), item_ids=items.index, user_ids=[f"user{column}" for column in range(40)])
