#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two hosts: network namespaces with an address each, a rank on each, a link that is cut and heals.

    netns_test.py      skipped (77) where namespaces cannot be made; $COPYKV_BUILD_ROOT: the build
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from daemon_process import build_root, end_with_parent
from rank_processes import RankProcesses

SKIPPED = 77
DONE, NO_DAEMON = 0, 3
ADDRESSES = ("10.201.77.1", "10.201.77.2")
PORT = 7707
KEYS = 12
CUT_SECONDS_MAX = 2.0   # until the keys behind the cut answer unreachable
HEAL_SECONDS_MAX = 6.0  # until they are served again
CALL_SECONDS_MAX = 2.0
LOAD_END_SECONDS_MAX = 10
HISTORY_LOAD = build_root() / "tests" / "storm" / "history_load"


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


class Hosts:
    """Two namespaces joined by a veth pair. The names carry the process id: tests do not meet."""

    def __init__(self):
        self.names = [f"ckv{os.getpid()}h{host}" for host in range(2)]
        self.links = [f"ckv{os.getpid()}v{host}" for host in range(2)]

    def __enter__(self):
        try:
            for name in self.names:
                self.must("netns", "add", name)
            self.must("link", "add", self.links[0], "netns", self.names[0], "type", "veth", "peer",
                      "name", self.links[1], "netns", self.names[1])
            for host, name in enumerate(self.names):
                self.must("-n", name, "addr", "add", ADDRESSES[host] + "/24", "dev",
                          self.links[host])
                self.must("-n", name, "link", "set", self.links[host], "up")
                self.must("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names:
            ip("netns", "del", name)  # the links go with them

    @staticmethod
    def must(*arguments):
        done = ip(*arguments)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def inside(self, host):
        # `ip netns exec` would make a mount namespace as well, which can take seconds under load.
        return ["nsenter", f"--net=/run/netns/{self.names[host]}"]

    def link_down(self):
        self.must("-n", self.names[1], "link", "set", self.links[1], "down")

    def link_up(self):
        self.must("-n", self.names[1], "link", "set", self.links[1], "up")

    def lose_every_packet(self):
        """Each host sends to a hardware address that nobody has: no error, no answer."""
        for host in range(2):
            self.must("-n", self.names[host], "neigh", "replace", ADDRESSES[1 - host], "lladdr",
                      "02:00:00:00:00:77", "dev", self.links[host], "nud", "permanent")

    def lose_none(self):
        for host in range(2):
            self.must("-n", self.names[host], "neigh", "del", ADDRESSES[1 - host], "dev",
                      self.links[host])


class TwoHosts(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.hosts = self.stack.enter_context(Hosts())
        directory = pathlib.Path(tempfile.mkdtemp(prefix="copykv-e2e-"))
        self.stack.callback(shutil.rmtree, directory, ignore_errors=True)
        secret = directory / "secret"
        secret.write_text("the secret of two hosts\n")
        secret.chmod(0o600)
        self.ranks = self.stack.enter_context(RankProcesses(
            ["--transport", "ofi-tcp", "--memory", "64MiB", "--job-secret-file", str(secret)],
            daemon_threads=(1, 1), rendezvous=f"tcp://{ADDRESSES[0]}:{PORT}",
            prefix=[self.hosts.inside(host) for host in range(2)]))
        self.keys = [f"key-{number}" for number in range(KEYS)]
        self.values = {key: f"value of {key}" for key in self.keys}
        self.owned = [set(), set()]
        for number, key in enumerate(self.keys):
            before = [self.ranks.items(rank) for rank in range(2)]
            self.ends(number % 2, DONE, "put", key, self.values[key])
            self.ranks.until(CALL_SECONDS_MAX,
                             lambda: [self.ranks.items(r) for r in range(2)] != before)
            self.owned[0 if self.ranks.items(0) > before[0] else 1].add(key)
        self.assertTrue(all(self.owned), self.owned)

    def ends(self, rank, code, *arguments):
        done = self.call(rank, *arguments)
        self.assertEqual(done.returncode, code, (rank, arguments, done, self.ranks.output()))
        return done.stdout

    def call(self, rank, *arguments):
        began = time.monotonic()
        done = self.ranks.copykv(rank, *arguments)
        self.assertLess(time.monotonic() - began, CALL_SECONDS_MAX, (rank, arguments))
        return done

    def expect_all(self, values):
        for rank in range(2):
            for key in self.keys:
                self.assertEqual(self.ends(rank, DONE, "get", key), values[key].encode())

    def remote_answers(self, code):
        """Whether each rank answers so for a key of the other. What it says is checked."""
        for rank in range(2):
            key = min(self.owned[1 - rank])
            done = self.call(rank, "get", key)
            self.assertIn(done.returncode, (DONE, NO_DAEMON), done)
            if done.returncode == NO_DAEMON:
                self.assertIn("cannot be reached", done.stderr.decode())
            if done.returncode != code:
                return False
        return True

    def cut_and_heal(self, cut, heal):
        values = self.values
        self.expect_all(values)
        cut()
        began = time.monotonic()
        self.ranks.until(CUT_SECONDS_MAX, lambda: self.remote_answers(NO_DAEMON))
        told = time.monotonic() - began
        for rank in range(2):
            for key in self.owned[rank]:  # a host goes on alone
                values[key] = f"value of {key} of a host alone"
                self.ends(rank, DONE, "put", key, values[key])
                self.assertEqual(self.ends(rank, DONE, "get", key), values[key].encode())
            for key in self.owned[1 - rank]:
                done = self.call(rank, "put", key, "must not be")
                self.assertEqual(done.returncode, NO_DAEMON, done)
                self.assertIn("cannot be reached", done.stderr.decode())
        time.sleep(1.0)  # beyond every time-out of a session that is made
        heal()
        began = time.monotonic()
        self.ranks.until(HEAL_SECONDS_MAX, lambda: self.remote_answers(DONE))
        print(f"told after {told:.2f} s, served {time.monotonic() - began:.2f} s after the heal")
        self.expect_all(values)
        for rank in range(2):
            for key in self.keys:
                values[key] = f"{key} by rank {rank}"
                self.ends(rank, DONE, "put", key, values[key])
            self.expect_all(values)

    def test_link_down(self):
        for _ in range(2):
            self.cut_and_heal(self.hosts.link_down, self.hosts.link_up)

    def test_every_packet_lost(self):
        for _ in range(2):
            self.cut_and_heal(self.hosts.lose_every_packet, self.hosts.lose_none)

    def test_cut_while_operations_are_in_flight(self):
        """Clients on both hosts while the link is cut. What all of them saw has an order: what was
        acknowledged stands, what was told unreachable was not done."""
        with tempfile.TemporaryDirectory(prefix="copykv-e2e-") as directory:
            histories = [f"{directory}/rank{rank}.history" for rank in range(2)]
            loads = [subprocess.Popen(
                [*self.hosts.inside(rank), HISTORY_LOAD, "record", history, str(rank)],
                env=self.ranks.daemons[rank].environment(), preexec_fn=end_with_parent)
                for rank, history in enumerate(histories)]
            try:
                for _ in range(3):
                    time.sleep(0.3)
                    self.hosts.link_down()
                    time.sleep(1.2)
                    self.hosts.link_up()
                    self.ranks.until(HEAL_SECONDS_MAX, lambda: self.remote_answers(DONE))
            finally:
                for load in loads:
                    load.terminate()
                codes = [load.wait(timeout=LOAD_END_SECONDS_MAX) for load in loads]
            self.assertEqual(codes, [0, 0])
            checked = subprocess.run([HISTORY_LOAD, "check", *histories], capture_output=True,
                                     text=True, timeout=60, check=False)
            print(checked.stdout, end="")
            self.assertEqual(checked.returncode, 0, checked.stdout)


def remove_leftovers():
    """Namespaces of tests that were killed."""
    for line in ip("netns", "list").stdout.splitlines():
        found = re.match(r"ckv(\d+)h\d", line)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            ip("netns", "del", found[0])


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of every clean-up
    if shutil.which("ip") is None:
        print("ip is not installed (iproute2)")
        return SKIPPED
    remove_leftovers()
    try:
        with Hosts():
            pass
    except OSError as error:
        print(f"no network namespaces here: {error}")
        return SKIPPED
    unittest.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
