"""What training finds out about items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


class Learned(NamedTuple):
    """What is known of some items after training."""

    embedding: Floats  # (n, n_components)
    bias: Floats  # (n,)
    parts: Floats  # (n, n_parts, width), scaled
    present: NDArray[np.bool_]  # (n, n_parts)

    def of(self, rows: NDArray[np.intp]) -> Learned:
        """Take some of the items.

        Parameters
        ----------
        rows : ndarray of int of shape (n_rows,)
            Which to take.

        Returns
        -------
        Learned
            A copy.
        """
        return Learned(self.embedding[rows], self.bias[rows], self.parts[rows], self.present[rows])
