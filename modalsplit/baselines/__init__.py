"""Recommenders to compare with: simple and strong ones, and those of the paper's experiments."""

from modalsplit.baselines._als import ALS
from modalsplit.baselines._bpr import BPR
from modalsplit.baselines._content import ContentKNN
from modalsplit.baselines._corr_ae import CorrAE
from modalsplit.baselines._ease import EASE
from modalsplit.baselines._mmgcn import MMGCN
from modalsplit.baselines._neumf import NeuMF
from modalsplit.baselines._nfm import NFM
from modalsplit.baselines._popularity import Popularity, PopularityOfNeighbours
from modalsplit.baselines._vbpr import VBPR
from modalsplit.baselines._vecf import VECF

__all__ = [
    "ALS",
    "BPR",
    "EASE",
    "MMGCN",
    "NFM",
    "VBPR",
    "VECF",
    "ContentKNN",
    "CorrAE",
    "NeuMF",
    "Popularity",
    "PopularityOfNeighbours",
]
