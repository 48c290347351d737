from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import get_client

from xpcs_dask.cluster import connect
from xpcs_dask.cluster.connect import parse
from xpcs_dask.errors import ConfigError, SchedulerError


def process_ids(block):
    time.sleep(0.05)
    return np.full(block.shape, os.getpid())


def thread_ids(block):
    time.sleep(0.05)
    return np.full(block.shape, threading.get_ident())


def kill_worker(block):
    os._exit(9)


def sleep_long(block):
    time.sleep(100)
    return block


def raise_value_error(block):
    raise ValueError("the block itself is wrong")


def eight_blocks(function):
    return da.zeros(8, chunks=1, dtype=np.int64).map_blocks(function, dtype=np.int64, meta=np.empty(0, np.int64))


@pytest.mark.parametrize(
    ("spec", "kind", "workers"),
    [
        ("sync", "sync", None),
        ("threads", "threads", None),
        ("threads:3", "threads", 3),
        ("processes:12", "processes", 12),
        ("local", "local", None),
        ("local:2", "local", 2),
        ("tcp://login.cluster:8786", "address", None),
        ("tcp://[::1]:8786", "address", None),
        ("tls://login.cluster:8786", "address", None),
        ("slurm", "slurm", 4),
        ("pbs", "pbs", 4),
    ],
)
def test_a_word_says_where_the_work_runs(spec, kind, workers):
    base = parse(spec)
    assert (base.kind, base.workers, base.client) == (kind, workers, None)
    assert base.address == (spec if kind == "address" else "")


def test_a_file_is_where_the_address_is():
    base = parse("file:/shared/a b/scheduler.json")
    assert (base.kind, base.address, base.remote) == ("file", "/shared/a b/scheduler.json", True)


@pytest.mark.parametrize(
    ("spec", "settings", "said"),
    [
        ("threads:2", {"memory": "1GiB"}, "scheduler 'threads:2' has no setting 'memory'"),
        ("local", {"walltime": "1"}, "cluster has no key 'walltime'; known are memory, local_directory, dashboard"),
        ("tcp://a:1", {"timeuot": "1"}, "cluster has no key 'timeuot'; did you mean 'timeout'?"),
        ("file:a", {"timeout": "0"}, "xpcs_dask.running, timeout: "),
        ("slurm", {"walltime": "1"}, "walltime: '1' is not of the form HH:MM:SS"),
        ("slurm:nonesuch", {}, "there is no profile 'nonesuch'"),
    ],
)
def test_settings_are_checked_with_the_word(spec, settings, said):
    with pytest.raises(ConfigError) as caught:
        parse(spec, settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    ["", "thread", "threads:", "threads:0", "threads:-1", "threads:x", "sync:2", "local:0", "processes:1.5",
     "tcp://", "tcp://host", "tcp://host:", "http://host:1", "tls://host", "tcp://host:1/path", "threads:2\n",
     "file:", "slurm:", "slurm:a b", "slurm:1:2", "sge"],
)  # fmt: skip
def test_a_word_that_is_not_known_is_refused_before_anything_starts(spec):
    with pytest.raises(ConfigError) as caught, connect(spec):
        raise AssertionError("must not get here")
    assert repr(spec)[1:-1] in repr(str(caught.value))
    assert caught.value.exit_code == 2


def test_without_a_cluster_there_is_no_dashboard():
    with connect("threads:3") as connection:
        assert connection.dashboard_link == ""
        assert repr(connection) == "<Connection to threads, 3 workers>"
        assert "dashboard" not in connection._repr_html_()


def test_sync_runs_in_this_thread_and_config_is_put_back():
    with dask.config.set(scheduler="threads"):
        with connect("sync") as connection:
            assert connection.client is None
            assert set(eight_blocks(thread_ids).compute()) == {threading.get_ident()}
        assert dask.config.get("scheduler") == "threads"


@pytest.mark.parametrize("n", [1, 3])
def test_threads_are_as_many_as_asked_for(n):
    with connect(f"threads:{n}"):
        seen = set(eight_blocks(thread_ids).compute())
    assert len(seen) == n


def test_config_is_put_back_after_an_error():
    before = dask.config.get("scheduler", None), dask.config.get("num_workers", None)
    with pytest.raises(ZeroDivisionError), connect("threads:2"):
        raise ZeroDivisionError
    assert (dask.config.get("scheduler", None), dask.config.get("num_workers", None)) == before


def test_nobody_at_the_address_is_said_soon():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    begun = time.monotonic()
    with pytest.raises(SchedulerError, match="no scheduler answers") as caught, connect(address, timeout=0.5):
        raise AssertionError("must not get here")
    assert time.monotonic() - begun < 30  # the default of distributed is longer than that
    assert address in str(caught.value)
    assert caught.value.exit_code == 7
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_stranger_at_the_address_is_named_as_such():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + b" " * 100)

        threading.Thread(target=answer, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(SchedulerError, match=address), connect(address, timeout=1):
            raise AssertionError("must not get here")
        server.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ValueError, match="No global client"):  # later computations do not wait for the stranger
        get_client()
    assert da.ones(3).sum().compute() == 3


