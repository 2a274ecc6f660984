"""The paper's full pipeline, ready made: raw items in, recommendations out."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from modalsplit.encoder import DisentangledModalityEncoder
from modalsplit.featurize import GloveFeaturizer, VGG19Featurizer
from modalsplit.recommend import AttentiveBPR


def make_pamd_pipeline(
    image: Any = None,
    text: Any = None,
    *,
    n_components: int | None = None,
    encoder: Any = None,
    recommender: Any = None,
    columns: tuple[Any, Any] = ("image", "text"),
    memory: Any = None,
) -> Pipeline:
    """Make the three-step Pipeline: featurize, disentangle, recommend.

    It is a plain scikit-learn Pipeline with pandas output, so that the index of the items reaches the
    recommender as their ids. The steps are named "features", "disentangle" and "recommend".

    Parameters
    ----------
    image : transformer, default=VGG19Featurizer()
        Turns the first column into features.
    text : transformer, default=GloveFeaturizer()
        Turns the second column into features.
    n_components : int or None, default=None
        Columns of each part; ignored if `encoder` is given.
    encoder : estimator, optional
        By default ``DisentangledModalityEncoder(n_components, missing="translate")``: an item without a
        picture or a text is no reason to stop.
    recommender : estimator, default=AttentiveBPR()
        Ranks the items.
    columns : tuple of two, default=("image", "text")
        Columns of the items' DataFrame: a name gives the featurizer a column, a list of names a table.
    memory : str or joblib.Memory, optional
        Where to cache fitted steps.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted: ``fit(items, interactions)`` takes a DataFrame with one row an item, whose index
        holds the ids, and a sparse matrix of items x users.

    See Also
    --------
    DisentangledModalityEncoder : The second step.
    AttentiveBPR : The third step, ``pipeline[-1]``.

    References
    ----------
    Han et al., WWW 2022, Fig. 2.

    Examples
    --------
    >>> from modalsplit import make_pamd_pipeline
    >>> pipeline = make_pamd_pipeline(n_components=100)
    >>> list(pipeline.named_steps)
    ['features', 'disentangle', 'recommend']
    """
    features = ColumnTransformer(
        [
            ("image", VGG19Featurizer() if image is None else image, columns[0]),
            ("text", GloveFeaturizer() if text is None else text, columns[1]),
        ],
        sparse_threshold=0,
    )
    if encoder is None:
        encoder = DisentangledModalityEncoder(n_components, missing="translate")
    steps = [
        ("features", features),
        ("disentangle", encoder),
        ("recommend", AttentiveBPR() if recommender is None else recommender),
    ]
    return Pipeline(steps, memory=memory).set_output(transform="pandas")
