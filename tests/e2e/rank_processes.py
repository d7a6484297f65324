# SPDX-License-Identifier: Apache-2.0
"""The ranks of one job on this machine, and copykv beside them.

    with RankProcesses(["--transport", "ofi-tcp"], daemon_threads=[1, 2, 3]) as ranks:
        ranks.copykv(0, "put", "key", "value")
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from daemon_process import DaemonProcess, build_root

COPYKV_SECONDS_MAX = 60


class RankProcesses:
    """Ranks that meet in a directory, or where `rendezvous` says. `prefix`: per rank, what runs
    its programs (nsenter ...). `rank_flags`: per rank, what only it is told. `program`: in place of
    copykvd."""

    def __init__(self, flags=(), daemon_threads=(1, 1, 1), rendezvous=None, prefix=None,
                 rank_flags=None, program=None):
        self.directory = tempfile.mkdtemp(prefix="copykv-e2e-")
        meeting = pathlib.Path(self.directory) / "rendezvous"
        meeting.mkdir()
        self.prefix = prefix or [[] for _ in daemon_threads]
        self.daemons = []
        for rank, threads in enumerate(daemon_threads):
            own = ["--rank", str(rank), "--ranks", str(len(daemon_threads)), "--daemon-threads",
                   str(threads), "--rendezvous", rendezvous or f"file://{meeting}",
                   *(rank_flags[rank] if rank_flags else [])]
            self.daemons.append(DaemonProcess([*own, *flags], program=program,
                                              runtime_dir=self.directory + "/run"))

    def __enter__(self):
        try:
            for daemon, prefix in zip(self.daemons, self.prefix):
                daemon.launch(prefix)
            for daemon in self.daemons:
                daemon.await_ready()
        except BaseException:
            self.__exit__(True)
            raise
        return self

    def __exit__(self, failure, *_):
        codes = [daemon.stop() for daemon in self.daemons]
        shutil.rmtree(self.directory, ignore_errors=True)
        if failure is None and any(codes):
            raise RuntimeError(f"the ranks ended with {codes}; they said:\n{self.output()}")

    def output(self):
        return "".join(daemon.output() for daemon in self.daemons)

    def until(self, seconds_max, holds):
        """Waits for it; what the ranks said, if it does not come."""
        give_up = time.monotonic() + seconds_max
        while not holds():
            assert time.monotonic() < give_up, self.output()
            time.sleep(0.02)

    def items(self, rank):
        """How many keys the rank owns; its counters may be some milliseconds old."""
        stat = json.loads(self.copykv(rank, "stat", "--json").stdout)
        return sum(daemon["items"] for daemon in stat["daemons"])

    def copykv(self, rank, *arguments, stdin=b""):
        environment = {**self.daemons[rank].environment(), "COPYKV_TIMEOUT": "30s"}
        return subprocess.run(
            [*self.prefix[rank], build_root() / "tools" / "copykv", "--rank", str(rank),
             *arguments], input=stdin, env=environment, capture_output=True,
            timeout=COPYKV_SECONDS_MAX, check=False)


def left_in_shared_memory(pids):
    """Files that the shm provider of these processes has left."""
    return [name for name in os.listdir("/dev/shm") if name.split(":")[0] in map(str, pids)]
