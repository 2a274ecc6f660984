"""The main job on real wines: two modalities in, recommendations out, judged on interactions nobody saw.

Run it with ``python examples/quickstart.py``; it takes about two minutes on two cores and downloads nothing.
"""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modalsplit import AttentiveBPR, DisentangledModalityEncoder, TfidfFeaturizer
from modalsplit.baselines import EASE, Popularity, PopularityOfNeighbours
from modalsplit.datasets import load_wines
from modalsplit.evaluate import evaluate, hold_out_items, split_interactions

# Items and who took them. A tenth of the wines is cold: no interaction of theirs is used in training.
wines = load_wines()
interactions = wines.interactions.k_core(5)
items = wines.items.loc[interactions.item_ids]
warm, cold = hold_out_items(interactions, 0.1, random_state=0)
train, valid, test = split_interactions(interactions[warm], shares=(0.8, 0.1, 0.1), random_state=0)

# Two modalities: the structured profile, and the name on the label (`text` only repeats the profile).
lists = TfidfFeaturizer(20, vectorizer=CountVectorizer(token_pattern="[^|]+", binary=True))
profile = make_column_transformer(
    (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["type", "body", "acidity", "country", "region"]),
    (StandardScaler(), ["abv"]), (lists, "grapes"), (lists, "harmonize"),
)  # fmt: skip
pamd = Pipeline([
    ("features", ColumnTransformer([("profile", profile, list(items)), ("text", TfidfFeaturizer(150), "title")])),
    ("disentangle", DisentangledModalityEncoder(64, missing="translate", random_state=0, verbose=1)),
    ("recommend", AttentiveBPR(random_state=0, verbose=1)),
]).set_output(transform="pandas").fit(items.iloc[warm], train)  # fmt: skip

# The same ranking of all unseen wines for everybody's held-out ones, beside simple and strong yardsticks.
parts = pamd[:-1].transform(items)
models = {
    "popularity": Popularity().fit(parts.iloc[warm], train),
    "EASE": EASE().fit(parts.iloc[warm], train),
    "AttentiveBPR, no content": AttentiveBPR(64, parts=None, random_state=0, verbose=1).fit(parts.iloc[warm], train),
    "AttentiveBPR, PAMD parts": pamd[-1],
}
neighbours = PopularityOfNeighbours().fit(parts.iloc[warm], train).decision_function(parts.iloc[cold])
cold_scores = {
    "random": np.random.default_rng(0).random((len(cold), interactions.shape[1])),
    "popularity of similar wines": neighbours,
    "AttentiveBPR, PAMD parts": pamd.decision_function(items.iloc[cold]),
}


def table(results):
    rows = {name: result.summary(random_state=0) for name, result in results.items()}
    shown = {n: (f"{r['mean']:.3f} [{r.low:.3f}, {r.high:.3f}]" for _, r in s.iterrows()) for n, s in rows.items()}
    return pd.DataFrame(shown, index=["Recall@10", "NDCG@10"]).T.to_string()


print("\nKnown wines, full ranking, test interactions (mean and 95 % interval over users)")
print(table({name: evaluate(model, test, seen=train + valid) for name, model in models.items()}))
print("\nCold wines, ranked among themselves")
print(table({name: evaluate(scores, interactions[cold]) for name, scores in cold_scores.items()}))

encoder = pamd["disentangle"]
print(f"\nProfile and label share {encoder.common_rank_} directions; residual share {encoder.residual_share_:.3f} "
      "(covariance between the modalities that the specific parts still carry: 0 is best)")  # fmt: skip

user = interactions.user_ids[0]
print(f"\nFive wines for user {user}, and what drove each")
for item in pamd[-1].recommend([user], k=5).ids[0]:
    shares = pamd[-1].explain(user, item)[list(pamd[-1].part_names_)]  # without popularity and the item itself
    print(f"  {items.title[item]:<40} {items.country[item]:<14} {shares.idxmax()} ({shares.max():+.2f})")
