"""A graph that never ends for some requests: they end, others are answered, the server stops."""

import time
from concurrent.futures import ThreadPoolExecutor

import hostile_versions
import numpy as np
import pytest
import server_process

pytestmark = pytest.mark.slow  # a server

SHORT = ("--deadline", "1")


def instances(value: int) -> dict:
    image = np.full((4, 4, 1), value, np.uint8).tolist()
    return {"signature_name": "predict_tensor", "instances": [{"image": image}]}


def test_what_never_ends_ends_at_the_deadline_and_holds_up_no_stop(tmp_path):
    for model in ("endless", "other"):
        hostile_versions.endless_for_white(tmp_path / "tiny" / model / "1")
    with server_process.running(tmp_path, "tiny/endless", "tiny/other", *SHORT) as server:
        endless = "/v1/models/tiny_endless:predict"
        assert server.ask(endless, instances(0))[0] == 200
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(server.ask, endless, instances(255)) for _ in range(3)]
            for answer in asked:
                status, content, headers = answer.result()
                assert status == 503 and "no answer within 1 s" in content["error"]
                assert headers["Retry-After"]
        assert server.ask("/v2/health/live")[0] == 200
        # Other models are computed, if more slowly.
        asked = (server.ask("/v1/models/tiny_other:predict", instances(0))[0] for _ in range(10))
        assert 200 in asked
        begun = time.monotonic()
        server.process.terminate()  # though their threads never end
        assert server.process.wait(60) == 0
        assert time.monotonic() - begun < 30
