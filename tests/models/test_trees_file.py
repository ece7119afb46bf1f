"""Files of boosted trees that would end or hang a process are refused before XGBoost reads them."""

import struct

import numpy as np
import pytest
import ubjson
import xgboost

from tfpipe.base.errors import UserError
from tfpipe.models import boosted_trees

COLUMNS = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
LABELS = (COLUMNS[:, 0] > 0).astype(int) + (COLUMNS[:, 1] > 0)


@pytest.fixture(scope="module")
def trees():
    parameters = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3}
    return xgboost.train(parameters, xgboost.DMatrix(COLUMNS, LABELS), 3)


def refused(tmp_path, data: bytes, sentence: str) -> None:
    path = tmp_path / "model.ubj"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"^a/b/1 holds no trees that .*{sentence}") as refused:
        boosted_trees.load(path, name="a/b/1")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_what_xgboost_writes_is_read(trees, tmp_path):
    boosted_trees.save(trees, tmp_path / "one.ubj")
    (tmp_path / "other.ubj").write_bytes(ubjson.encoded(ubjson.model(trees)))
    expected = boosted_trees.classify(trees, COLUMNS)
    for name in ("one.ubj", "other.ubj"):
        loaded = boosted_trees.load(tmp_path / name)
        np.testing.assert_array_equal(boosted_trees.classify(loaded, COLUMNS), expected)
        shap = boosted_trees.contributions(trees, COLUMNS)
        np.testing.assert_array_equal(boosted_trees.contributions(loaded, COLUMNS), shap)
        assert boosted_trees.leaves(loaded) == boosted_trees.leaves(trees)
        assert loaded.num_boosted_rounds() == trees.num_boosted_rounds()


# The first six end the process of XGBoost 3.2 by a signal, or never end.
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tree: tree["left_children"].__setitem__(0, 10**6), "none of its . nodes"),
        (lambda tree: tree["left_children"].__setitem__(0, -5), "none of its . nodes"),
        (lambda tree: tree["right_children"].__setitem__(1, 0), "none of its . nodes"),
        (lambda tree: tree["right_children"].__setitem__(0, 1), "the child of two"),
        (lambda tree: tree["right_children"].__setitem__(0, -1), "none of its . nodes"),
        (lambda tree: tree["split_indices"].__setitem__(0, 10**6), "beyond the 3 that there are"),
        (lambda tree: tree["left_children"].pop(), "other arrays than one number for each of"),
        (lambda tree: tree["tree_param"].update(num_nodes="100000000"), "other arrays than one"),
        (lambda tree: tree["tree_param"].update(num_nodes="many"), "invalid literal"),
        (lambda tree: tree["tree_param"].update(size_leaf_vector="9"), "other splits than of"),
        (lambda tree: tree["split_type"].__setitem__(0, 1), "other splits than of numbers"),
        (lambda tree: tree["split_conditions"].__setitem__(0, np.nan), "no finite numbers"),
        (lambda tree: tree.pop("default_left"), "no model of XGBoost: KeyError"),
        (lambda tree: tree.update(left_children="x"), "other arrays than one number"),
    ],
)
def test_a_tree_that_leads_elsewhere_is_refused(trees, tmp_path, change, sentence):
    model = ubjson.model(trees)
    change(model["learner"]["gradient_booster"]["model"]["trees"][0])
    refused(tmp_path, ubjson.encoded(model), sentence)


def test_a_tree_whose_nodes_lead_in_a_circle_is_refused(trees, tmp_path):
    model = ubjson.model(trees)
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    left, right = tree["left_children"], tree["right_children"]
    inner = next(node for node in (1, 2) if left[node] > 0)
    (left if left[0] == inner else right)[0] = left[inner]
    left[inner] = inner  # its own child, in the place of one that the root has now
    refused(tmp_path, ubjson.encoded(model), "nodes that its root does not lead to")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m["gradient_booster"].update(name="gblinear"), "expected gbtree and multi"),
        (lambda m: m["objective"].update(name="reg:squarederror"), "expected gbtree and multi"),
        (lambda m: m["gradient_booster"]["model"].update(tree_info=[7] * 9), "by turns"),
        (lambda m: m["learner_model_param"].update(num_class="1000000000"), "1000000000 classes"),
        (lambda m: m["learner_model_param"].update(num_feature="0"), "0 columns"),
        (lambda m: m["learner_model_param"].update(base_score="x"), ""),
        (
            lambda m: m["gradient_booster"]["model"]["gbtree_model_param"].update(
                num_parallel_tree="2"
            ),
            "one tree of a class in each round",
        ),
        (lambda m: m.pop("gradient_booster"), "no model of XGBoost"),
    ],
)
def test_a_model_of_another_kind_is_refused(trees, tmp_path, change, sentence):
    model = ubjson.model(trees)
    change(model["learner"])
    refused(tmp_path, ubjson.encoded(model), sentence)


def test_what_is_cut_changed_or_something_else_is_refused(trees, tmp_path):
    boosted_trees.save(trees, tmp_path / "good.ubj")
    data = (tmp_path / "good.ubj").read_bytes()
    for number in range(0, len(data), 97):
        refused(tmp_path, data[:number], "")
    refused(tmp_path, data + b"x", "more bytes after the model")
    for other in (b"", b"null", b"{}", b'{"learner": {}}', b"[" * 10_000, b"{" + b"L" * 100):
        refused(tmp_path, other, "")
    huge = b"[$d#L" + struct.pack(">q", 1 << 60)
    refused(tmp_path, b"{" + ubjson.encoded("a")[1:] + huge, "1152921504606846976 more bytes than")


def test_a_changed_byte_is_refused_or_changes_a_number(trees, tmp_path):
    boosted_trees.save(trees, tmp_path / "good.ubj")
    data, rng, n_loaded = (tmp_path / "good.ubj").read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        changed = bytearray(data)
        changed[rng.integers(0, len(data))] = rng.integers(0, 256)
        (tmp_path / "changed.ubj").write_bytes(changed)
        try:
            loaded = boosted_trees.load(tmp_path / "changed.ubj")
        except UserError:
            continue
        n_loaded += 1
        assert boosted_trees.classify(loaded, COLUMNS).shape == (200, 3)
    assert n_loaded > 10
