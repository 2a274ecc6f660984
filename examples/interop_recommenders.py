"""Train other libraries' models with raw features and with our parts, and judge both on interactions nobody saw.

Run it with ``python examples/interop_recommenders.py``; it takes about a minute and downloads nothing. Libraries that are not
installed are left out: ``pip install modalsplit[cornac,implicit,lightfm]``; RecTools wants NumPy 1. A few epochs on 2,000 users
show how it is done; ``docs/results/interop.md`` has the figures.
"""

from importlib.util import find_spec

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modalsplit import DisentangledModalityEncoder, TfidfFeaturizer
from modalsplit.datasets import load_wines
from modalsplit.evaluate import dot_product, evaluate, split_interactions
from modalsplit.interop import item_blocks, to_cornac, to_implicit, to_lightfm, to_rectools

wines = load_wines()
Y = wines.interactions[:, :2500].k_core(5)
items = wines.items.loc[Y.item_ids]
train, valid, test = split_interactions(Y, shares=(0.8, 0.1, 0.1), random_state=0)

# The profile of a wine and the name on its label, as blocks; then raw features and parts of one width and length.
grapes = TfidfFeaturizer(20, vectorizer=CountVectorizer(token_pattern="[^|]+", binary=True))
profile = make_column_transformer(
    (OneHotEncoder(sparse_output=False), ["type", "body", "acidity", "country"]), (StandardScaler(), ["abv"]),
    (grapes, "grapes"),
)  # fmt: skip
features = ColumnTransformer([("profile", profile, list(items)), ("text", TfidfFeaturizer(100), "title")])
X = features.set_output(transform="pandas").fit_transform(items)
encoder = DisentangledModalityEncoder(16, objective="cca", random_state=0).set_output(transform="pandas")
parts = encoder.fit_transform(X)
raw = make_pipeline(StandardScaler(), PCA(parts.shape[1], random_state=0)).fit_transform(X)
raw = pd.DataFrame(raw, index=X.index).add_prefix("raw__")
inputs = {
    name: item_blocks(Z / np.linalg.norm(Z, axis=1).mean(), made_by=maker)
    for name, Z, maker in (("raw features", raw, "StandardScaler and PCA"), ("our parts", parts, encoder))
}


def cornac(content):
    from cornac.data import Dataset
    from cornac.models import VBPR

    taken = train.tocoo()
    feedback = [(train.user_ids[u], train.item_ids[i], 1.0) for i, u in zip(*taken.coords, strict=True)]
    users, known = ({name: n for n, name in enumerate(ids)} for ids in (train.user_ids, train.item_ids))
    data = Dataset.build(feedback, global_uid_map=users, global_iid_map=known, seed=0)
    data.add_modalities(**{kind: m.build(id_map=known) for kind, m in to_cornac(content, train.item_ids).items()})
    model = VBPR(n_epochs=5, seed=0, verbose=False).fit(data)
    return lambda block: np.stack([model.score(user) for user in block])


def implicit(content):
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=64, regularization=10.0, iterations=0, num_threads=1, random_state=0)
    users_by_items = sparse.csr_matrix(train.T)
    to_implicit(content, model, train.item_ids).fit(users_by_items, show_progress=False)
    users = model.recalculate_user(np.arange(users_by_items.shape[0]), users_by_items)
    return dot_product(users, model.item_factors)


def lightfm(content):
    from lightfm import LightFM

    item_features = to_lightfm(content, train.item_ids)
    model = LightFM(loss="warp", random_state=0)
    model.fit(sparse.coo_matrix(train.T), item_features=item_features, epochs=10)
    biases, vectors = model.get_item_representations(item_features)
    return dot_product(np.c_[model.user_embeddings, np.ones(train.shape[1])], np.c_[vectors, biases])


def rectools(content):
    from implicit.als import AlternatingLeastSquares
    from rectools.dataset import Dataset
    from rectools.models import ImplicitALSWrapperModel

    taken = train.tocoo()
    table = pd.DataFrame({"user_id": train.user_ids[taken.col], "item_id": train.item_ids[taken.row]})
    table = table.assign(weight=1.0, datetime=pd.Timestamp("2020-01-01"))
    frame = to_rectools(content, train.item_ids)
    data = Dataset.construct(table, item_features_df=frame, make_dense_item_features=True)
    als = AlternatingLeastSquares(16, regularization=10.0, num_threads=1, use_gpu=False, random_state=0)
    model = ImplicitALSWrapperModel(als, fit_features_together=True).fit(data)
    listed = model.recommend(train.user_ids, data, k=10, filter_viewed=True)
    scores = np.full(train.shape, -1.0)
    rows, columns = (
        pd.Index(train.item_ids).get_indexer(listed.item_id),
        pd.Index(train.user_ids).get_indexer(listed.user_id),
    )
    scores[rows, columns] = 1 / listed["rank"]
    return scores


print("NDCG@10 on test interactions, all unseen wines ranked")
for library in (cornac, implicit, lightfm, rectools):
    if find_spec(library.__name__) is None:
        print(f"  {library.__name__} is not installed and left out")
        continue
    for name, content in inputs.items():
        found = evaluate(library(content), test, seen=train + valid)
        print(f"  {library.__name__}, {name}: {found.per_user['ndcg@10'].mean():.3f}", flush=True)
