"""One Ray cluster a session, of processes on this machine."""

import os

import pytest


@pytest.fixture(scope="session")
def ray_cluster():
    """Four logical CPUs: what is tested is not speed."""
    ray = pytest.importorskip("ray", reason="the extra modalsplit[ray] is not installed")
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1")
    ray.init(
        num_cpus=4, object_store_memory=200 * 2**20, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield ray
    ray.shutdown()
