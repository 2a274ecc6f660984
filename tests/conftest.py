"""Fixtures for all tests."""

import os

# scikit-learn skips its array API check unless this is set before scipy is imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    """Small fits are several times faster on one thread, and steadier."""
    torch.set_num_threads(1)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
        ),
    ]
)
def device(request):
    return request.param


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the research data sets, which are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"research data not found at {SHARED.parent}; it is not shipped with the package")
    return SHARED
