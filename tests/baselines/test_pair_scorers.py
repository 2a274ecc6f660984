"""The scores of the trained baselines, beside the papers' formulas written out slowly in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from modalsplit.nn import (
    CorrespondenceAutoencoder,
    Factors,
    MultiModalGCN,
    NeuMF,
    NeuralFM,
    RegionAttention,
    ReviewWriter,
    bipartite_graph,
    pairwise_loss,
    pointwise_loss,
)

N_USERS, N_ITEMS, WIDTHS, D = 5, 4, [3, 2], 6
USERS, ITEMS = torch.tensor([3, 0]), torch.tensor([2, 0, 3])


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(name="content")
def made_content():
    return torch.randn(N_ITEMS, sum(WIDTHS))


def varied(module):
    """Replace what starts from zero, so that it shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return module.eval()


def numpy_of(module):
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


@torch.no_grad()
def scores_of(module):
    users, items = module.vectors(USERS, ITEMS)
    grid = module.score(users, items[None])
    each = module.score(users, items.expand(len(users), -1, -1))
    torch.testing.assert_close(grid, each, rtol=1e-4, atol=1e-5)
    return grid.numpy()


def check_pairs(module, score_of):
    expected = [[score_of(u, i) for i in ITEMS.tolist()] for u in USERS.tolist()]
    np.testing.assert_allclose(scores_of(module), expected, rtol=1e-4, atol=1e-4)


def linear(w, name, x):
    out = w[f"{name}.weight"] @ x
    return out + w[f"{name}.bias"] if f"{name}.bias" in w else out


def relu(x):
    return np.maximum(x, 0)


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def test_bpr_scores_by_inner_products_and_biases(content):
    module = varied(Factors(N_USERS, content, D, 0, spread=0.1))
    w = numpy_of(module)
    check_pairs(module, lambda u, i: w["item_tables.1"][i, 0] + w["user_tables.0"][u] @ w["item_tables.0"][i])


def test_vbpr_adds_mapped_content_and_a_content_bias(content):
    module = varied(Factors(N_USERS, content, D, 2, spread=0.1))
    w = numpy_of(module)

    def score(u, i):
        gamma, theta, f = w["user_tables.0"][u, :D], w["user_tables.0"][u, D:], w["content"][i]
        own = w["item_tables.1"][i, 0] + gamma @ w["item_tables.0"][i]
        return own + theta @ (w["map.weight"] @ f) + w["weigh.weight"][0] @ f

    check_pairs(module, score)


def test_pure_content_has_no_item_parameters(content):
    module = varied(Factors(N_USERS, content, 0, D, spread=0.1))
    w = numpy_of(module)
    assert not len(module.item_tables)
    check_pairs(module, lambda u, i: w["user_tables.0"][u] @ linear(w, "map", w["content"][i]))


