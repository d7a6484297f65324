#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/peers from the outside: it compares, sees wrong answers, and leaves nothing behind.

    peers_test.py BUILD_DIRECTORY SOURCE_DIRECTORY
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BUILD, SOURCE = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
RUN = SOURCE / "bench" / "peers" / "run"
PEER_PING = BUILD / "bench" / "peers" / "peer_ping"
PROGRAMS = ["redis-server", "redis-benchmark", "redis-cli", "memcached"]
SERVERS = {"copykvd", "redis-server", "memcached"}
START_SECONDS_MAX = 60.0
RUN_SECONDS_MAX = 300.0
SKIPPED = 77

sys.dont_write_bytecode = True
sys.path.insert(0, str(RUN.parent))
import report  # noqa: E402


def names_below(directory):
    """Names of the running servers whose output goes to a file below the directory."""
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "fd" / "1").startswith(str(directory)):
                found.add((process / "comm").read_text().strip())
        except OSError:
            continue  # it ended, or is not ours
    return found


class Compare(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="copykv-peers-test-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def start(self, *flags, path=None):
        environment = {**os.environ, "TMPDIR": self.directory}
        if path is not None:
            environment["PATH"] = path
        return subprocess.Popen([sys.executable, RUN, "--build", BUILD, *flags], text=True,
                                env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def expect_nothing_left(self):
        self.assertEqual(names_below(self.directory), set())
        self.assertEqual(list(pathlib.Path(self.directory).glob("copykv-peers-*")), [])

    def test_quick_comparison(self):
        path = pathlib.Path(self.directory) / "out.json"
        running = self.start("--quick", "--strict", "--json", str(path))
        out, err = running.communicate(timeout=RUN_SECONDS_MAX)
        self.assertIn(running.returncode, (0, 1), out + err)
        document = json.loads(path.read_text())
        self.assertEqual(running.returncode, 1 if report.missed(document) else 0)
        names = [comparison["name"] for comparison in document["comparisons"]]
        self.assertEqual(names, [c.name for c in report.LATENCY + report.RATE])
        for comparison in document["comparisons"]:
            self.assertGreater(comparison["ratio"]["min"], 0)
            self.assertEqual(len(comparison["ratio"]["rounds"]), 1)
            self.assertIn(comparison["what"], out)
        self.expect_nothing_left()

    def test_a_signal_ends_all_servers(self):
        running = self.start("--rounds", "100")
        give_up = time.monotonic() + START_SECONDS_MAX
        while not SERVERS <= names_below(self.directory) and time.monotonic() < give_up:
            time.sleep(0.02)
        self.assertLessEqual(SERVERS, names_below(self.directory))
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=RUN_SECONDS_MAX)
        self.assertEqual(running.returncode, 128 + signal.SIGTERM)
        self.expect_nothing_left()

    def test_a_server_that_does_not_start(self):
        broken = pathlib.Path(self.directory) / "redis-server"
        broken.write_text("#!/bin/sh\necho no memory today\nexit 1\n")
        broken.chmod(0o755)
        running = self.start("--quick", path=f"{self.directory}:{os.environ['PATH']}")
        _, err = running.communicate(timeout=RUN_SECONDS_MAX)
        self.assertEqual(running.returncode, 3)
        self.assertIn("redis-server did not start", err)
        self.assertIn("no memory today", err)
        self.expect_nothing_left()

    def test_bad_arguments(self):
        for flags in (["--rounds", "0"], ["--seconds", "-1"], ["--fast"]):
            running = self.start(*flags)
            running.communicate(timeout=RUN_SECONDS_MAX)
            self.assertEqual(running.returncode, 2, flags)


class Verdict(unittest.TestCase):
    def test_ratio_of_each_round_decides(self):
        latency, rate = report.LATENCY[0], report.RATE[0]
        rounds = [{"copykv_p50_ns": ours, "redis_p50_ns": 6000.0, "copykv_rate": 50.0,
                   "redis_rate_c1": theirs} for ours, theirs in ((100, 1), (200, 2), (50, 5))]
        low = report.compare(latency, rounds)
        self.assertEqual(low["ratio"]["rounds"], [60, 30, 120])
        self.assertEqual((low["ratio"]["median"], low["met"]), (60, True))
        high = report.compare(rate, rounds)
        self.assertEqual(high["ratio"]["rounds"], [50, 25, 10])
        self.assertEqual((high["ratio"]["median"], high["met"]), (25, True))
        rounds[0]["redis_p50_ns"] = 5999.0
        self.assertFalse(report.compare(latency, rounds)["met"])
        rounds[1]["copykv_rate"] = 49.9
        self.assertFalse(report.compare(rate, rounds)["met"])


class PeerPing(unittest.TestCase):
    """Against a server of our own that answers each request with the next of a list."""

    STORED, OK = b"STORED\r\n", b"+OK\r\n"
    MEMCACHED_HIT = b"VALUE k0000000 0 8\r\n0000000v\r\nEND\r\n"
    REDIS_HIT = b"$8\r\n0000000v\r\n"

    def ping(self, protocol, set_answer, get_answer):
        with tempfile.TemporaryDirectory(prefix="copykv-peers-test-") as directory:
            path = f"{directory}/server.sock"
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen()
                server = threading.Thread(target=self.serve,
                                          args=(listener, set_answer, get_answer))
                server.start()
                done = subprocess.run(
                    [PEER_PING, "--protocol", protocol, "--socket", path, "--keys", "1",
                     "--seconds", "0.05", "--warmup", "0"], capture_output=True, text=True,
                    timeout=RUN_SECONDS_MAX, check=False)
                server.join()
        return done

    @staticmethod
    def serve(listener, set_answer, get_answer):
        connection, _ = listener.accept()
        # A client that saw a wrong answer leaves without reading the rest.
        with connection, contextlib.suppress(ConnectionError):
            while request := connection.recv(4096):
                answer = get_answer if b"get" in request.lower() else set_answer
                if answer is None:
                    return
                connection.sendall(answer)

    def test_right_answers_are_counted(self):
        for protocol, stored, hit in (("memcached", self.STORED, self.MEMCACHED_HIT),
                                      ("redis", self.OK, self.REDIS_HIT)):
            done = self.ping(protocol, stored, hit)
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads(done.stdout)
            self.assertGreater(result["operations"], 0)
            self.assertEqual(result["latency_ns"]["count"], result["operations"])

    def test_wrong_answers_are_seen(self):
        for protocol, stored, answer in (
                ("memcached", self.STORED, self.MEMCACHED_HIT.replace(b"v", b"w")),
                ("memcached", self.STORED, b"END\r\n"), ("memcached", b"ERROR\r\n", None),
                ("redis", self.OK, self.REDIS_HIT.replace(b"v", b"w")),
                ("redis", self.OK, b"$-1\r\n"), ("redis", b"-OOM\r\n", None)):
            done = self.ping(protocol, stored, answer)
            self.assertEqual(done.returncode, 3, (protocol, answer))
            self.assertIn("expected", done.stderr)

    def test_a_lost_connection_is_a_failure(self):
        self.assertEqual(self.ping("redis", self.OK, None).returncode, 1)
        for depth, code in (("1", 1), ("0", 2)):
            command = [PEER_PING, "--protocol", "redis", "--socket", "/nonexistent/socket",
                       "--depth", depth]
            done = subprocess.run(command, capture_output=True, check=False)
            self.assertEqual(done.returncode, code, done.stderr)


if __name__ == "__main__":
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}; tools/install-deps installs them")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1], verbosity=2)
