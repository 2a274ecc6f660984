"""
# Real wines: what drives a recommendation

Wines have a profile (type, body, acidity, country, region) and the name on the label. The encoder splits the two,
`AttentiveBPR` ranks wines for users, and `explain` says what each part added to a score.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from modalsplit import AttentiveBPR, DisentangledModalityEncoder, TfidfFeaturizer
from modalsplit.baselines import Popularity
from modalsplit.datasets import load_wines
from modalsplit.evaluate import evaluate, split_interactions

wines = load_wines()
interactions = wines.interactions[:, :1500].k_core(5)
items = wines.items.loc[interactions.item_ids]
train, valid, test = split_interactions(interactions, random_state=0)

profile = OneHotEncoder(sparse_output=False, min_frequency=3, handle_unknown="infrequent_if_exist")
features = ColumnTransformer([
    ("profile", profile, ["type", "body", "acidity", "country", "region"]),
    ("label", TfidfFeaturizer(60), "title"),
])  # fmt: skip
pamd = Pipeline([
    ("features", features),
    ("disentangle", DisentangledModalityEncoder(64, objective="cca", random_state=0)),
    ("recommend", AttentiveBPR(32, max_epochs=8, random_state=0)),
]).set_output(transform="pandas").fit(items, train)  # fmt: skip

# %%
# Judged on interactions that nobody saw, beside popularity. A short run on few users: the
# [results](../../results/recommend.md) are those of all users.

popular = Popularity().fit(pamd[:-1].transform(items), train)
for name, model in {"pipeline": pamd[-1], "popularity": popular}.items():
    print(name, evaluate(model, test, seen=train + valid).summary(random_state=0).loc["ndcg@10"].round(3).to_dict())

# %%
# The ten best wines of one user, and what each part added. With the bias, which is the wine's popularity, the shares of
# a wine sum to its score; the figure leaves the bias out.

user = interactions.user_ids[0]
best = pamd[-1].recommend([user], k=10).ids[0]
shares = pd.DataFrame({items.title[item]: pamd[-1].explain(user, item) for item in best}).T
print(shares.round(2).to_string())

figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
shares.drop(columns="bias").iloc[::-1].plot.barh(
    stacked=True, ax=axis, width=0.8, color=["0.6", "#0072b2", "#56b4e9", "#d55e00", "#e69f00"]
)
axis.axvline(0, color="black", linewidth=0.8)
axis.set(xlabel="added to the score", title=f"What recommends these wines to user {user}")
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
