"""The encoder's modules: a primitive for each modality, its common part, and the rest."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Affine(nn.Module):
    """A fixed map: subtract a mean, multiply by a matrix.

    Parameters
    ----------
    mean : Tensor of shape (n_in,)
        What is subtracted.
    weight : Tensor of shape (n_in, n_out)
        What is multiplied.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, mean: Float[Tensor, " P"], weight: Float[Tensor, "P D"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("weight", weight)

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B D"]:
        """Map a batch."""
        return (x - self.mean) @ self.weight

    def then(self, weight: Float[Tensor, "D E"]) -> Affine:
        """Compose with a second linear map, so that a batch costs one product."""
        return Affine(self.mean, self.weight @ weight)


class FeatureNetwork(nn.Module):
    """Learned non-linear features of one modality: a network with one hidden layer.

    Parameters
    ----------
    n_in : int
        Columns of the input.
    n_hidden : int
        Units of the hidden layer.
    n_out : int
        Number of features.
    scale : float
        Divides the input: its standard deviation.
    generator : torch.Generator
        Draws the initial weights, on its own device; the global generator is not used.
    """

    def __init__(self, n_in: int, n_hidden: int, n_out: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.n_in = n_in
        self.scale = scale
        self.hidden = nn.utils.skip_init(nn.Linear, n_in, n_hidden, device=generator.device)  # type: ignore[no-untyped-call]
        self.out = nn.utils.skip_init(nn.Linear, n_hidden, n_out, device=generator.device)  # type: ignore[no-untyped-call]
        for layer in (self.hidden, self.out):
            bound = layer.in_features**-0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B F"]:
        """Compute the features of a batch."""
        features: Tensor = self.out(nn.functional.gelu(self.hidden(x / self.scale)))
        return features


class LearnedPrimitive(nn.Module):
    """e = a linear map of [anchors | learned features]: the non-linearity sits in the primitive, not in c.

    Parameters
    ----------
    anchors : Affine
        From the modality's columns to its anchors.
    network : FeatureNetwork
        From the leading anchors to the learned features.
    readout : Affine
        From both, side by side, to the primitive.
    """

    def __init__(self, anchors: Affine, network: FeatureNetwork, readout: Affine) -> None:
        super().__init__()
        self.anchors = anchors
        self.network = network
        self.readout = readout

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B D"]:
        """Compute the primitive of a batch."""
        anchors = self.anchors(x)
        features = self.network(anchors[:, : self.network.n_in])
        primitive: Tensor = self.readout(torch.cat([anchors, features], dim=1))
        return primitive


class Branch(nn.Module):
    """One modality: its primitive e, the common part c of it (Eq. 1), and the rest s = e - c (Eq. 2).

    Parameters
    ----------
    primitive : Module
        From the modality's columns to e, of D columns.
    extractor : Module
        From e to c: the map that the paper calls Θ.

    References
    ----------
    Han et al., WWW 2022, Eq. 1 and 2.
    """

    def __init__(self, primitive: nn.Module, extractor: nn.Module) -> None:
        super().__init__()
        self.primitive = primitive
        self.extractor = extractor

    def forward(self, x: Float[Tensor, "B P"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """Split a batch into its common and its specific part."""
        primitive = self.primitive(x)
        common = self.extractor(primitive)
        # Subtract, not a second map: nothing can get lost (Eq. 2).
        return common, primitive - common


class Disentangler(nn.Module):
    """One `Branch` a modality.

    Parameters
    ----------
    branches : sequence of Branch
        In the order of the modalities.
    """

    def __init__(self, *branches: Branch) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Float[Tensor, "B P"], modality: int) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """Split a batch of one modality into its common and its specific part."""
        parts: tuple[Tensor, Tensor] = self.branches[modality](x)
        return parts
