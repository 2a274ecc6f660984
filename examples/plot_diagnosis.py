"""
# A sound split and a broken one

`diagnose` looks at a fitted encoder on items that it has not seen. Here it judges the same encoder twice: once with the
rows as they belong, once with the texts in another order.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from modalsplit import DisentangledModalityEncoder, diagnose
from modalsplit.datasets import make_modalities

data = make_modalities(700, n_shared=4, n_features=(60, 40), noise=0.5, random_state=0)
fitted, new = slice(0, 400), slice(400, None)
encoder = DisentangledModalityEncoder(25, objective="cca", random_state=0).fit(data.X_img[fitted], data.X_txt[fitted])

# %%
# Sound: canonical correlations above those of random orders, and common parts that find the other modality's item while
# specific parts do not.

sound = diagnose(encoder, data.X_img[new], data.X_txt[new], n_permutations=100, random_state=0)
for finding in sound.findings:
    print(textwrap.fill(f"{finding.severity}: {finding.sentence}", 100))
sound.plot()
plt.show()

# %%
# Broken: the first finding says so, and what to do.

order = np.random.default_rng(0).permutation(300)
broken = diagnose(encoder, data.X_img[new], data.X_txt[new][order], n_permutations=100, random_state=0)
for finding in broken.findings[:2]:
    print(textwrap.fill(f"{finding.severity}: {finding.sentence}", 100))
broken.plot()
plt.show()
