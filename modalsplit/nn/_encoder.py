"""The encoder's modules: a primitive for each modality, its common part, and the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modalsplit.nn._censored import Uncensor

# Of the initial weights of a sine unit, in those of a ramp.
FREQUENCY = 2.0


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
        """Compose with a second linear map of the leading columns, so that a batch costs one product."""
        return Affine(self.mean, self.weight[:, : len(weight)] @ weight)


class Scaled(nn.Module):
    """A fixed map: subtract a mean, divide by one number for all columns.

    Parameters
    ----------
    mean : Tensor of shape (n_in,)
        What is subtracted.
    scale : Tensor of shape ()
        What divides; more than 0.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float[Tensor, " P"], scale: Float[Tensor, ""]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Map a batch."""
        return (x - self.mean) / self.scale


def drawn_linear(n_in: int, n_out: int, generator: torch.Generator, *, bias: bool = True) -> nn.Linear:
    """Make a trainable affine map with torch's own initial weights (Kaiming-uniform), drawn from a generator.

    Parameters
    ----------
    n_in : int
        Columns of the input.
    n_out : int
        Columns of the output.
    generator : torch.Generator
        Draws the weights, on its own device; the global generator is not used.
    bias : bool, default=True
        Whether a constant is added.

    Returns
    -------
    torch.nn.Linear
        With weights and bias uniform in ±1/sqrt(n_in).
    """
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias, device=generator.device)  # type: ignore[no-untyped-call]
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(n_in**-0.5), n_in**-0.5, generator=generator)
    assert isinstance(layer, nn.Linear)
    return layer


class Anchors(nn.Module):
    """From a modality's columns to its anchors.

    Parameters
    ----------
    front : Uncensor or None
        What the columns pass first.
    affine : Affine
        From there to the anchors.
    """

    def __init__(self, front: Uncensor | None, affine: Affine) -> None:
        super().__init__()
        self.front = front
        self.affine = affine

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B D"]:
        """Map a batch."""
        anchors: Tensor = self.affine(x if self.front is None else self.front(x))
        return anchors

    def then(self, weight: Float[Tensor, "D E"]) -> Anchors:
        """Compose with a second linear map of the leading anchors, so that a batch costs one product."""
        return Anchors(self.front, self.affine.then(weight))

    def narrowed(self, n_anchors: int) -> Anchors:
        """Select the leading anchors."""
        return Anchors(self.front, Affine(self.affine.mean, self.affine.weight[:, :n_anchors]))


def drawn_network(n_in: int, n_hidden: int, n_out: int, generator: torch.Generator) -> nn.Sequential:
    """Make a trainable network with one hidden layer of smooth ramps (GELU), drawn like `drawn_linear`.

    Parameters
    ----------
    n_in : int
        Columns of the input.
    n_hidden : int
        Units of the hidden layer.
    n_out : int
        Columns of the output.
    generator : torch.Generator
        Draws the weights, on its own device; the global generator is not used.

    Returns
    -------
    torch.nn.Sequential
        The network.
    """
    return nn.Sequential(drawn_linear(n_in, n_hidden, generator), nn.GELU(), drawn_linear(n_hidden, n_out, generator))


class FeatureNetwork(nn.Module):
    """Learned non-linear features of one modality: a network with one hidden layer.

    Half of the hidden units are smooth ramps (GELU), which learn squares, products and absolute values. The
    others are sines: ramps alone find a periodic function too late, if at all.

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

    References
    ----------
    Sitzmann et al., Implicit neural representations with periodic activation functions, NeurIPS 2020.
    """

    def __init__(self, n_in: int, n_hidden: int, n_out: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.n_in = n_in
        self.scale = scale
        self.n_ramps = (n_hidden + 1) // 2
        self.hidden = drawn_linear(n_in, n_hidden, generator)
        self.out = drawn_linear(n_hidden, n_out, generator)
        with torch.no_grad():
            self.hidden.weight[self.n_ramps :] *= FREQUENCY

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B F"]:
        """Compute the features of a batch."""
        hidden = self.hidden(x / self.scale)
        ramps, waves = hidden[:, : self.n_ramps], hidden[:, self.n_ramps :]
        features: Tensor = self.out(torch.cat([nn.functional.gelu(ramps), torch.sin(waves)], dim=1))
        return features


class SkipNetwork(nn.Module):
    """An affine map, and on top of it what a network with one hidden layer adds.

    Parameters
    ----------
    n_in : int
        Columns of the input.
    n_hidden : int
        Units of the hidden layer.
    n_out : int
        Columns of the output.
    generator : torch.Generator
        Draws the initial weights, on its own device; the global generator is not used.
    """

    def __init__(self, n_in: int, n_hidden: int, n_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.affine = drawn_linear(n_in, n_out, generator)
        self.network = drawn_network(n_in, n_hidden, n_out, generator)

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B D"]:
        """Map a batch."""
        added: Tensor = self.affine(x) + self.network(x)
        return added


class LearnedPrimitive(nn.Module):
    """e = a linear map of [anchors | learned features]: the non-linearity sits in the primitive, not in c.

    Parameters
    ----------
    anchors : Anchors
        From the modality's columns to its anchors.
    networks : sequence of Module
        From the leading `n_in` anchors to features: `FeatureNetwork` or `ProductFeatures`.
    readout : Affine
        From all of these, side by side, to the primitive.
    """

    def __init__(self, anchors: Anchors, networks: Sequence[nn.Module], readout: Affine) -> None:
        super().__init__()
        self.anchors = anchors
        self.networks = nn.ModuleList(networks)
        self.readout = readout

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B D"]:
        """Compute the primitive of a batch."""
        anchors = self.anchors(x)
        features = [network(anchors[:, : network.n_in]) for network in self.networks]
        primitive: Tensor = self.readout(torch.cat([anchors, *features], dim=1))
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
