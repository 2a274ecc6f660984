"""
# What the parts hold

Two modalities are made from known factors: four that both show, and eight that only one shows. Each part is asked, by
ridge regression on items that were held out, which factors it holds.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities

data = make_modalities(1500, n_shared=4, n_private=8, n_features=(100, 60), noise=0.3, random_state=0)
fitted, held_out = slice(0, 1000), slice(1000, None)
encoder = DisentangledModalityEncoder(30, objective="cca", random_state=0)
encoder.fit(data.X_img[fitted], data.X_txt[fitted])
print("shared directions found:", encoder.common_rank_)

# %%
# `parts` gives one matrix a part and modality. R² is 1 where a part holds a factor in full, and 0 where it does not.

parts = encoder.parts(data.X_img, data.X_txt)
rows = {
    "raw image": data.X_img,
    "raw text": data.X_txt,
    "image, common": parts.common[0],
    "text, common": parts.common[1],
    "image, specific": parts.specific[0],
    "text, specific": parts.specific[1],
}
factors = {"shared": data.shared, "private to image": data.private_img, "private to text": data.private_txt}


def readable(part, factor):
    probe = RidgeCV(np.logspace(-3, 3, 7)).fit(part[fitted], factor[fitted])
    return max(0.0, r2_score(factor[held_out], probe.predict(part[held_out])))


table = np.array([[readable(part, factor) for factor in factors.values()] for part in rows.values()])

# %%
# The raw features mix everything. The common parts hold what is shared and nothing else; each specific part
# holds what is private to its modality.

figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
picture = axis.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
axis.set_xticks(range(len(factors)), list(factors))
axis.set_yticks(range(len(rows)), list(rows))
for (row, column), value in np.ndenumerate(table):
    axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
axis.axhline(1.5, color="white", linewidth=6)
axis.set_title("Factors that can be read from each part (R², held-out items)")
figure.colorbar(picture, label="R²")
plt.show()
