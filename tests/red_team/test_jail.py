"""Methods that try to get out: each works in a plain process, and none in jail."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w

from benchmark.errors import BadInput
from benchmark.execution import jailed
from benchmark.execution.contract import Executor, MethodError, Worker
from benchmark.execution.jailed import Jailed, Tried
from benchmark.execution.local import ForkServer, ForkServers
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Limits, Suite
from benchmark.store import Store
from benchmark.tracks.features import remote
from benchmark.tracks.features.remote import Job
from benchmark.tracks.features.track import FeaturesTrack
from tests.conftest import Silent

BURGLAR = """
import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
import sys
import threading
import time
from pathlib import Path

import torch

from benchmark.api import Latents

HARNESS, TARGET, PORT = {harness}, Path({target!r}), {port}


def environment():
    assert Path(f"/proc/{{HARNESS}}/environ").read_bytes()


def memory():
    with open(f"/proc/{{HARNESS}}/maps") as file:
        assert file.readline()


def read():
    assert (TARGET / "labels.json").read_text() == "secret"


def look_around():
    assert "labels.json" in os.listdir(TARGET)


def write():
    (TARGET / "forged.json").write_text("0.9")


def overwrite_itself():
    Path(__file__).with_name("method.py").open("a").close()


def connect():
    socket.create_connection(("127.0.0.1", PORT), timeout=2).close()


def datagram():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"activations", ("127.0.0.1", PORT))


def connect_locally():
    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(str(TARGET.with_name("service")))


def send_locally():
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"activations", str(TARGET.with_name("box")))


def send_through_a_pair():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"activations", str(TARGET.with_name("box")))


def call_home():
    program = f"import socket; socket.create_connection(('127.0.0.1', {{PORT}}), 2)"
    subprocess.run([sys.executable, "-c", program], check=True)


def signal_the_harness():
    os.kill(HARNESS, 0)


def see_processes():
    assert [name for name in os.listdir("/proc") if name.isdigit() and int(name) == HARNESS]


def lead_astray():
    room = Path(os.environ["TMPDIR"])
    (room / "link").symlink_to(TARGET)
    assert (room / "link").is_symlink()


def start_a_driver():
    # What CUDA's does, or else gives up: a local socket with a name, to be called at, and a name for a thread.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as called:
        called.bind(f"\\0driver-{{os.getpid()}}")
        called.listen()

    def name():
        path = Path(f"/proc/self/task/{{threading.get_native_id()}}/comm")
        path.write_text("driver")
        named.append(path.read_text())

    named = []
    thread = threading.Thread(target=name)
    thread.start()
    thread.join()
    assert named == ["driver\\n"]


def trace():
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if not child:
        time.sleep(30)
        os._exit(0)
    try:
        assert libc.ptrace(16, child, 0, 0) == 0
    finally:
        os.kill(child, signal.SIGKILL)


class Burglar:
    def __init__(self, *, deed=""):
        self.deed = deed

    def fit(self, activations, *, seed):
        if self.deed == "leave something behind":
            if not os.fork():
                os.setsid()
                if not os.fork():
                    ctypes.CDLL(None).prctl(15, b"survivor")
                    time.sleep(60)
                os._exit(0)
            os.wait()
        elif self.deed == "multiply":
            for _ in range(5):
                os.fork()
            time.sleep(60)
        elif self.deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.deed == "exit":
            os._exit(3)
        elif self.deed == "stop time":
            time.sleep(60)
        elif self.deed == "eat":
            self.eaten = torch.ones(2 ** 28)
            time.sleep(5)
        elif self.deed:
            globals()[self.deed.replace(" ", "_")]()
        self.n_latents = 2 * activations.d_model
        return self

    def encode(self, x):
        return Latents(torch.cat([x, -x], dim=1).clamp(min=0), torch.arange(2 * x.shape[1]).expand(len(x), -1))
"""
DEEDS = (
    "environment", "memory", "read", "look around", "write", "overwrite itself", "connect", "datagram",
    "connect locally", "send locally",
    "send through a pair", "call home", "signal the harness", "see processes", "trace", "lead astray",
)  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> Iterator[Executor]:
    with closing(ForkServers()) as made:
        yield made


@pytest.fixture(scope="module")
def jail(needs_jail: None) -> Iterator[Executor]:
    """One whose walls do not hold is an error."""
    with closing(Jailed()) as made:
        yield made


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Path]:
    """A folder with what is nobody's to read, and a listener."""
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "labels.json").write_text("secret")
    (tmp_path / "method").mkdir()
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with socket.create_server(("127.0.0.1", 0)) as host, stream, datagrams:
        stream.bind(str(tmp_path / "service"))
        stream.listen()
        datagrams.bind(str(tmp_path / "box"))
        text = BURGLAR.format(harness=os.getpid(), target=str(tmp_path / "house"), port=host.getsockname()[1])
        (tmp_path / "method" / "method.py").write_text(text)
        yield tmp_path


def test_a_machine_that_can_has_a_jail() -> None:
    """Where the system's own tool gets such namespaces and the kernel has Landlock, what is missing is our doing: the
    other tests would be skipped for a fault of the jail.
    """
    command = [
        "unshare",
        "--user",
        "--map-current-user",
        "--mount",
        "--pid",
        "--net",
        "--ipc",
        "--fork",
        "--mount-proc",
    ]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no namespaces without privileges on this machine")
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 1:
        pytest.skip("no Landlock on this machine")
    with closing(ForkServer()) as server:
        assert jailed.trial(server) == Tried((), None)


