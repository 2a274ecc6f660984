"""TensorBoard's projector reads our vectors and labels."""

import numpy as np
import pandas as pd
import pytest

from modalsplit.interop import item_blocks, write_projector


def test_files_by_the_byte(tmp_path):
    items = item_blocks({"image": [[1, 0.1], [2, 3]], "text": [[4], [5]]}, item_ids=["a", "b"])
    labels = pd.DataFrame({"title": ["Two\tparts", "One\nline"], "price": [1.5, 2]}, index=["b", "a"])
    path = write_projector(tmp_path / "log", items, labels)
    assert (path / "image.tsv").read_bytes() == b"1\t0.100000001\n2\t3\n"
    assert (path / "metadata.tsv").read_bytes() == b"item_id\ttitle\tprice\na\tOne line\t2.0\nb\tTwo parts\t1.5\n"
    assert (path / "projector_config.pbtxt").read_text().count("embeddings {") == 2
    path = write_projector(tmp_path / "bare", items, blocks="text")
    assert (path / "metadata.tsv").read_bytes() == b"a\nb\n"
    assert not (path / "image.tsv").exists()


def test_labels_must_cover_the_items(items, tmp_path):
    labels = pd.Series("x", index=items.ids[:-1], name="type")
    with pytest.raises(ValueError, match="1 of 40 items have no label, such as 'item"):
        write_projector(tmp_path / "log", items, labels)
    with pytest.raises(ValueError, match="index of labels must be unique"):
        write_projector(tmp_path / "log", items, pd.Series("x", index=[*items.ids, items.ids[0]], name="type"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_serves_them(items, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install modalsplit[tensorboard]")
    from google.protobuf import text_format
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.projector import projector_config_pb2, projector_plugin

    path = write_projector(tmp_path / "log", items, pd.Series("x", index=items.ids, name="type"))
    config = text_format.Parse((path / "projector_config.pbtxt").read_text(), projector_config_pb2.ProjectorConfig())
    assert [embedding.tensor_name for embedding in config.embeddings] == list(items.blocks)
    for embedding in config.embeddings:
        tensor = projector_plugin._read_tensor_tsv_file(str(path / embedding.tensor_path))
        np.testing.assert_array_equal(np.asarray(tensor, dtype=np.float32), items.blocks[embedding.tensor_name])

    multiplexer = EventMultiplexer({"run": str(path)})
    plugin = projector_plugin.ProjectorPlugin(base_plugin.TBContext(logdir=str(path), multiplexer=multiplexer))
    plugin._update_configs()
    served = [embedding for found in plugin._configs.values() for embedding in found.embeddings]
    assert {embedding.tensor_name: tuple(embedding.tensor_shape) for embedding in served} == dict.fromkeys(
        items.blocks, (40, 4)
    )
