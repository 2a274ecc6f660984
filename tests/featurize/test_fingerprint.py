"""Fingerprints: equal for equal models in any process, different for different ones."""

import subprocess
import sys
import threading
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch

from modalsplit.featurize._fingerprint import fingerprint

SCRIPT = """
import torch
from modalsplit.featurize._fingerprint import fingerprint
SCALE = 2.0
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        self.names = {"b", "a", "c"}
    def forward(self, x):
        return self.layers(x) * SCALE
torch.manual_seed(0)
print(fingerprint(Net(), lambda x: x + 1, {"a": (1, None)}))
"""


def of_script(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_another_process_finds_the_same_and_changed_code_or_globals_another():
    scripts = [SCRIPT, SCRIPT, SCRIPT.replace("* SCALE", "/ SCALE"), SCRIPT.replace("SCALE = 2.0", "SCALE = 3.0")]
    prints = [of_script(script) for script in scripts]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def layer(weight):
    linear = torch.nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight[:] = weight
        linear.bias[:] = 0
    return linear


def test_values_count_and_not_identity():
    assert fingerprint(layer(1.0)) == fingerprint(layer(1.0))
    assert fingerprint([1, [2]], {"a": np.arange(3)}) == fingerprint([1, [2]], {"a": np.arange(3)})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (layer(1.0), layer(2.0)),
        (torch.nn.ReLU(), torch.nn.GELU()),
        (torch.nn.Dropout(0.1), torch.nn.Dropout(0.2)),
        (1, 1.0),
        ("1", 1),
        ([1, 2], (1, 2)),
        ([1, [2]], [[1], 2]),
        ({"a": 1}, {"a": 2}),
        (OrderedDict(a=1), OrderedDict(a=2)),
        (np.zeros(2, np.float32), np.zeros(2, np.int32)),
        (np.zeros((1, 2)), np.zeros((2, 1))),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (partial(max, 1), partial(max, 2)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x + 1, lambda x: x - 1),
        (lambda x, y=1: x, lambda x, y=2: x),
    ],
)
def test_different_things_differ(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_circles_end():
    circle = []
    circle.append(circle)
    assert fingerprint(circle) == fingerprint(circle)


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(TypeError, match="lock cannot be told from another one"):
        fingerprint([threading.Lock()])
