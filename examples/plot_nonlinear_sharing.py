"""
# Sharing that no straight line shows

The text shows the squares of what the picture shows. The two are then not correlated at all, and a linear method finds
nothing shared. The default objective also looks at products of directions, and at features that small networks learn.
"""

import textwrap
import warnings

import matplotlib.pyplot as plt
from sklearn.linear_model import RidgeCV

from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities

data = make_modalities(1000, kind="quadratic", n_shared=3, n_private=4, n_features=(40, 30), random_state=0)
fitted, held_out = slice(0, 700), slice(700, None)

# %%
# The closed form, `"cca"`, warns that the modalities share nothing that held-out items confirm. `max_epochs` keeps the
# networks of `"stable"` short; left alone they train for 1,500 steps a round.

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    linear = DisentangledModalityEncoder(20, objective="cca", random_state=0)
    linear.fit(data.X_img[fitted], data.X_txt[fitted])
print(textwrap.fill(str(caught[-1].message), 100))

encoder = DisentangledModalityEncoder(20, max_epochs=20, random_state=0)
encoder.fit(data.X_img[fitted], data.X_txt[fitted])
print(f"cca: {linear.common_rank_} shared directions; stable: {encoder.common_rank_}, {encoder.primitive_}")

# %%
# Ridge regression reads the first shared factor from the picture: on the left from its raw features, on the right from
# its common part. Each point is an item that was held out.

common = encoder.parts(data.X_img, data.X_txt).common[0]
factor = data.shared[:, 0]
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharex=True, sharey=True)
for axis, (name, columns) in zip(axes, {"raw image": data.X_img, "image, common": common}.items(), strict=True):
    probe = RidgeCV().fit(columns[fitted], factor[fitted])
    axis.scatter(factor[held_out], probe.predict(columns[held_out]), s=8, alpha=0.5)
    axis.axline((0, 0), slope=1, color="0.6", linewidth=1)
    score = probe.score(columns[held_out], factor[held_out])
    axis.set(title=f"From {name}: R² = {score:.2f}", xlabel="shared factor", box_aspect=1)
axes[0].set_ylabel("read by ridge regression")
plt.show()
