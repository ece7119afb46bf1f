"""Access to a chief: nobody gets a trial without the token, which is for its owner alone."""

import threading
from pathlib import Path

import grpc
import pytest
import tiny
from keras_tuner.src import protos
from made_manifest import made_manifest

from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.search import access, oracles, rpc
from tfpipe.search import plan as search_plan
from tfpipe.search import run as search_run
from tfpipe.search.chief import Chief
from tfpipe.search.run import WorkerConfig

TOKEN = "the right one"


@pytest.fixture
def config(tmp_path):
    found = Dataset(tmp_path, made_manifest(fingerprint="of the records"), "accuracy")
    return tiny.search_config(found)


@pytest.fixture
def chief(tmp_path, config):
    """Returns a chief, served at its attribute `address`."""
    found = Dataset(tmp_path, made_manifest(fingerprint="of the records"), "accuracy")
    oracle = oracles.make_oracle(config, search_plan.plan_of(config), found)
    (tmp_path / "search").mkdir()
    oracle.store_in(tmp_path / "search", chief="here")
    made = Chief(oracle)
    server, made.address = rpc.serve(made, made.methods, address="127.0.0.1:0", token=TOKEN)
    yield made
    server.stop(grace=None).wait()


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv(access.TOKEN_VARIABLE, raising=False)


def private(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer the wrong one"),),
        (("authorization", TOKEN),),
        (("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer the wrong one")),
    ],
)
@pytest.mark.parametrize("service", ["keras_tuner", "tfpipe"])
def test_a_call_without_the_token_is_refused(service, metadata, chief, caplog):
    with grpc.insecure_channel(chief.address) as channel:
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as refused:
                if service == "tfpipe":
                    method = channel.unary_unary(f"/{rpc.SERVICE}/poll")
                    method(b'{"pool": "there", "workers": []}', metadata=metadata, timeout=30)
                else:
                    stub = protos.get_service_grpc().OracleStub(channel)
                    request = protos.get_service().CreateTrialRequest(tuner_id="there-1")
                    stub.CreateTrial(request, metadata=metadata, timeout=30)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert not chief.oracle.trials and not chief.pools
    warnings = [r.getMessage() for r in caplog.records if "this search's token" in r.getMessage()]
    assert len(warnings) == 1 and "127.0.0.1" in warnings[0] and TOKEN not in warnings[0]


def test_calls_that_send_nothing_keep_nobody_with_the_token_waiting(chief):
    def nothing():
        release.wait()
        yield b""

    release = threading.Event()
    with grpc.insecure_channel(chief.address) as channel:
        method = channel.stream_unary(f"/{rpc.SERVICE}/poll")
        calls = [method.future(nothing(), timeout=60) for _ in range(2 * rpc.MAX_THREADS)]
        try:
            connection = rpc.ChiefConnection(chief.address, wait_s=30, token=TOKEN)
            assert not connection.call("poll", pool="there", workers=[])["is_over"]
        finally:
            release.set()
        codes = {call.exception().code() for call in calls}
    assert codes == {grpc.StatusCode.UNAUTHENTICATED}


def test_a_pool_with_another_token_ends_with_a_sentence(chief, config, tmp_path, monkeypatch):
    monkeypatch.setenv(access.TOKEN_VARIABLE, "the wrong one")
    pool = WorkerConfig(1, chief.address, wait_s=30)
    with pytest.raises(UserError, match="does not accept this worker's token. Give both the same"):
        search_run.run_workers(config, tmp_path / "search", workers=pool)
    assert not chief.pools


def test_a_pool_that_read_the_token_of_an_earlier_search_reads_it_again(
    chief, config, tmp_path, monkeypatch
):
    path = private(tmp_path / "search" / access.TOKEN_FILE, "of an earlier search\n")
    call, refusals = rpc.ChiefConnection.call, []

    def called(self, name, **arguments):
        try:
            return call(self, name, **arguments)
        except access.WrongTokenError:
            refusals.append(name)
            path.write_text(TOKEN)
            raise

    monkeypatch.setattr(rpc.ChiefConnection, "call", called)
    chief.oracle.is_over = True
    pool = WorkerConfig(1, chief.address, wait_s=30)
    search_run.run_workers(config, tmp_path / "search", workers=pool)
    assert refusals == ["poll"] and chief.pools


def test_a_chief_makes_a_token_for_its_search_and_keeps_it_for_its_owner(tmp_path, monkeypatch):
    made = access.chief_token(None, tmp_path, is_shared=True)
    path = tmp_path / access.TOKEN_FILE
    assert path.stat().st_mode & 0o777 == 0o600 and len(made) > 30
    # The next chief of the same search takes it again: workers elsewhere still have it.
    assert access.chief_token(None, tmp_path, is_shared=True) == made
    assert access.worker_token(None, tmp_path, wait_s=0) == made
    path.chmod(0o644)  # it may be known
    again = access.chief_token(None, tmp_path, is_shared=True)
    assert again != made and path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(access.TOKEN_VARIABLE, "the user's")
    assert access.chief_token(None, tmp_path, is_shared=True) == "the user's"
    file = private(tmp_path / "mine", "of a file\n")
    assert access.worker_token(file, tmp_path, wait_s=0) == "of a file"


def test_a_search_of_this_machine_alone_writes_no_token(tmp_path):
    one, two = (access.chief_token(None, tmp_path, is_shared=False) for _ in range(2))
    assert one != two and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("secret", 0o640, "mine has mode 640, so others may read it. Run chmod 600 "),
        ("\n", 0o600, "mine is empty. Write the token into it."),
        ("t\u00f6ken", 0o600, "mine is no token. Use one line of printable ASCII characters."),
        ("one\ntwo", 0o600, "mine is no token. Use one line of printable ASCII characters."),
        (None, 0o600, "mine cannot be read: .*No such file"),
    ],
)
def test_what_is_wrong_with_a_token_file_is_said(text, mode, says, tmp_path):
    path = tmp_path / "mine"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(UserError, match=f"The token file .*{says}"):
        access.worker_token(path, tmp_path, wait_s=0)


def test_a_token_of_the_environment_that_cannot_be_sent_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv(access.TOKEN_VARIABLE, "two\nlines")
    with pytest.raises(UserError, match="TFPIPE_SEARCH_TOKEN is no token"):
        access.chief_token(None, tmp_path, is_shared=True)


def test_a_token_that_does_not_come_is_said_after_the_wait(tmp_path):
    with pytest.raises(UserError, match="There is no token for the chief: .* Start the chief by"):
        access.worker_token(None, tmp_path, wait_s=0.1)
