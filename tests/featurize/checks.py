"""scikit-learn's own checks for featurizers, to be parametrized over.

scikit-learn feeds tables of numbers to most of its checks, so it leaves estimators of raw items alone, with
a warning. The checks that need no data are called here by name; the claims of the others (pickling, row
order, subsets, repeated fits ...) are tested with real items in `test_image` and `test_text`.
"""

import warnings
from functools import partial

import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils import estimator_checks

from modalsplit.featurize import (
    GloveFeaturizer,
    ImageFeaturizer,
    SentenceTransformerFeaturizer,
    TfidfFeaturizer,
    TorchvisionFeaturizer,
    VGG19Featurizer,
)

WITHOUT_DATA = (
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)


def mean_colour(batch):
    return batch.mean((2, 3))


def featurizers():
    """Fresh featurizers, one of each kind; none of their files exists."""
    return [
        VGG19Featurizer(weights="vgg19.pth"),
        TorchvisionFeaturizer("resnet18", weights="resnet18.pth"),
        ImageFeaturizer(mean_colour),
        SentenceTransformerFeaturizer("minilm"),
        GloveFeaturizer("glove.txt"),
        TfidfFeaturizer(),
    ]


def featurizer_checks():
    """What ``parametrize_with_checks(featurizers())`` yields, then those of `WITHOUT_DATA`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        pairs = [
            (featurizer, check)
            for each in featurizers()
            for featurizer, check in estimator_checks.estimator_checks_generator(each)
        ]
    pairs += [
        (featurizer, partial(getattr(estimator_checks, name), type(featurizer).__name__))
        for name in WITHOUT_DATA
        for featurizer in featurizers()
    ]
    return [pytest.param(*pair, id=f"{type(pair[0]).__name__}-{pair[1].func.__name__}") for pair in pairs]
