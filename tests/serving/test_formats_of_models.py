"""Every model in every format that other tools read: each file computes what its version does."""

import keras
import pytest
import small_models
from made_card import made_card

from tfpipe.base import processes
from tfpipe.models import AUTOENCODERS
from tfpipe.registry import store
from tfpipe.registry.export import NetworkExport
from tfpipe.serving.runtimes import available, model_files

FORMATS = ("keras", "openvino", "onnx", "litert")
MISSING = {name for f in FORMATS for name in available.missing_packages(f) if f != "keras"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"pip install {' '.join(sorted(MISSING))}"),
]


@pytest.mark.parametrize("name", small_models.SMALL)
def test_a_model_is_exported_in_all_formats(name, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "called", lambda function, *args: function(*args))
    keras.utils.set_random_seed(0)
    spec = small_models.spec_for(name)
    model = small_models.settle(small_models.make_small(name, spec), spec)
    kind = "autoencoder" if name in AUTOENCODERS else "classifier"
    card = made_card(kind=kind, classes=spec.classes, columns=spec.columns)
    examples = small_models.make_features(model, spec, batch=4)
    version = store.publish(NetworkExport(model, spec, examples), tmp_path / name, card=card)
    for form in FORMATS:
        made = model_files.export(version, form, tmp_path / form)
        assert made.max_difference <= 5e-5 and made.examples == 32, form
