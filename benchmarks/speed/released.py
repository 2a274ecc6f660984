"""PAMD's pre-training as its authors released it, written plainly: what `fit` is timed against.

One affine layer a modality, extractors without bias, decoders from each part to the other modality's raw features, Adam
with a weight decay, batches of 100 item ids from a `DataLoader`. No line of it is there to be slow. Its one slip, a cosine that is
summed over the whole batch, is left out: it takes the same time and makes NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch.utils.data import DataLoader

TEMPERATURE = 0.5
TINY = 1e-24


class Released(nn.Module):
    def __init__(self, image: Tensor, text: Tensor, d: int) -> None:
        super().__init__()
        self.image = nn.Embedding.from_pretrained(image)
        self.text = nn.Embedding.from_pretrained(text)
        self.primitives = nn.ModuleList(nn.Linear(x.shape[1], d) for x in (image, text))
        self.extractors = nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(2))
        self.decoders = nn.ModuleList(nn.Linear(d, x.shape[1]) for x in (text, image))

    def forward(self, items: Tensor) -> Tensor:
        raw = self.image(items), self.text(items)
        primitive = [layer(x) for layer, x in zip(self.primitives, raw, strict=True)]
        common = [layer(e) for layer, e in zip(self.extractors, primitive, strict=True)]
        specific = [e - c for e, c in zip(primitive, common, strict=True)]
        alignment = (common[0] - common[1]).square().mean()
        orthogonality = (specific[0] * specific[1]).sum(1).square().mean()
        ranking = sum(
            ranked(target, *(decoder(x) for x in (common[m], primitive[m], specific[m])))
            for m, (decoder, target) in enumerate(zip(self.decoders, (raw[1], raw[0]), strict=True))
        )
        return alignment + orthogonality + ranking


def ranked(target: Tensor, common: Tensor, primitive: Tensor, specific: Tensor) -> Tensor:
    c, p, s = (torch.exp(cosine_similarity(x, target) / TEMPERATURE) for x in (common, primitive, specific))
    return -(torch.log(c / (c + p + s) + TINY) + torch.log(p / (p + s) + TINY)).mean()


def epochs(image: Tensor, text: Tensor, d: int, n_epochs: int, batch_size: int = 100) -> Released:
    """Train for some epochs."""
    model = Released(image, text, d)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3, weight_decay=1e-5)
    for _ in range(n_epochs):
        for items in DataLoader(range(len(image)), batch_size=batch_size, shuffle=True):
            optimizer.zero_grad()
            model(items).backward()
            optimizer.step()
    return model