def start(executor: Executor, house: Path, **limits: float) -> Worker:
    worker = executor.start(
        lambda stream, number: os.open(os.devnull, os.O_RDONLY), house / "log", Limits(**limits), None, house / "method"
    )
    opening = {"op": "open", "folder": str(house / "method"), "entry": "Burglar", "device": "cpu", "threads": 1}
    worker.call(opening | {"session": FeaturesTrack.session})
    return worker


def fit(worker: Worker, deed: str) -> None:
    stream = {"id": "s", "d_model": 4, "n_tokens": 8, "chunk_tokens": 8, "shuffle_tokens": 8, "seed": 1}
    remote.fit(worker, [Job("layers.0", stream | {"dtype": "float32"}, 7, {"deed": deed})], "hookpoint")


@pytest.mark.parametrize("deed", DEEDS)
def test_what_works_in_a_plain_process(deed: str, plain: Executor, house: Path) -> None:
    """Without this the next test could be passed by a burglar who tries nothing."""
    with closing(start(plain, house)) as worker:
        try:
            fit(worker, deed)
        except MethodError:
            if deed != "trace":
                raise
            pytest.skip("tracing is refused to everybody on this machine, as containers may")


@pytest.mark.parametrize("deed", DEEDS)
def test_works_not_in_jail(deed: str, jail: Executor, house: Path) -> None:
    with (
        closing(start(jail, house)) as worker,
        pytest.raises(MethodError, match="Error"),
    ):
        fit(worker, deed)
    assert sorted(path.name for path in (house / "house").iterdir()) == ["labels.json"]


def test_the_same_burglar_at_rest_is_an_honest_method(jail: Executor, house: Path) -> None:
    with closing(start(jail, house)) as worker:
        fit(worker, "")


def test_a_driver_starts(jail: Executor, house: Path) -> None:
    with closing(start(jail, house)) as worker:
        fit(worker, "start a driver")


def survivors() -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["name"]) if one.info["name"] == "survivor"]


def test_nothing_is_left_behind(jail: Executor, house: Path) -> None:
    with closing(start(jail, house)) as worker:
        fit(worker, "leave something behind")
        assert len(survivors()) == 1
    deadline = time.monotonic() + 5
    while survivors() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert survivors() == []


@pytest.mark.parametrize(
    ("deed", "limits", "said"),
    [
        ("die", {}, "was killed by SIGKILL"),
        ("exit", {}, "ended with 3"),
        ("stop time", {"fit_seconds": 2.0}, "limits.fit_seconds"),
        ("eat", {"memory_gib": 0.9}, "limits.memory_gib"),
        ("multiply", {"processes": 20}, "limits.processes"),
    ],
)
def test_ends_and_limits_are_seen_from_outside(
    deed: str, limits: dict[str, float], said: str, jail: Executor, house: Path
) -> None:
    with closing(start(jail, house, **limits)) as worker, pytest.raises(MethodError, match=said):
        fit(worker, deed)


def test_numbers_are_those_of_a_plain_process(jail: Executor, tiny: dict[str, Any], tmp_path: Path) -> None:
    """To the bit, for the reference with its compiled kernels; what is saved is loaded again."""
    suite = Suite.model_validate(tiny | {"hookpoints": ["layers.1"], "variants": ["trained", "step0"]})
    method = methods.load("topk_sae")
    found = {}
    for isolation in ("process", "jail"):
        store = Store(tmp_path / isolation)
        one = MethodRun(method, methods.rows(method, suite))
        assert not pipeline.run(suite, [one], store, isolation, Silent()).failed
        found[isolation] = {record.fit_id: record for record in store.records("tiny", "topk_sae")}
    assert {one.isolation for one in found["jail"].values()} == {"jail"}
    for name, record in found["process"].items():
        assert found["jail"][name].metrics == record.metrics
    wide = suite.model_copy(update={"metrics": (*suite.metrics, "dense@1")}) if suite.metrics else suite
    assert pipeline.run(wide, [one], Store(tmp_path / "jail"), "jail", Silent()).failed == []


def test_walls_that_do_not_hold_are_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for tried, said in (
        (Tried(("open a socket", "write beside it"), None), "in it one could open a socket, write beside it"),
        (
            Tried((), "the system refuses namespaces"),
            "no jail on this machine: the system refuses namespaces; it needs",
        ),
    ):
        monkeypatch.setattr(jailed, "trial", lambda server, tried=tried: tried)
        with pytest.raises(BadInput, match=said):
            Jailed()


def test_a_submission_is_run_in_jail(jail: Executor, tmp_path: Path, tiny: dict[str, Any]) -> None:
    """Its folder is read from wherever it lies."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "method.py").write_text(BURGLAR.format(harness=0, target="", port=0))
    (folder / "sibling.txt").write_text("read me")
    said = {"track": "features", "entry": "Burglar", "summary": "honest", "settings": {"deed": ""}}
    (folder / "method.toml").write_text(tomli_w.dumps(said))
    suite = Suite.model_validate(
        tiny | {"hookpoints": ["layers.1"], "variants": ["trained"], "metrics": ["l0@1"], "methods": {}}
    )
    method = methods.load(str(folder))
    outcome = pipeline.run(
        suite, [MethodRun(method, methods.rows(method, suite))], Store(tmp_path / "runs"), "jail", Silent()
    )
    assert (outcome.computed, outcome.failed) == (2, [])


def test_what_keeps_a_jail_from_being_tried_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Executor
) -> None:
    """A temporary folder whose path is too long for a socket: the run goes on without a jail, and says so."""
    far = tmp_path / ("x" * 110)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    assert isinstance(plain, ForkServers)
    with pytest.raises(BadInput, match=r"no jail on this machine: .*too long"):
        Jailed()
