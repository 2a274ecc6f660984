"""Judge anyone's scores and representations; knows interactions, but no model."""

from modalsplit.evaluate._compare import SeedSweep, average_users, compare, holm, seed_sweep
from modalsplit.evaluate._dependence import PermutationTest, cka, hsic, permutation_test
from modalsplit.evaluate._dot_product import DotProduct, dot_product
from modalsplit.evaluate._evaluate import Evaluation, evaluate
from modalsplit.evaluate._leaks import check_no_leak
from modalsplit.evaluate._metrics import ndcg_at_k, recall_at_k
from modalsplit.evaluate._probes import DisentanglementScore, disentanglement_score
from modalsplit.evaluate._retrieval import retrieval_map, retrieval_recall_at_k
from modalsplit.evaluate._sampling import SampledNegatives
from modalsplit.evaluate._scorers import RankingScorer, ndcg_at, recall_at
from modalsplit.evaluate._select import Selection, select
from modalsplit.evaluate._splits import (
    Split,
    hold_out_items,
    hold_out_users,
    interaction_folds,
    split_interactions,
    warm_start_folds,
)
from modalsplit.evaluate._temporal import interaction_times, leave_one_out, temporal_split

__all__ = [
    "DisentanglementScore",
    "DotProduct",
    "Evaluation",
    "PermutationTest",
    "RankingScorer",
    "SampledNegatives",
    "SeedSweep",
    "Selection",
    "Split",
    "average_users",
    "check_no_leak",
    "cka",
    "compare",
    "disentanglement_score",
    "dot_product",
    "evaluate",
    "hold_out_items",
    "hold_out_users",
    "holm",
    "hsic",
    "interaction_folds",
    "interaction_times",
    "leave_one_out",
    "ndcg_at",
    "ndcg_at_k",
    "permutation_test",
    "recall_at",
    "recall_at_k",
    "retrieval_map",
    "retrieval_recall_at_k",
    "seed_sweep",
    "select",
    "split_interactions",
    "temporal_split",
    "warm_start_folds",
]
