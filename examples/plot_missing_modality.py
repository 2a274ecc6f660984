"""
# Items without a picture

An item without a picture still has a text, and what the text shares with pictures tells of the missing part. This compares
three ways to fill the hole, by how well held-out factors can be read afterwards.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge

from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities

data = make_modalities(900, n_shared=4, n_private=4, n_features=(50, 30), noise=0.5, random_state=0)
fitted, new = slice(0, 600), slice(600, None)
absent = np.random.default_rng(0).random(900)

# %%
# A growing share of all items loses its picture. `missing="translate"` lets the common part of the text stand in; the others
# fill the features with means or with random numbers (as the paper's released code does) before the encoder.


def without(share, filling):
    image = data.X_img.copy()
    holes = absent < share
    image[holes] = np.nan
    if filling == "random":
        image[holes] = np.random.default_rng(1).random((holes.sum(), image.shape[1]))
    elif filling == "mean":
        image = SimpleImputer(keep_empty_features=True).fit(image[fitted]).transform(image)
    return image


def score(share, filling):
    image = without(share, filling)
    encoder = DisentangledModalityEncoder(20, objective="cca", missing="translate", common_rank=4, random_state=0)
    encoder.fit(image[fitted], data.X_txt[fitted])
    common = encoder.parts(image, data.X_txt).common[0]  # of the picture
    return Ridge().fit(common[fitted], data.shared[fitted]).score(common[new], data.shared[new])


# %%
# How well shared factors can be read from the picture's common part (R², new items, of which the same share has no picture).

shares = [0.0, 0.2, 0.4, 0.6, 0.8]
ways = {"translate": "#0072b2", "mean": "#737373", "random": "#d55e00"}
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for way, colour in ways.items():
    values = [score(share, way) for share in shares]
    print(way, np.round(values, 3))
    axis.plot(shares, values, marker="o", label=way, color=colour)
axis.set(xlabel="share of items without a picture", ylabel="R² of shared factors", ylim=(0, 1.02))
axis.legend(title="missing pictures", frameon=False)
plt.show()
