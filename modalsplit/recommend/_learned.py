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

    def of(self, rows: NDArray[np.intp] | slice) -> Learned:
        """Take some of the items.

        Parameters
        ----------
        rows : ndarray of int of shape (n_rows,), or slice
            Which to take.

        Returns
        -------
        Learned
            A copy; views for a slice.
        """
        return Learned(self.embedding[rows], self.bias[rows], self.parts[rows], self.present[rows])
