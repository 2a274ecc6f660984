"""The graph computes in onnxruntime what the encoder computes."""

import builtins

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from scipy.special import erfcx
from sklearn.exceptions import NotFittedError

from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities
from modalsplit.onnx import _exponent, to_onnx


def made(kind="linear", n_items=120, dtype=np.float32):
    data = make_modalities(
        n_items, kind=kind, n_shared=2, n_private=2, n_features=(16, 12), random_state=0, dtype=dtype
    )
    return data.X_img, data.X_txt


def computed(encoder, views, path):
    """Run the graph; common and specific parts of all modalities, side by side as `transform` has them."""
    to_onnx(encoder, path)
    onnx.checker.check_model(path, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    assert [one.name for one in session.get_inputs()] == list(encoder.modality_names_)
    names = encoder.modality_names_
    assert [one.name for one in session.get_outputs()] == [f"{m}_{p}" for p in ("common", "specific") for m in names]
    return np.hstack(session.run(None, dict(zip(names, views, strict=True))))


def assert_alike(ours, expected):
    scale = np.sqrt(np.nanmean(np.square(expected)))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * scale)
    assert ours.dtype == expected.dtype


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"objective": "cca"}, np.float32),
        ({"objective": "paper", "extractor": "linear"}, np.float64),
        ({"objective": "official", "extractor": "learned"}, np.float64),
        ({"objective": "stable", "extractor": "mlp"}, np.float32),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value.__name__,
)
def test_graph_computes_what_the_encoder_does(tmp_path, options, dtype):
    views = made(dtype=dtype)
    encoder = DisentangledModalityEncoder(5, max_epochs=2, random_state=0, **options).fit(*views)
    ours = computed(encoder, [view[:7] for view in views], tmp_path / "encoder.onnx")  # another number of items
    assert_alike(ours, np.hstack(encoder.transform(*(view[:7] for view in views))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_are_exported(tmp_path, dtype):
    views = made("quadratic", 500, dtype)
    encoder = DisentangledModalityEncoder(6, max_epochs=30, random_state=0).fit(*views)
    assert "ProductFeatures" in {type(module).__name__ for module in encoder.module_.modules()}
    assert_alike(computed(encoder, views, tmp_path / "encoder.onnx"), np.hstack(encoder.transform(*views)))


def test_learned_features_are_exported(tmp_path):
    views = made("sine", 600, np.float64)
    encoder = DisentangledModalityEncoder(6, max_epochs=30, random_state=0).fit(*views)
    assert "FeatureNetwork" in {type(module).__name__ for module in encoder.module_.modules()}
    assert_alike(computed(encoder, views, tmp_path / "encoder.onnx"), np.hstack(encoder.transform(*views)))


@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
def test_rectified_columns_are_exported(tmp_path, dtype):
    image, text = made("raw", 1000, dtype)
    text = text + dtype(0.01) * np.random.RandomState(0).randn(*text.shape).astype(dtype)  # only one is rectified
    encoder = DisentangledModalityEncoder(6, max_epochs=30, random_state=0).fit(image, text)
    assert "Uncensor" in {type(module).__name__ for module in encoder.module_.modules()}
    ours = computed(encoder, [image, text], tmp_path / "encoder.onnx")
    assert_alike(ours, np.hstack(encoder.transform(image, text)))


@pytest.mark.parametrize("missing", ["translate", "nan", "error"])
def test_missing_modalities_are_rows_of_nan(tmp_path, missing):
    image, text = made()
    views = {"image": image, "text": text, "sound": np.tanh(image[:, :9] + text[:, :9])}
    blocks = [pd.DataFrame(view).add_prefix(f"{name}__") for name, view in views.items()]
    X = pd.concat(blocks, axis=1)
    encoder = DisentangledModalityEncoder(5, objective="cca", missing=missing, random_state=0).fit(X)
    X.iloc[3, :16] = np.nan
    X.iloc[4, 17] = np.nan
    X.iloc[5, 16:] = np.nan
    X.iloc[6] = np.nan
    cut = [X.filter(like=f"{name}__").to_numpy() for name in views]
    ours = computed(encoder, cut, tmp_path / "encoder.onnx")
    if missing == "error":  # a graph cannot refuse
        encoder.set_params(missing="nan")
    assert_alike(ours, encoder.transform(X))


def test_polynomial_is_erfcx():
    x = np.concatenate([np.linspace(0, 50, 5001), np.logspace(2, 6, 100)])
    t = 2 / (2 + x)
    ours = t * np.exp(np.polynomial.Polynomial(_exponent())(2 * t - 1))
    np.testing.assert_allclose(ours, erfcx(x), rtol=1e-9)


def test_export_needs_a_fitted_encoder_and_a_folder(tmp_path):
    with pytest.raises(NotFittedError):
        to_onnx(DisentangledModalityEncoder(), tmp_path / "encoder.onnx")
    encoder = DisentangledModalityEncoder(5, objective="cca", random_state=0).fit(*made())
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        to_onnx(encoder, tmp_path / "no" / "encoder.onnx")
    assert list(tmp_path.iterdir()) == []


def test_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    found = builtins.__import__

    def without_onnxscript(name, *args, **kwargs):
        if name == "onnxscript":
            raise ImportError("No module named 'onnxscript'")
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnxscript)
    with pytest.raises(ImportError, match=r"pip install 'modalsplit\[onnx\]'"):
        to_onnx(DisentangledModalityEncoder(), tmp_path / "encoder.onnx")
