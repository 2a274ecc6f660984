"""When unseen rows prefer a candidate."""

import pytest
import torch

from modalsplit.objectives._judge import PairVerdict, Verdict, predicts_better


def verdict(errors):
    nothing = torch.zeros(len(errors), 0, dtype=torch.float64)
    return Verdict({(0, 1): PairVerdict(0, torch.zeros(1), (nothing, nothing), errors)})


@pytest.mark.parametrize(("gain", "is_better"), [(1e-12, False), (1e-3, True), (-1e-3, False)])
def test_what_rounding_can_make_is_no_gain(gain, is_better):
    # The same gain in each row has no spread, so that any would exceed its standard error.
    errors = torch.rand(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    assert predicts_better(verdict(errors - gain), verdict(errors)) is is_better
