"""Pictures, weights and word vectors that the tests of the featurizers share."""

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(scope="session")
def vgg19():
    """torchvision's whole VGG19 with random weights, in evaluation mode."""
    from torchvision.models import vgg19

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = vgg19(weights=None, init_weights=False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 6**0.5  # torch's default lets activations fade from layer to layer; this keeps them
    return network.eval()


@pytest.fixture(scope="session")
def vgg19_file(vgg19, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save(vgg19.state_dict(), path)
    yield path
    path.unlink()  # 548 MB; pytest would keep it for three runs


@pytest.fixture(scope="session")
def photos():
    """Five pictures of different shapes, smooth enough to survive a resize."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for size in [(300, 260), (256, 256), (260, 400), (64, 48), (500, 300)]
    ]


@pytest.fixture
def glove_text(tmp_path):
    """A small file in GloVe's text format: word, then three numbers."""
    path = tmp_path / "glove.txt"
    path.write_text("red 1 0 0\nwine 0 1 0\nn't 0 0 1\nis 0.5 0.5 0\n500 2 0 0\nml 0 2 0\n'75 9 9 9\n")
    return path