@pytest.mark.cluster
class TestProcesses:
    def test_blocks_run_in_other_processes_which_are_gone_afterwards(self):
        with connect("processes:2") as connection:
            assert connection.client is None
            seen = set(eight_blocks(process_ids).compute().tolist())
            again = set(eight_blocks(process_ids).compute().tolist())
        assert os.getpid() not in seen
        assert 1 <= len(seen | again) <= 2  # one pool serves all computations of the block
        assert not any(child.pid in seen for child in multiprocessing.active_children())

    def test_a_dead_worker_is_a_scheduler_error(self):
        with pytest.raises(SchedulerError, match="worker process"), connect("processes:1"):
            eight_blocks(kill_worker).compute()

    def test_an_error_of_the_block_passes_unchanged(self):
        with pytest.raises(ValueError, match="block itself is wrong"), connect("processes:1"):
            eight_blocks(raise_value_error).compute()

    def test_workers_do_not_outlive_an_interrupt(self):
        seen = []

        def interrupted():
            with connect("processes:1"):
                seen.extend(set(eight_blocks(process_ids).compute().tolist()))
                threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
                eight_blocks(sleep_long).compute()

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs with &
        try:
            with pytest.raises(KeyboardInterrupt):
                interrupted()
        finally:
            signal.signal(signal.SIGINT, before)
        [pid] = seen
        deadline = time.monotonic() + 20
        while any(child.pid == pid for child in multiprocessing.active_children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestDistributed:
    def test_a_local_cluster_has_one_thread_a_process(self):
        with connect("local:2") as connection:
            assert connection.kind == "local"
            assert sorted(connection.client.nthreads().values()) == [1, 1]
            assert os.getpid() not in set(eight_blocks(process_ids).compute().tolist())
        assert connection.client.status == "closed"

    def test_the_dashboard_is_where_the_link_says(self, monkeypatch):
        from urllib.request import urlopen

        with connect("local:1") as connection:
            link = connection.dashboard_link
            assert link.startswith("http://127.0.0.1:")
            with urlopen(link, timeout=30) as page:
                assert b"Dask" in page.read()
            assert f"<a href='{link}'" in connection._repr_html_()
            assert repr(connection) == f"<Connection to local, 1 workers at {connection.address}>"
            port = link.split(":")[2].split("/")[0]
            monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
            with dask.config.set({"distributed.dashboard.link": "{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status"}):
                assert connection.dashboard_link == f"/user/me/proxy/{port}/status"
            with dask.config.set({"distributed.dashboard.link": "{NOT_SET}/{port}"}):
                with pytest.raises(ConfigError, match=r"distributed\.dashboard\.link names 'NOT_SET'"):
                    _ = connection.dashboard_link
                assert "NOT_SET" in connection._repr_html_()
            address = connection.address
            with connect(address) as other:  # a running cluster tells it, too
                assert other.dashboard_link == link

    def test_workers_started_here_are_not_sampled_all_the_time(self):
        import dask

        settings = ("distributed.worker.profile.enabled", "distributed.admin.tick.interval")
        before = [dask.config.get(name) for name in settings]
        with connect("local:1") as connection:
            found = connection.client.run(lambda: [__import__("dask").config.get(name) for name in settings])
        assert list(found.values()) == [[False, "500ms"]]
        assert [dask.config.get(name) for name in settings] == before

    def test_a_running_cluster_is_used_and_left_running(self):
        from distributed import LocalCluster

        with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
            with connect(cluster.scheduler_address) as connection:
                assert connection.kind == "address"
                assert os.getpid() not in set(eight_blocks(process_ids).compute().tolist())
            with connect(cluster.scheduler_address):
                assert eight_blocks(process_ids).sum().compute() > 0

    def test_a_scheduler_without_workers_is_said_soon(self):
        from distributed import LocalCluster

        with (
            LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
            pytest.raises(SchedulerError, match="no workers"),
            connect(cluster.scheduler_address, timeout=0.5),
        ):
            raise AssertionError("must not get here")

    def test_workers_with_several_threads_are_warned_of(self, caplog):
        from distributed import LocalCluster

        with (
            LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster,
            connect(cluster.scheduler_address),
        ):
            pass
        assert "more than one thread" in caplog.text

    def test_lost_workers_are_a_scheduler_error(self):
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            with pytest.raises(SchedulerError, match="lost its workers") as caught, connect("local:1"):
                eight_blocks(kill_worker).compute()
            assert caught.value.exit_code == 7
