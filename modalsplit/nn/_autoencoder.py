"""Correspondence autoencoders: one for each of two modalities, with codes that agree."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

Variant = Literal["corr", "cross", "full"]
# From which code to which modality.
ROUTES: dict[Variant, list[tuple[int, int]]] = {
    "corr": [(0, 0), (1, 1)],
    "cross": [(0, 1), (1, 0)],
    "full": [(0, 0), (0, 1), (1, 0), (1, 1)],
}


class CorrespondenceAutoencoder(nn.Module):
    """An encoder and a decoder for each of two modalities.

    Parameters
    ----------
    widths : tuple of two int
        Columns of the modalities.
    n_components : int
        Columns of a code.
    hidden_units : int
        Of the hidden layer on either side of a code.
    variant : {"corr", "cross", "full"}
        What a code reconstructs: its own modality, the other one, or both.

    References
    ----------
    F. Feng, X. Wang, R. Li, "Cross-modal retrieval with correspondence autoencoder", MM 2014, Eq. 1 to 5.
    """

    def __init__(self, widths: tuple[int, int], n_components: int, hidden_units: int, variant: Variant) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            nn.Sequential(nn.Linear(n, hidden_units), nn.ReLU(), nn.Linear(hidden_units, n_components), nn.Sigmoid())
            for n in widths
        )
        self.routes = ROUTES[variant]
        self.decoders = nn.ModuleList(
            nn.Sequential(nn.Linear(n_components, hidden_units), nn.ReLU(), nn.Linear(hidden_units, widths[m]))
            for _, m in self.routes
        )

    def forward(self, first: Float[Tensor, "B P"], second: Float[Tensor, "B Q"]) -> tuple[Tensor, Tensor]:
        """Compute the codes of B items, in (0, 1)."""
        return self.encoders[0](first), self.encoders[1](second)

    def losses(
        self, first: Float[Tensor, "B P"], second: Float[Tensor, "B Q"], alpha: float
    ) -> dict[str, Float[Tensor, ""]]:
        """Compute the loss and its two terms.

        Parameters
        ----------
        first : Tensor of shape (B, P)
            The first modality, its columns with variance 1.
        second : Tensor of shape (B, Q)
            The second.
        alpha : float
            Weight of the distance between codes, 0 to 1; reconstruction has the rest.

        Returns
        -------
        dict of str to Tensor of shape ()
            ``"loss"``; ``"reconstruction"``, the sum over what is reconstructed of the squared error a column; and
            ``"distance"``, the squared distance of the codes a column. Lower is better.
        """
        views, codes = (first, second), self(first, second)
        errors = [
            (decoder(codes[k]) - views[m]).square().mean()
            for decoder, (k, m) in zip(self.decoders, self.routes, strict=True)
        ]
        reconstruction = sum(errors[1:], start=errors[0])
        distance = (codes[0] - codes[1]).square().mean()
        loss = (1 - alpha) * reconstruction + alpha * distance
        return {"loss": loss, "reconstruction": reconstruction, "distance": distance}
