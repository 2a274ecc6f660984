"""A small catalogue whose titles, texts, ids and users try to be markup."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.pipeline import Pipeline

import modalsplit
from modalsplit import AttentiveBPR, DisentangledModalityEncoder, Interactions
from modalsplit.datasets import make_modalities

N = 90
ATTACKS = [
    "<script>window.attacked = true</script>",
    "</script><script>window.attacked = true</script>",
    '<img src=x onerror="window.attacked = true">',
    "<!--<script>",
    "'\"><svg onload=window.attacked=true>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.attacked=true",
    "& &lt; \u2028 \N{GRINNING FACE}",
]


class Shop:
    """A fitted pipeline and its data."""

    def __init__(self):
        data = make_modalities(N, n_shared=3, n_private=3, n_features=(12, 10), random_state=0)
        names = [*(f"image__{i}" for i in range(12)), *(f"text__{i}" for i in range(10))]
        ids = [f"i{row:02d}" for row in range(N)]
        ids[: len(ATTACKS)] = [f"{attack} id" for attack in ATTACKS]
        self.features = pd.DataFrame(np.hstack([data.X_img, data.X_txt]), index=ids, columns=names)
        self.features.iloc[20, :12] = np.nan
        rng = np.random.default_rng(0)
        titles = [*ATTACKS, *(f"Wine number {row}" for row in range(len(ATTACKS), N))]
        pictures = [Image.fromarray(rng.integers(0, 255, (60, 40, 3), dtype=np.uint8)) for _ in range(N)]
        pictures[5] = None
        self.items = pd.DataFrame(
            {"title": titles, "text": [f"{title} and its text" for title in titles], "image": pictures}, index=ids
        )
        taken = (rng.random((N, 30)) < np.linspace(0.4, 0.05, N)[:, None]).astype(np.float32)
        users = [*ATTACKS, *(f"u{column}" for column in range(len(ATTACKS), 30))]
        self.taken = Interactions(taken, item_ids=ids, user_ids=users)
        steps = [
            ("disentangle", DisentangledModalityEncoder(6, objective="cca", common_rank=3, missing="translate")),
            ("recommend", AttentiveBPR(6, max_epochs=3, random_state=0)),
        ]
        self.pipeline = Pipeline(steps).set_output(transform="pandas").fit(self.features, self.taken)

    def report(self, path, **options):
        return modalsplit.report(
            self.pipeline, self.items, self.taken, path, **({"features": self.features, "users": 9} | options)
        )


@pytest.fixture(scope="session")
def shop():
    return Shop()


@pytest.fixture(scope="session")
def page(shop, tmp_path_factory):
    return shop.report(tmp_path_factory.mktemp("report") / "catalogue.html", heading="Wines </title><script>")
