from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from tests.cluster.certificates import authority, certificate
from xpcs_dask.cluster import connect, running, watchdog
from xpcs_dask.cluster.executor import executor
from xpcs_dask.cluster.running import RunningFleet, read_scheduler_file
from xpcs_dask.errors import ConfigError, SchedulerError


def test_a_file_that_is_not_there_is_waited_for(tmp_path):
    file = tmp_path / "scheduler.json"
    begun = time.monotonic()
    with pytest.raises(SchedulerError, match=r"no scheduler file .*scheduler.json after 0.5 s") as caught:
        read_scheduler_file(file, 0.5)
    assert time.monotonic() - begun >= 0.5
    assert caught.value.exit_code == 7


def test_a_file_that_is_being_written_is_read_when_it_is_complete(tmp_path):
    file = tmp_path / "scheduler.json"
    file.write_text('{"address": "tcp:')
    timer = threading.Timer(0.3, file.write_text, ['{"address": "tcp://10.0.0.1:1"}'])
    timer.start()
    assert read_scheduler_file(file, 30) == "tcp://10.0.0.1:1"
    timer.join()


@pytest.mark.parametrize("content", ["[1]", "{}", '{"address": 3}', '{"address": "inproc://1"}', "no JSON", ""])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ConfigError, match=r"a\.json is no scheduler file: it "):
        read_scheduler_file(tmp_path / "a.json", 0.1)


def test_a_folder_is_no_scheduler_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_scheduler_file(tmp_path, 0.1)


def test_an_old_file_is_named_with_its_address(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "s.json").write_text(json.dumps({"address": address}))
    with (
        pytest.raises(SchedulerError, match=rf"no scheduler answers at {address} \(from .*s\.json\)"),
        connect(f"file:{tmp_path}/s.json", timeout=0.5),
    ):
        raise AssertionError("must not get here")


def test_patience_ends_when_there_is_no_worker():
    counts, clock = {"a": 2}, SimpleNamespace(now=0.0)
    client = SimpleNamespace(nthreads=lambda: counts)
    fleet = RunningFleet(client, "tcp://a:1", 30, clock=lambda: clock.now)
    assert fleet.living() == 2
    counts.clear()
    clock.now = 30
    fleet.look()
    assert fleet.living() == 0
    counts["b"] = 1
    clock.now = 50
    fleet.look()
    counts.clear()
    clock.now = 80
    fleet.look()
    clock.now = 81
    with pytest.raises(SchedulerError, match="the cluster at tcp://a:1 has had no worker for 30 s"):
        fleet.look()


def test_a_client_without_certificate_is_not_even_built(monkeypatch):
    """One that fails half-way would make the next one in this process hang."""
    import distributed

    monkeypatch.setattr(distributed, "Client", None)
    with pytest.raises(ConfigError, match="needs a certificate of the client"), connect("tls://127.0.0.1:1"):
        raise AssertionError("must not get here")


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestRealSchedulers:
    @pytest.fixture
    def started(self, tmp_path):
        """Give what starts a scheduler with a worker in processes of their own; they are ended afterwards."""
        processes = []

        def start(*options, workers=1):
            file = tmp_path / "scheduler.json"
            common = ["--scheduler-file", str(file), *options]
            listen = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
            lines = [["scheduler", *listen]] + [["worker", "--nthreads", "1", "--host", "127.0.0.1"]] * workers
            for program, *rest in lines:
                command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *common, *rest]
                processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            return file

        yield SimpleNamespace(start=start, processes=processes)
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)

    def test_the_file_leads_to_the_scheduler_that_is_just_starting(self, started):
        file = started.start(workers=2)
        with connect(f"file:{file}", {"workers": 2, "timeout": 60}) as connection:
            assert connection.kind == "file"
            assert connection.address.startswith("tcp://127.0.0.1:")
            with executor(connection) as (pool, workers):
                assert workers() == 2
                assert pool.submit(os.getpid).result(30) != os.getpid()
        with connect(f"file:{file}") as connection:  # it was left running
            assert len(connection.client.nthreads()) == 2

    def test_tls_by_the_settings_and_nobody_else(self, started, tmp_path):
        ca = authority(tmp_path)
        mine, theirs = certificate(tmp_path, "mine", ca), certificate(tmp_path, "theirs", authority(tmp_path, "other"))
        options = ["--tls-ca-file", mine["ca"], "--tls-cert", mine["cert"], "--tls-key", mine["key"]]
        file = started.start(*options, "--protocol", "tls://")
        settings = {f"tls.{name}": path for name, path in mine.items()}
        with connect(f"file:{file}", {**settings, "timeout": 60}) as connection:
            assert connection.address.startswith("tls://")
            assert connection.client.submit(pow, 2, 5).result(30) == 32
            address = connection.address
        strangers = {f"tls.{name}": path for name, path in theirs.items()}
        for wrong, error in (({}, ConfigError), (strangers, SchedulerError)):
            with pytest.raises(error), connect(address, wrong):
                raise AssertionError("must not get here")
        with connect(address, settings) as connection:  # a refusal leaves nothing behind that hangs
            assert connection.client.submit(pow, 2, 3).result(30) == 8

    def test_workers_that_are_lost_for_good_end_any_computation(self, started, monkeypatch):
        monkeypatch.setattr(watchdog, "EVERY", 0.2)
        monkeypatch.setattr(running, "CONNECT_TIMEOUT", 60)
        file = started.start()

        def work():
            with connect(f"file:{file}", {"patience": 2}) as connection:
                threading.Timer(1, started.processes[1].send_signal, [signal.SIGTERM]).start()
                connection.client.gather(connection.client.map(time.sleep, [0.2] * 500, pure=False))

        with pytest.raises(SchedulerError, match="has had no worker for 2 s"):
            work()