def test_nfm_pools_the_products_of_all_pairs_of_fields(content):
    module = varied(NeuralFM(N_USERS, content, WIDTHS, D, [7], (0.5, 0.2), spread=0.1))
    with torch.no_grad():
        for layer in module.network:
            if hasattr(layer, "running_var"):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
    w = numpy_of(module)

    def norm(name, x):
        x = (x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def score(u, i):
        f = w["content"][i]
        fields = [
            w["user_tables.0"][u],
            w["item_tables.0"][i],
            w["fields.maps.0.weight"] @ f[:3],
            w["fields.maps.1.weight"] @ f[3:],
        ]
        pool = sum(fields[a] * fields[b] for a in range(4) for b in range(a))
        hidden = relu(norm("network.3", linear(w, "network.2", norm("network.0", pool))))
        first_order = w["user_tables.1"][u, 0] + w["item_tables.1"][i, 0] + linear(w, "weigh", f)[0]
        return first_order + linear(w, "network.6", hidden)[0]

    check_pairs(module, score)


@pytest.mark.parametrize("both", [True, False])
def test_neumf_joins_a_product_and_a_network(content, both):
    module = varied(NeuMF(N_USERS, content, WIDTHS, D, [8, 5], both, spread=0.1))
    w = numpy_of(module)

    def score(u, i):
        f = w["content"][i]
        parts = [f[:3], f[3:]]
        factor = w["item_tables.0"][i]
        if both:
            factor = factor + sum(w[f"product_fields.maps.{m}.weight"] @ parts[m] for m in range(2))
        mapped = [w[f"fields.maps.{m}.weight"] @ parts[m] for m in range(2)]
        concatenated = np.concatenate([w["user_tables.1"][u], w["item_tables.1"][i], *mapped])
        first = np.hstack([w["of_user.weight"], w["of_item.weight"]])
        hidden = relu(linear(w, "tower.0", relu(first @ concatenated + w["of_user.bias"])))
        return linear(w, "out", np.concatenate([w["user_tables.0"][u] * factor, hidden]))[0]

    check_pairs(module, score)


@pytest.mark.parametrize("merge", ["product", "add", "concat"])
@pytest.mark.parametrize("head", ["product", "layers"])
def test_vecf_attends_to_regions(merge, head):
    content = torch.randn(N_ITEMS, 3 * 4)
    module = varied(RegionAttention(N_USERS, content, 3, D, 5, merge, head, hidden_units=7, spread=0.1))
    w = numpy_of(module)

    def score(u, i):
        p, q, regions = w["user_tables.0"][u], w["item_tables.0"][i], w["content"][i].reshape(3, 4)
        logits = [w["attend"] @ relu((w["attend_user.weight"] @ p) * (w["attend_region.weight"] @ r)) for r in regions]
        picture = w["picture.weight"] @ (softmax(logits) @ regions)
        merged = {"product": q * picture, "add": (q + picture) / 2, "concat": np.concatenate([q, picture])}[merge]
        if head == "product":
            return p @ merged + w["item_tables.1"][i, 0]
        hidden = expit(linear(w, "first", np.concatenate([p, merged])))
        for layer in (1, 3, 5, 7):
            hidden = expit(linear(w, f"rest.{layer}", hidden))
        return linear(w, "rest.9", hidden)[0] + w["item_tables.1"][i, 0]

    check_pairs(module, score)


def test_reviews_are_predicted_word_by_word():
    writer = varied(ReviewWriter(9, 4, 6, 5, 3, 2))
    pair, picture = torch.randn(2, 10), torch.randn(2, 6)
    words = torch.tensor([[3, 8, 1], [5, 0, 0]])
    w = numpy_of(writer)

    def lstm(x, h, c):
        gates = w["cell.weight_ih"] @ x + w["cell.bias_ih"] + w["cell.weight_hh"] @ h + w["cell.bias_hh"]
        i, f, g, o = np.split(gates, 4)
        c = expit(f) * c + expit(i) * np.tanh(g)
        return expit(o) * np.tanh(c), c

    total = 0.0
    for review in range(2):
        h, c = np.split(np.tanh(w["start.weight"] @ pair[review].double().numpy()), 2)
        before = 0
        for word in words[review].tolist():
            if word == 0:
                break
            gamma = expit(w["gate.weight"] @ h)
            seen = linear(w, "of_picture", picture[review].double().numpy())
            context = relu(gamma * seen + (1 - gamma) * (w["of_pair.weight"] @ pair[review].double().numpy()))
            h, c = lstm(np.concatenate([w["words.weight"][before], context]), h, c)
            total -= np.log(softmax(linear(w, "out", h))[word])
            before = word
    assert writer(pair, picture, words).item() == pytest.approx(total / 2, rel=1e-4)


@pytest.mark.parametrize("concatenate", [True, False])
def test_mmgcn_averages_neighbours_in_each_modality(content, concatenate):
    took = [(0, 1), (0, 2), (3, 2), (1, 0), (4, 0)]  # user 2 and item 3 have no neighbours
    graph = bipartite_graph(*torch.tensor(took).T, N_USERS, N_ITEMS)
    module = varied(MultiModalGCN(content, WIDTHS, graph, D, 2, 2, concatenate, train_tables=True))
    w = numpy_of(module)
    n = N_USERS + N_ITEMS
    neighbours = {v: [] for v in range(n)}
    for u, i in took:
        neighbours[u].append(N_USERS + i)
        neighbours[N_USERS + i].append(u)
    identity = np.vstack([w["user_tables.0"], w["item_tables.0"]])
    nodes = np.zeros((n, D))
    for m, columns in enumerate((slice(0, 3), slice(3, 5))):
        features = w["content"][:, columns]
        if m == 0:  # three columns are reduced to two
            features = np.array([linear(w, "modalities.0.reduce", f) for f in features])
        x = np.vstack([w[f"user_tables.{m + 1}"], features])
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        for layer in range(2):
            name = f"modalities.{m}.layers.{layer}"
            moved = []
            for v in range(n):
                sent = [w[f"{name}.of_neighbours.weight"] @ x[j] for j in neighbours[v]]
                h = leaky(np.mean(sent, axis=0)) if sent else np.zeros(x.shape[1])
                own = leaky(linear(w, f"{name}.of_self", x[v])) + identity[v]
                out = linear(w, f"{name}.combine", np.concatenate([h, own]) if concatenate else h)
                moved.append(leaky(out if concatenate else out + own))
            x = np.array(moved)
        nodes += x / 2
    check_pairs(module, lambda u, i: nodes[u] @ nodes[N_USERS + i])


def test_an_item_without_neighbours_is_a_cold_item(content):
    graph = bipartite_graph(torch.tensor([0, 1]), torch.tensor([0, 0]), N_USERS, N_ITEMS)
    module = MultiModalGCN(content, WIDTHS, graph, D, 2, 3, True, train_tables=True).eval()
    with torch.no_grad():
        module.item_tables[0][:] = module.item_tables[0].mean(dim=0)  # what a cold item has
        known = module.vectors(USERS, torch.tensor([3]))[1]
        torch.testing.assert_close(module.cold(content[[3]]), known)


@pytest.mark.parametrize(("variant", "routes"), [("corr", "vv tt"), ("cross", "vt tv"), ("full", "vv vt tv tt")])
def test_correspondence_autoencoders_reconstruct_and_agree(variant, routes):
    module = CorrespondenceAutoencoder((5, 3), 4, 6, variant).eval()
    views = {"v": torch.randn(7, 5), "t": torch.randn(7, 3)}
    w = numpy_of(module)
    x = {name: view.double().numpy() for name, view in views.items()}

    def network(name, rows):
        return np.array([linear(w, f"{name}.2", relu(linear(w, f"{name}.0", row))) for row in rows])

    codes = {"v": expit(network("encoders.0", x["v"])), "t": expit(network("encoders.1", x["t"]))}
    error = sum(
        np.mean((network(f"decoders.{place}", codes[source]) - x[target]) ** 2)
        for place, (source, target) in enumerate(routes.split())
    )
    expected = 0.7 * error + 0.3 * np.mean((codes["v"] - codes["t"]) ** 2)
    assert module.losses(views["v"], views["t"], 0.3)["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_losses_compare_a_positive_with_its_negatives():
    scores = torch.randn(6, 4, dtype=torch.float64)
    s = scores.numpy()
    bpr = np.mean([-np.log(expit(row[0] - negative)) for row in s for negative in row[1:]])
    of_positives = [np.log(expit(row[0])) for row in s]
    of_negatives = [np.log(1 - expit(negative)) for row in s for negative in row[1:]]
    cross_entropy = -np.mean(of_positives + of_negatives)
    assert pairwise_loss(scores).item() == pytest.approx(bpr)
    assert pointwise_loss(scores).item() == pytest.approx(cross_entropy)


def test_a_step_of_bpr_is_the_papers_update(content):
    """Rendle et al., Sec. 4.1: Δp = z (q_i - q_j) - λ p, and so on, for one triple; λ is twice ours."""
    module = varied(Factors(N_USERS, content, D, 0, spread=0.1))
    w = numpy_of(module)
    p, q, b = w["user_tables.0"], w["item_tables.0"], w["item_tables.1"]
    u, i, j, l2 = 1, 2, 3, 0.05
    users, items = torch.tensor([u]), torch.tensor([[i, j]])
    of_users, of_items = module.vectors(users, items[0])
    (pairwise_loss(module.score(of_users, of_items[None])) + l2 * module.size(users, items)).backward()
    z = 1 - expit(b[i, 0] - b[j, 0] + p[u] @ (q[i] - q[j]))
    steps = {
        "user_tables.0": {u: z * (q[i] - q[j]) - 2 * l2 * p[u]},
        "item_tables.0": {i: z * p[u] - 2 * l2 * q[i], j: -z * p[u] - 2 * l2 * q[j]},
    }
    for name, parameter in module.named_parameters():
        for row, step in steps.get(name, {}).items():
            np.testing.assert_allclose(-parameter.grad[row].numpy(), step, rtol=1e-4, atol=1e-6)
