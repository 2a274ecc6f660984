"""Data sets with their features, and what methods see of them: features as they are, parts, codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.paper.readers import READERS, prepare
from benchmarks.recommend import ROOT, posters, wines
from benchmarks.recommend import plots as sentences
from modalsplit import DisentangledModalityEncoder, GloveFeaturizer, Interactions, VGG19Featurizer
from modalsplit.baselines import CorrAE
from modalsplit.evaluate import Split, interaction_folds

CACHE = ROOT / ".cache" / "paper"
N_COMPONENTS = 128
SPARSE = 10  # interactions a user, in the sparsified form
MODALITIES = ("image", "text")
N_REGIONS, N_CHANNELS = 49, 32
PICTURES_AT_ONCE = 500
OBJECTIVES = ("stable", "cca", "official", "paper", "con", "en", "de")


@dataclass(frozen=True, eq=False)
class Case:
    """Items with raw features in two blocks, and who took them.

    `features` has the columns ``image__0`` and so on of two modalities, NaN where an item lacks one. `pictures` are the files
    that VECF reads regions of. `encoder` are settings of the encoder that are not its defaults. `source` names the case that
    has the same features, if there is one. `others` are interactions that are in no part of the data, for a second judgement.
    """

    name: str
    features: pd.DataFrame
    interactions: Interactions
    fold: int = 0
    pictures: list[Path] | None = None
    encoder: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    others: Interactions | None = None

    @property
    def split(self) -> Split:
        """The paper's 3:1:1: one of five folds for the test, the next one to choose settings."""
        return interaction_folds(self.interactions, random_state=0)[self.fold]

    @property
    def blocks(self) -> dict[str, pd.DataFrame]:
        return blocks_of(self.features)


def blocks_of(features: pd.DataFrame) -> dict[str, pd.DataFrame]:
    prefixes = features.columns.str.split("__").str[0]
    return {name: features.loc[:, prefixes == name] for name in dict.fromkeys(prefixes)}


def load(name: str, folder: Path | None, vgg19: Path | None = None, glove: Path | None = None) -> Case:
    """Read a data set; ``-sparse`` at the end of its name asks for the sparsified form.

    Without `vgg19` and `glove` pictures become 1,280 features of EfficientNet-Lite0 and texts 384 of MiniLM, whose
    weights are in the ``weights`` extra.
    """
    if name.endswith("-sparse"):
        return sparsified(load(name.removesuffix("-sparse"), folder, vgg19, glove))
    if name == "wines":
        return Case(name, *wines())
    folder = folder or ROOT.parent / "shared" / "data" / f"{name}-mm"
    if not folder.exists():
        raise ValueError(f"{folder} does not exist. Pass --folder with the folder that has the files of {name!r}.")
    catalogue = prepare(READERS[name](folder))
    text = catalogue.items["text"].tolist()
    blocks = {
        "image": catalogue.image_features
        if catalogue.image_features is not None
        else kept(
            f"{name}-{'vgg19' if vgg19 else 'lite0'}",
            lambda: (
                np.asarray(VGG19Featurizer(vgg19).fit_transform(catalogue.images))
                if vgg19
                else posters(catalogue.images)
            ),
        ),
        "text": kept(
            f"{name}-{'glove' if glove else 'minilm'}",
            lambda: np.asarray(GloveFeaturizer(glove).fit_transform(text)) if glove else sentences(text),
        ),
    }
    frames = [pd.DataFrame(x, index=catalogue.items.index).add_prefix(f"{block}__") for block, x in blocks.items()]
    return Case(name, pd.concat(frames, axis=1), catalogue.interactions, pictures=catalogue.images)


def sparsified(case: Case) -> Case:
    """Leave each user `SPARSE` interactions at random; the catalogue stays whole.

    `others` are those taken away that the whole data set has in its first test part.
    """
    Y = case.interactions
    rng = np.random.default_rng(0)
    item, user = Y.nonzero()
    order = rng.permutation(len(user))
    place = pd.Series(user[order]).groupby(user[order]).cumcount().to_numpy()
    chosen = order[place < SPARSE]
    few = np.zeros(len(user), dtype=np.float32)
    few[chosen] = 1
    taken = type(Y.tocsr())((few, (item, user)), shape=Y.shape)
    taken.eliminate_zeros()
    test = sparse.csr_array(case.split.test)
    others = sparse.csr_array(test - test.multiply(sparse.csr_array(taken)))
    others.eliminate_zeros()
    return replace(
        case,
        name=f"{case.name}-sparse",
        source=case.name,
        interactions=Interactions(taken, item_ids=Y.item_ids, user_ids=Y.user_ids),
        others=Interactions(others, item_ids=Y.item_ids, user_ids=Y.user_ids),
    )


