"""A fit by several processes that train one model together: Ray Train starts them, ``torch.distributed`` connects them."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from torch import distributed as dist

from modalsplit.distributed._engine import RETRIES, Workers

# What is wrong with parameters or data is so each time; what else ends a process may be its neighbour's death.
LASTING = (ValueError, TypeError, ImportError, OSError, FloatingPointError)


class _Box:
    """Holds what the processes of a fit have to say; an actor, so that no shared disk is needed for it."""

    def __init__(self) -> None:
        self.fitted: dict[str, Any] | None = None
        self.errors: list[Exception] = []

    def take_fitted(self, attributes: dict[str, Any]) -> None:
        self.fitted = attributes

    def take_error(self, error: Exception) -> None:
        self.errors.append(error)

    def told(self) -> tuple[dict[str, Any] | None, list[Exception]]:
        return self.fitted, self.errors


def fit_together(estimator: Any, data: Sequence[Any], options: Mapping[str, Any], workers: Workers) -> None:
    """Call ``estimator.fit`` in several processes that share its work, and take over what was fitted.

    Parameters
    ----------
    estimator : DisentangledModalityEncoder or AttentiveBPR
        It is fitted itself.
    data : sequence
        First arguments of ``fit``.
    options : mapping of str to object
        Its other arguments.
    workers : Workers
        Two or more.

    Raises
    ------
    ImportError
        If Ray Train is not installed.
    RuntimeError
        If Ray is not started or held by others, or processes died again and again.
    ValueError
        If the cluster is too small.
    TypeError
        If the data cannot be sent.
    Exception
        What ``fit`` raises.
    """
    ray = workers.check(at_once=True)
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise ImportError(f"Ray Train cannot be imported ({error}): pip install 'modalsplit[ray]'.") from error
    box = ray.remote(num_cpus=0)(_Box).remote()
    with tempfile.TemporaryDirectory(prefix="modalsplit-") as folder:
        trainer = TorchTrainer(
            _fit_here,
            train_loop_config={"held": [workers.sent(ray, (estimator, tuple(data), dict(options)))], "box": box},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers.number, resources_per_worker={"CPU": workers.cpus}, placement_strategy="SPREAD"
            ),
            # Nothing is reported to Ray: a fit keeps its own checkpoints, so that torchrun can go on with them.
            run_config=RunConfig(
                name=uuid.uuid4().hex, storage_path=folder, failure_config=FailureConfig(max_failures=RETRIES)
            ),
        )
        failure = None
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            failure = error
    fitted, errors = ray.get(box.told.remote())
    if fitted is not None:
        vars(estimator).update(fitted)
        return
    if errors:
        raise errors[0]
    raise RuntimeError(
        f"The processes of the fit died {RETRIES + 1} times. Run the same again when the cause is mended; with checkpoint= it "
        f"goes on where it ended. Ray says: {str(failure).strip()}"
    ) from failure


def _fit_here(config: dict[str, Any]) -> None:
    """Fit in one of the processes."""
    import ray

    estimator, data, options = ray.get(config["held"][0])
    box = config["box"]
    try:
        estimator.fit(*data, **options)
    except LASTING as error:
        ray.get(box.take_error.remote(error))
        dist.destroy_process_group()  # or the others would wait for this one
        return
    if dist.get_rank() == 0:
        ray.get(box.take_fitted.remote(vars(estimator)))
