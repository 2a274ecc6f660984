"""What is loaded computes the same, bit by bit, and nothing else is loaded."""

import hashlib
import json
import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from gensim.models import KeyedVectors
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

import modalsplit
from modalsplit import AttentiveBPR, DisentangledModalityEncoder, baselines
from modalsplit.datasets import make_modalities
from modalsplit.exceptions import ConvergenceError
from modalsplit.featurize import GloveFeaturizer, ImageFeaturizer, TfidfFeaturizer, VGG19Featurizer
from modalsplit.files._archive import digest

N_ITEMS, N_USERS = 90, 25
OBJECTIVES = ["stable", "cca", "paper", "paper_literal", "official", "con", "en", "de"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def again(path):
    """Save and load."""

    def through_a_file(estimator, **options):
        modalsplit.save(estimator, path, **options)
        return modalsplit.load(path, **options)

    return through_a_file


@pytest.fixture(scope="module")
def items():
    data = make_modalities(N_ITEMS, n_features=(12, 9), random_state=0)
    blocks = {"image": data.X_img, "text": data.X_txt}
    return pd.concat(
        [
            pd.DataFrame(X, columns=[f"{name}__{i}" for i in range(X.shape[1])], index=[f"i{k}" for k in range(len(X))])
            for name, X in blocks.items()
        ],
        axis=1,
    )


@pytest.fixture(scope="module")
def taken():
    return (np.random.RandomState(0).rand(N_ITEMS, N_USERS) < 0.2).astype(float)


@pytest.fixture(scope="module")
def parts(items):
    encoder = DisentangledModalityEncoder(4, objective="cca", random_state=0).set_output(transform="pandas")
    return encoder.fit_transform(items)


def same_state(first, second):
    """Compare everything that two estimators hold."""
    assert list(vars(first)) == list(vars(second))
    for value, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert type(value) is type(other)
        if isinstance(value, nn.Module):
            torch.testing.assert_close(value.state_dict(), other.state_dict(), rtol=0, atol=0)
        elif isinstance(value, np.ndarray):
            assert value.dtype == other.dtype
            np.testing.assert_array_equal(value, other)
        elif sparse.issparse(value):
            assert abs(value - other).nnz == 0
        else:
            assert repr(value) == repr(other)


# The encoder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoder_of_any_objective_transforms_alike(again, items, objective, dtype):
    X = items.astype(dtype)
    encoder = DisentangledModalityEncoder(4, objective=objective, max_epochs=3, random_state=0)
    loaded = again(encoder.fit(X))
    same_state(encoder, loaded)
    np.testing.assert_array_equal(loaded.transform(X), encoder.transform(X))
    assert loaded.transform(X).dtype == dtype
    np.testing.assert_array_equal(loaded.fit(X).transform(X), encoder.transform(X))


@pytest.mark.parametrize("extractor", ["linear", "mlp"])
def test_trained_extractors_transform_alike(again, items, extractor):
    encoder = DisentangledModalityEncoder(4, objective="paper", extractor=extractor, max_epochs=2, random_state=0)
    encoder.fit(items)
    np.testing.assert_array_equal(again(encoder).transform(items), encoder.transform(items))


def kinds_of_modules(encoder):
    return {type(module).__name__ for module in encoder.module_.modules()}


@pytest.mark.parametrize(
    ("kind", "n_items", "expected"),
    [
        ("linear", 300, {"Anchors"}),
        ("quadratic", 500, {"LearnedPrimitive", "ProductFeatures"}),
        ("raw", 1000, {"LearnedPrimitive", "FeatureNetwork", "Uncensor"}),
    ],
)
def test_every_kind_of_primitive_of_stable_transforms_alike(again, kind, n_items, expected):
    data = make_modalities(n_items, kind=kind, n_shared=2, n_private=2, n_features=(16, 12), random_state=0)
    encoder = DisentangledModalityEncoder(6, random_state=0, max_epochs=30).fit(data.X_img, data.X_txt)
    assert expected <= {type(module).__name__ for module in encoder.module_.modules()}
    loaded = again(encoder).transform(data.X_img, data.X_txt)
    for part, expected_part in zip(loaded, encoder.transform(data.X_img, data.X_txt), strict=True):
        np.testing.assert_array_equal(part, expected_part)


@pytest.mark.parametrize("missing", ["translate", "nan"])
def test_three_modalities_with_gaps_transform_alike(again, items, missing):
    third = pd.DataFrame(items.to_numpy()[:, 5:12] ** 2, index=items.index).add_prefix("sound__")
    X = pd.concat([items, third], axis=1)
    X.iloc[:10, :12] = np.nan
    X.iloc[20:25, 12:21] = np.nan
    encoder = DisentangledModalityEncoder(4, missing=missing, objective="cca", random_state=0).fit(X)
    loaded = again(encoder)
    np.testing.assert_array_equal(loaded.transform(X), encoder.transform(X))
    np.testing.assert_array_equal(loaded.missing_modalities(X), encoder.missing_modalities(X))


def test_pair_fitted_encoder_takes_one_modality(again, items):
    image, text = items.to_numpy()[:, :12], items.to_numpy()[:, 12:]
    encoder = DisentangledModalityEncoder(4, objective="cca", missing="translate", random_state=0).fit(image, text)
    loaded = again(encoder)
    assert loaded.fit_mode_ == "pair"
    np.testing.assert_array_equal(loaded.transform(image), encoder.transform(image))
    np.testing.assert_array_equal(loaded.transform(None, text).common, encoder.transform(None, text).common)


def test_parameters_names_and_output_are_kept(again, items):
    parameters = {"n_components": 4, "objective": "cca", "split": ("image", "text"), "output": "common", "ridge": 0.5}
    encoder = DisentangledModalityEncoder(**parameters, random_state=np.random.RandomState(3))
    loaded = again(encoder.set_output(transform="pandas").fit(items))
    assert loaded.get_params().items() >= parameters.items()
    assert loaded.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()
    assert loaded.random_state.randint(1000, size=3).tolist() == encoder.random_state.randint(1000, size=3).tolist()
    pd.testing.assert_frame_equal(loaded.transform(items), encoder.transform(items), check_exact=True)
    assert not hasattr(clone(loaded), "module_")


def test_diverged_encoder_keeps_its_last_finite_state(again, items):
    encoder = DisentangledModalityEncoder(4, objective="paper_literal", learning_rate=1.0, random_state=0)
    with pytest.raises(ConvergenceError):
        encoder.fit(items)
    np.testing.assert_array_equal(again(encoder).transform(items), encoder.transform(items))


def test_unfitted_estimator_is_its_parameters(again):
    loaded = again(DisentangledModalityEncoder("auto", objective="official", temperature=0.3))
    assert (loaded.n_components, loaded.objective, loaded.temperature) == ("auto", "official", 0.3)
    assert not hasattr(loaded, "module_")


# Recommenders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"users": "embedding", "attention": "user", "fine_tune": True, "projection": False},
        {"parts": None, "item_bias": False},
        {"early_stopping": True, "sampling": "interactions", "loss": "bpr"},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_recommender_recommends_alike(again, parts, taken, options):
    model = AttentiveBPR(max_epochs=2, random_state=0, **options).fit(parts, taken)
    loaded = again(model)
    same_state(model, loaded)
    for ours, theirs in zip(loaded.recommend(k=5), model.recommend(k=5), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    cold = parts.iloc[:7].reset_index(drop=True)
    np.testing.assert_array_equal(loaded.predict(cold), model.predict(cold))
    np.testing.assert_array_equal(loaded.seen(parts).toarray(), model.seen(parts).toarray())
    np.testing.assert_array_equal(loaded.fold_in(taken[:, :3]), model.fold_in(taken[:, :3]))
    pd.testing.assert_series_equal(loaded.explain(3, "i4"), model.explain(3, "i4"), check_exact=True)
    np.testing.assert_array_equal(loaded.fit(parts, taken).item_vectors_, model.item_vectors_)


@pytest.mark.parametrize("name", baselines.__all__)
def test_baseline_computes_alike(again, items, taken, name):
    model = getattr(baselines, name)()
    if "max_epochs" in model.get_params():
        model.set_params(max_epochs=1)
    if name == "CorrAE":
        model.fit(items)
        np.testing.assert_array_equal(again(model).transform(items), model.transform(items))
        return
    model.fit(items, taken)
    loaded = again(model)
    np.testing.assert_array_equal(loaded.predict(items), model.predict(items))
    cold = items.iloc[:5].reset_index(drop=True)
    np.testing.assert_array_equal(loaded.predict(cold), model.predict(cold))


@pytest.mark.parametrize(
    "ids",
    [
        pd.Index([f"B0{k:03d}" for k in range(N_ITEMS)], dtype=object),
        pd.Index([f"{k} été 酒" for k in range(N_ITEMS)]),
        pd.date_range("2020-01-01", periods=N_ITEMS),
        pd.Index([k if k % 2 else str(k) for k in range(N_ITEMS)], dtype=object),
        pd.Index(np.arange(N_ITEMS) * 0.5),
    ],
    ids=["object", "str", "date", "mixed", "float"],
)
def test_ids_of_any_kind_are_recognised(again, parts, taken, ids):
    X = parts.set_axis(ids)
    loaded = again(AttentiveBPR(max_epochs=1, random_state=0).fit(X, pd.DataFrame(taken, index=ids)))
    assert loaded.item_ids_.tolist() == ids.to_numpy().tolist()
    assert loaded.seen(X).nnz == taken.sum()


# Featurizers and pipelines ----------------------------------------------------------------------------

TEXTS = ["a dry red wine", "a sweet white wine", "dark fruit, red berries", None, "berries and oak", "white peach"]


def test_tfidf_featurizes_alike(again):
    featurizer = TfidfFeaturizer(3, vectorizer=TfidfVectorizer(ngram_range=(1, 2), stop_words=["a"])).fit(TEXTS)
    featurizer.transform(TEXTS)
    loaded = again(featurizer)
    np.testing.assert_array_equal(loaded.transform(TEXTS), featurizer.transform(TEXTS))
    assert loaded.failed_ == featurizer.failed_
    assert loaded.vectorizer.ngram_range == (1, 2)


@pytest.mark.parametrize("pooling", ["concat", "mean", "tfidf", "sif"])
def test_word_vectors_that_were_given_are_kept(again, pooling):
    vectors = KeyedVectors(vector_size=4)
    words = sorted({word for text in TEXTS if text for word in text.replace(",", "").split()})
    vectors.add_vectors(words, np.random.RandomState(0).randn(len(words), 4))
    featurizer = GloveFeaturizer(vectors, pooling=pooling).fit(TEXTS)
    loaded = again(featurizer)
    np.testing.assert_array_equal(loaded.transform(TEXTS), featurizer.transform(TEXTS))
    assert loaded.coverage_ == featurizer.coverage_


def test_network_of_known_layers_is_kept(again):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pictures = [np.random.RandomState(seed).randint(255, size=(40, 30, 3), dtype=np.uint8) for seed in range(3)]
    featurizer = ImageFeaturizer(network, device=torch.device("cpu")).fit(pictures)
    np.testing.assert_array_equal(again(featurizer).transform(pictures), featurizer.transform(pictures))


def test_featurizer_keeps_where_its_network_comes_from(again, tmp_path):
    loaded = again(VGG19Featurizer(weights=tmp_path / "vgg19.pth", layer="pool5", cache_dir="cache"))
    assert (loaded.weights, loaded.layer, loaded.cache_dir) == (tmp_path / "vgg19.pth", "pool5", "cache")


@pytest.fixture(scope="module")
def raw_items(items):
    rng = np.random.RandomState(0)
    words = np.array(["red", "white", "oak", "plum", "dry", "sweet", "crisp", "old"])
    texts = [" ".join(words[rng.choice(8, size=4, replace=False)]) for _ in range(N_ITEMS)]
    return items.iloc[:, :6].assign(description=texts)


@pytest.fixture(scope="module")
def pipeline(raw_items, taken):
    features = ColumnTransformer(
        [
            ("image", make_pipeline(StandardScaler()), make_column_selector(pattern="^image__")),
            ("text", TfidfFeaturizer(5), "description"),
        ]
    )
    encoder = DisentangledModalityEncoder(4, objective="cca", common_rank=2, random_state=0)
    steps = [
        ("features", features),
        ("disentangle", encoder),
        ("recommend", AttentiveBPR(max_epochs=2, random_state=0)),
    ]
    return Pipeline(steps).set_output(transform="pandas").fit(raw_items, taken)


def test_pipeline_from_raw_items_recommends_alike(again, pipeline, raw_items):
    loaded = again(pipeline)
    np.testing.assert_array_equal(loaded.decision_function(raw_items), pipeline.decision_function(raw_items))
    pd.testing.assert_frame_equal(
        loaded[:-1].transform(raw_items), pipeline[:-1].transform(raw_items), check_exact=True
    )
    for ours, theirs in zip(loaded[-1].recommend(k=5), pipeline[-1].recommend(k=5), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert clone(loaded).get_params().keys() == pipeline.get_params().keys()


def test_pipeline_can_be_fitted_again(again, pipeline, raw_items, taken):
    loaded = again(pipeline).fit(raw_items, taken)
    np.testing.assert_array_equal(loaded.decision_function(raw_items), pipeline.decision_function(raw_items))


def test_passthrough_remainder_union_and_frozen_are_kept(again, items):
    scaled = FrozenEstimator(StandardScaler().fit(items.iloc[:, :4]))
    transformer = ColumnTransformer(
        [("frozen", scaled, list(items.columns[:4])), ("same", "passthrough", slice(4, 6)), ("none", "drop", [7])],
        remainder=FeatureUnion([("scaled", StandardScaler()), ("unchanged", FunctionTransformer())]),
    ).fit(items)
    np.testing.assert_array_equal(again(transformer).transform(items), transformer.transform(items))


class Doubling(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.factor_ = np.float64(2)
        return self

    def transform(self, X):
        return X * self.factor_


def test_class_of_the_user_is_saved_and_loaded_if_it_is_trusted(path, items):
    pipeline = make_pipeline(Doubling(), StandardScaler()).fit(items)
    with pytest.raises(TypeError, match=r"steps\.0\.1 cannot be saved: it is a test_save\.Doubling"):
        modalsplit.save(pipeline, path)
    assert not path.exists()
    modalsplit.save(pipeline, path, trusted=[Doubling])
    with pytest.raises(ValueError, match=r"of the class test_save\.Doubling, which is not known here"):
        modalsplit.load(path)
    loaded = modalsplit.load(path, trusted=[Doubling])
    np.testing.assert_array_equal(loaded.transform(items), pipeline.transform(items))
    assert type(loaded[0].factor_) is np.float64


def test_requests_for_metadata_are_kept(again):
    with config_context(enable_metadata_routing=True):
        model = AttentiveBPR().set_fit_request(item_ids="ids").set_predict_request(item_ids=True)
    loaded = again(model).get_metadata_routing()
    assert loaded.fit.requests["item_ids"] == "ids"
    assert loaded.predict.requests["item_ids"] is True


def test_callbacks_are_left_behind(again, items):
    callback = pytest.importorskip("sklearn.callback").ProgressBar()
    encoder = DisentangledModalityEncoder(3, objective="cca").set_callbacks(callback)
    assert not hasattr(again(encoder), "_skl_callbacks")


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (FunctionTransformer(np.log1p), "func cannot be saved"),
        (ImageFeaturizer(lambda batch: batch), r"network cannot be saved: it is a function, test_save\.<lambda>"),
        (TfidfFeaturizer(vectorizer=TfidfVectorizer(tokenizer=str.split)), r"vectorizer\.tokenizer cannot be saved"),
        (StandardScaler(copy=np.array([1j])), "copy cannot be saved: it is an array of dtype complex128"),
        (StandardScaler(copy=object()), r"copy cannot be saved: it is a builtins\.object"),
    ],
)
def test_what_would_need_code_is_not_saved(path, estimator, message):
    with pytest.raises(TypeError, match=message):
        modalsplit.save(estimator, path)
    assert list(path.parent.iterdir()) == []


def test_only_estimators_are_saved(path):
    with pytest.raises(TypeError, match="save writes estimators, but it was given a dict"):
        modalsplit.save({}, path)


def test_estimator_that_holds_itself_is_refused(path):
    scaler = StandardScaler()
    scaler.copy = [scaler]
    with pytest.raises(TypeError, match="something in it holds itself"):
        modalsplit.save(scaler, path)


def test_failed_save_keeps_what_was_there(path, monkeypatch):
    modalsplit.save(StandardScaler(with_mean=False), path)
    before = path.read_bytes()

    def full(arrays, unfinished, metadata):
        unfinished.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modalsplit.files._archive.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        modalsplit.save(StandardScaler(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_file_may_be_read_by_whom_the_umask_says(path):
    (path.parent / "plain").touch()
    modalsplit.save(StandardScaler(), path)
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode


def test_place_to_save_must_be_a_file_in_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        modalsplit.save(StandardScaler(), tmp_path / "no" / "model.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        modalsplit.save(StandardScaler(), tmp_path)
    with pytest.raises(ValueError, match="is a folder, but an estimator is one file"):
        modalsplit.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        modalsplit.load(tmp_path / "model.safetensors")


@pytest.fixture
def saved(path, items):
    encoder = DisentangledModalityEncoder(3, objective="cca", random_state=0).fit(items)
    modalsplit.save(encoder, path)
    return path


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"is no file that modalsplit\.save wrote, or it is cut off"):
        modalsplit.load(saved)


def test_any_changed_byte_is_noticed(saved):
    whole = saved.read_bytes()
    for at in range(0, len(whole), 11):
        changed = bytearray(whole)
        changed[at] ^= 0x11
        saved.write_bytes(changed)
        with pytest.raises(ValueError, match=r"safetensors"):
            modalsplit.load(saved)


def test_foreign_files_are_refused(path):
    path.write_bytes(b"\x80\x05 a pickle")
    with pytest.raises(ValueError, match="is no file that"):
        modalsplit.load(path)
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"but modalsplit\.save did not write it"):
        modalsplit.load(path)


def rewritten(path, change=lambda structure: structure, **about):
    """Change a file on purpose, with the right checksum."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    structure = change(json.loads(arrays["structure"].tobytes()))
    arrays["structure"] = np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)
    about = {**metadata, **about}
    del about["sha256"]
    save_file(arrays, path, metadata={**about, "sha256": digest(about, arrays)})
    return path


def test_unknown_version_is_refused(saved):
    with pytest.raises(ValueError, match=r"is of version 2 of the format, written by modalsplit 9\.0"):
        modalsplit.load(rewritten(saved, version="2", modalsplit="9.0"))


def with_class(name):
    def change(structure):
        structure["class"] = name
        return structure

    return change


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "subprocess.Popen", "modalsplit.encoder.os", "torch.load", "Pipeline", ""]
)
def test_unknown_class_is_refused(saved, name):
    with pytest.raises(ValueError, match="which is not known here"):
        modalsplit.load(rewritten(saved, with_class(name)))


def with_state(**state):
    def change(structure):
        structure["state"] |= state
        return structure

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_state(transform="x"), "would replace 'transform' of DisentangledModalityEncoder"),
        (with_state(__class__="x"), "would replace '__class__'"),
        (with_state(module_={"kind": "pickle", "data": "x"}), "makes no sense"),
        (with_state(module_={"kind": "array", "array": "no such"}), "makes no sense"),
        (with_state(module_={"kind": "class", "name": "os.system"}), "makes no sense"),
        (
            with_state(module_={"kind": "object", "class": "torch.nn.Linear", "state": {"forward": 1}}),
            "replace 'forward'",
        ),
        (with_state(module_={"kind": "array", "members": ["a"], "shape": [1], "dtype": "O"}), "array of dtype 'O'"),
        (with_state(module_={"kind": "record", "class": "torch.nn.Linear", "fields": {"no": 1}}), "makes no sense"),
        (lambda structure: [], "holds a list and no estimator"),
        (lambda structure: structure["state"]["module_"], "holds a Disentangler and no estimator"),
        (lambda structure: {"kind": structure}, "makes no sense"),
    ],
)
def test_structure_that_was_changed_on_purpose_is_refused(saved, change, message):
    with pytest.raises(ValueError, match=message):
        modalsplit.load(rewritten(saved, change))


@pytest.mark.filterwarnings("ignore:Trying to unpickle")
def test_structure_that_was_changed_at_random_is_refused_or_loads(pipeline, path):
    """Nothing worse can happen than a ValueError."""
    junk = [None, -1, 10**18, "x", [], {}, {"kind": "device", "name": "x"}, {"kind": "tuple", "members": [1]}]
    modalsplit.save(pipeline, path)
    whole, rng, refused = path.read_bytes(), random.Random(0), 0

    def change(structure):
        around, key = rng.choice(places_in(structure, []))
        around[key] = rng.choice(junk)
        return structure

    for _ in range(150):
        path.write_bytes(whole)
        try:
            modalsplit.load(rewritten(path, change))
        except ValueError:
            refused += 1
    assert refused > 50


def places_in(node, found):
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        found.append((node, key))
        if isinstance(node[key], dict | list):
            places_in(node[key], found)
    return found


def test_indices_of_sparse_matrices_are_checked(path, parts, taken):
    modalsplit.save(AttentiveBPR(max_epochs=1, random_state=0).fit(parts, taken), path)

    def beyond(structure):
        structure["state"]["interactions_"]["shape"] = [3, 3]
        return structure

    with pytest.raises(ValueError, match="cannot be loaded"):
        modalsplit.load(rewritten(path, beyond))


def test_parameter_that_the_file_lacks_gets_its_default(saved):
    def without_ridge(structure):
        del structure["state"]["ridge"]
        return structure

    assert modalsplit.load(rewritten(saved, without_ridge)).ridge == 3.0


def test_other_release_of_scikit_learn_is_warned_of(path):
    def older(structure):
        structure["state"]["_sklearn_version"] = "1.0"
        return structure

    modalsplit.save(StandardScaler().fit([[1.0]]), path)
    with pytest.warns(InconsistentVersionWarning, match=r"from version 1\.0"):
        modalsplit.load(rewritten(path, older))


def test_file_of_version_1_is_still_read(saved):
    """The format is a promise: this is how it looks, written without our code."""
    structure = {
        "kind": "object",
        "class": "modalsplit.encoder.DisentangledModalityEncoder",
        "state": {"n_components": 7, "split": {"kind": "tuple", "members": ["a", "b"]}, "ridge": 2.0},
    }
    arrays = {"structure": np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)}
    about = {"format": "modalsplit", "modalsplit": "0.1.0", "version": "1"}
    header = f"{json.dumps(about)}structure |u1 {arrays['structure'].shape} "
    digest = hashlib.sha256(header.encode() + arrays["structure"].tobytes()).hexdigest()
    save_file(arrays, saved, metadata={**about, "sha256": digest})
    loaded = modalsplit.load(saved)
    assert (loaded.n_components, loaded.split, loaded.ridge) == (7, ("a", "b"), 2.0)


def test_array_may_have_the_name_of_the_structure(again):
    scaler = StandardScaler()
    scaler.structure = np.arange(3.0)
    assert again(scaler).structure.tolist() == [0, 1, 2]


def test_order_in_memory_is_kept(again):
    scaler = StandardScaler()
    scaler.mean_ = np.asfortranarray(np.arange(24.0).reshape(4, 6))
    scaler.var_ = np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0)
    scaler.scale_ = np.broadcast_to(np.float32(2), (3, 2))
    scaler.n_samples_seen_ = np.arange(10)[::2].astype(">i4")
    loaded = again(scaler)
    for name in ("mean_", "var_", "scale_", "n_samples_seen_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(scaler, name))
    assert loaded.mean_.strides == scaler.mean_.strides
    assert loaded.var_.strides == scaler.var_.strides
    loaded.mean_[0] = 5  # arrays can be written to


def test_nothing_warns_while_loading(saved):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        modalsplit.load(saved)
