"""
# The printed objective has no lower bound

Eq. 10 of the paper is minimised, and it goes down for ever: maps that translate the specific parts ever worse make it
as low as one likes, while nothing is learned. [Why](../../diverges.md).
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import torch

from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities
from modalsplit.exceptions import ConvergenceError
from modalsplit.nn import bounded_ranking_loss, common_gap, primitive_gap, printed_ranking_loss, specific_gap

# %%
# Primitives, and common parts that lack two of their eight directions. The map Φ translates common parts perfectly; λ scales
# what it does to the two directions that common parts do not have. So L_c stays what it is, and only the errors of
# primitives and of specific parts grow.

generator = torch.Generator().manual_seed(0)
primitive = torch.randn(500, 8, generator=generator)
kept = torch.diag(torch.tensor([1.0] * 6 + [0.0] * 2))
both = (primitive, primitive)  # two modalities that agree
common = primitive @ kept
strengths = np.logspace(-1, 3, 30)
printed, bounded = [], []
for strength in strengths:
    phi = kept + strength * (torch.eye(8) - kept)
    gaps = (
        common_gap(both, (common @ phi,) * 2),
        primitive_gap(both, (primitive @ phi,) * 2),
        specific_gap(both, ((primitive - common) @ phi,) * 2),
    )
    printed.append(printed_ranking_loss(*gaps).item())
    bounded.append(bounded_ranking_loss(*gaps).item())
print(f"Eq. 10 as printed, λ = 1, 1000: {np.interp([1, 1000], strengths, printed)}")

# %%
# The same in training. `fit` stops with `ConvergenceError` and keeps the last finite state.

data = make_modalities(500, n_shared=4, n_private=4, n_features=(30, 20), random_state=0)
encoder = DisentangledModalityEncoder(12, objective="paper_literal", max_epochs=30, random_state=0)
try:
    encoder.fit(data.X_img, data.X_txt)
except ConvergenceError as error:
    print(textwrap.fill(str(error), 100))

# %%
# On the left the loss falls without end as λ grows, and the bounded reading of Eq. 10 stays above zero. On the right, the
# gaps that training recorded: they grow, all of them.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
axes[0].plot(strengths, printed, label="as printed", color="#d55e00")
axes[0].plot(strengths, bounded, label='bounded (objective="paper")', color="#0072b2")
axes[0].set(xscale="log", yscale="symlog", xlabel="λ", ylabel="Eq. 10", title="One number, and no bound")
axes[0].legend(frameon=False)
for gap, colour in {"common_gap": "#0072b2", "primitive_gap": "#737373", "specific_gap": "#d55e00"}.items():
    axes[1].plot([record[gap] for record in encoder.history_], marker="o", label=gap.replace("_", " "), color=colour)
axes[1].set(yscale="log", xlabel="epoch", title="Gaps in training, until it stopped")
axes[1].legend(frameon=False)
plt.show()