def masked(case: Case, share: float, which: str, seed: int) -> Case:
    """Take features from a share of the items: of both modalities together, or of one (Fig. 3b)."""
    chosen = np.random.default_rng([seed, 3]).permutation(len(case.features))[: round(share * len(case.features))]
    features = case.features.copy()
    blocks = list(case.blocks.values())
    hit = blocks if which == "both" else [blocks[MODALITIES.index(which)]]
    features.loc[features.index[chosen], [column for block in hit for column in block]] = np.nan
    of = f", {which} {share:.0%} masked"
    return replace(case, name=case.name + of, source=case.source and case.source + of, features=features)


class Reduced(TransformerMixin, BaseEstimator):
    """Each modality standardised and reduced to its leading principal components; NaN where an item lacks it.

    As many components as a part has columns: both parts of a modality sum to a primitive of that width.
    """

    def __init__(self, n_components: int, only: str | None = None, random_state: int = 0) -> None:
        self.n_components = n_components
        self.only = only
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: None = None) -> Self:
        self.reducers_ = {}
        for name, block in blocks_of(X).items():
            complete = block.dropna()
            if len(complete) and self.only in (None, name):
                n = min(self.n_components, block.shape[1], len(complete) - 1)
                reducer = make_pipeline(StandardScaler(), PCA(n, random_state=self.random_state))
                self.reducers_[name] = reducer.fit(complete)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        frames = []
        for name, reducer in self.reducers_.items():
            block = blocks_of(X)[name]
            present = block.notna().all(axis=1)
            out = pd.DataFrame(np.nan, index=X.index, columns=range(reducer[-1].n_components_))
            out.loc[present] = reducer.transform(block[present])
            frames.append(out.add_prefix(f"{name}__"))
        return pd.concat(frames, axis=1)


class Nothing(TransformerMixin, BaseEstimator):
    """No content: one column of zeros."""

    def fit(self, X: pd.DataFrame, y: None = None) -> Self:
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(0.0, index=X.index, columns=["nothing__0"])


def representation(what: str, seed: int, **settings: object) -> Any:
    """Make the transformer from features to what a method sees: "none", "raw", one modality, "codes" or an objective.

    An ablation names its family: ``"con/official"``.
    """
    if what == "none":
        return Nothing()
    if what == "codes":
        imputed = SimpleImputer(keep_empty_features=True).set_output(transform="pandas")
        codes = CorrAE(N_COMPONENTS, random_state=seed, **settings)
        return make_pipeline(imputed, codes.set_output(transform="pandas"))
    objective, _, family = what.partition("/")
    if objective not in OBJECTIVES:
        return Reduced(N_COMPONENTS, only=None if what == "raw" else what, random_state=seed)
    if family:
        settings["family"] = family
    encoder = DisentangledModalityEncoder(
        N_COMPONENTS, objective=objective, missing="nan", random_state=seed, **settings
    )
    return encoder.set_output(transform="pandas")


def content(case: Case, what: str, seed: int) -> pd.DataFrame:
    """Compute what a method sees of the items, by a representation fitted on all of them; kept in the cache."""
    if what == "regions":
        return kept_frame(CACHE / (case.source or case.name) / "regions.parquet", lambda: regions(case))
    path = CACHE / (case.source or case.name) / f"{what.replace('/', '-')}-{seed}.parquet"
    return kept_frame(path, lambda: representation(what, seed, **case.encoder).fit_transform(case.features))


class NoPicturesError(ValueError):
    """A method looks at regions of pictures, and the data set has no pictures."""


def regions(case: Case) -> pd.DataFrame:
    """Compute 7 x 7 regions of each picture by EfficientNet-Lite0, reduced to `N_CHANNELS` principal components."""
    if case.pictures is None:
        raise NoPicturesError(f"{case.name} has no pictures.")
    reducer, blocks = None, []
    for start in range(0, len(case.pictures), PICTURES_AT_ONCE):
        maps = posters(
            case.pictures[start : start + PICTURES_AT_ONCE], lambda x: x.flatten(2).transpose(1, 2).flatten(1)
        )
        maps = maps.reshape(len(maps) * N_REGIONS, -1)
        reducer = reducer or PCA(N_CHANNELS, random_state=0).fit(maps)
        scale = np.sqrt(reducer.explained_variance_[0])
        blocks.append(reducer.transform(maps).reshape(-1, N_REGIONS * N_CHANNELS) / scale)
    table = pd.DataFrame(np.concatenate(blocks).astype(np.float32), index=case.features.index)
    return table.add_prefix("regions__")


def kept_frame(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Read a table, or make and keep it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        make().to_parquet(beside)
        beside.replace(path)
    return pd.read_parquet(path)


def kept(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    return kept_frame(CACHE / f"{name}.parquet", lambda: pd.DataFrame(make()).rename(columns=str)).to_numpy()
