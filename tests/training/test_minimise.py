"""`minimise` visits every sample once an epoch and does what it is told."""

import pytest
import torch

from modalsplit.training import batches, minimise


def generator():
    return torch.Generator().manual_seed(0)


def quadratic(weight, target):
    return lambda batch: (weight[batch] - target[batch]).square().mean()


def test_every_sample_is_visited_once_an_epoch():
    parts = list(batches(10, 3, 1, generator()))
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert sorted(torch.cat(parts).tolist()) == list(range(10))


def test_a_short_last_batch_joins_the_one_before():
    assert [len(part) for part in batches(10, 3, 2, generator())] == [3, 3, 4]
    assert [len(part) for part in batches(2, 3, 4, generator())] == [2]


def test_it_finds_the_minimum():
    weight, target = torch.zeros(10, requires_grad=True), torch.arange(10.0)
    history = minimise(
        quadratic(weight, target),
        10,
        [torch.optim.SGD([weight], 0.5)],
        batch_size=3,
        max_epochs=50,
        generator=generator(),
    )
    assert len(history) == 50
    assert history[-1]["loss"] < 1e-6 < history[0]["loss"]
    torch.testing.assert_close(weight.detach(), target, atol=1e-2, rtol=0)


def test_records_are_means_over_samples_whatever_the_batches():
    values = torch.arange(10.0)
    frozen = torch.zeros(1, requires_grad=True)

    def losses(batch):
        return {"loss": frozen.sum(), "value": values[batch].mean()}

    history = minimise(losses, 10, [torch.optim.SGD([frozen], 0.1)], batch_size=4, max_epochs=1, generator=generator())
    assert [record["value"] for record in history] == [pytest.approx(4.5)]


def test_on_epoch_may_add_to_the_record_and_stop():
    weight = torch.zeros(4, requires_grad=True)

    def on_epoch(record):
        record["seen"] = 1.0
        return len(epochs_seen) == 2 or bool(epochs_seen.append(None))

    epochs_seen = []
    history = minimise(
        quadratic(weight, torch.ones(4)),
        4,
        [torch.optim.SGD([weight], 0.1)],
        batch_size=2,
        max_epochs=9,
        generator=generator(),
        on_epoch=on_epoch,
    )
    assert [record["seen"] for record in history] == [1.0] * 3


def test_schedules_step_after_every_batch():
    weight = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 1.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    minimise(
        quadratic(weight, torch.ones(4)),
        4,
        [optimizer],
        batch_size=2,
        max_epochs=2,
        generator=generator(),
        schedulers=[schedule],
    )
    assert schedule.get_last_lr() == [0.5**4]


def test_a_loss_that_is_not_finite_is_an_error():
    weight = torch.ones(4, requires_grad=True)
    with pytest.raises(FloatingPointError, match=r"in epoch 1: .* Lower learning_rate"):
        minimise(
            lambda batch: weight[batch].sum() * torch.inf,
            4,
            [torch.optim.SGD([weight], 0.1)],
            batch_size=2,
            max_epochs=9,
            generator=generator(),
        )


def test_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(batches(10, 3, 1, generator()))
    assert torch.equal(before, torch.get_rng_state())


def test_long_gradients_are_shortened_over_all_optimizers_together():
    first, second = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    minimise(
        lambda batch: 30 * first.sum() + 40 * second.sum(),
        1,
        [torch.optim.SGD([first], 1.0), torch.optim.SGD([second], 1.0)],
        batch_size=1,
        max_epochs=1,
        generator=generator(),
        max_norm=5.0,
    )
    assert (first.item(), second.item()) == (pytest.approx(-3), pytest.approx(-4))


def test_short_gradients_are_left_alone():
    weight = torch.zeros(1, requires_grad=True)
    minimise(
        lambda batch: 3 * weight.sum(),
        1,
        [torch.optim.SGD([weight], 1.0)],
        batch_size=1,
        max_epochs=1,
        generator=generator(),
        max_norm=5.0,
    )
    assert weight.item() == -3
