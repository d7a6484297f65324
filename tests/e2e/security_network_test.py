#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What docs/security.md claims of the network: the job secret shows nowhere, and strangers at the
ports of a job do not stop it. All of it over loopback.

    security_network_test.py      $COPYKV_BUILD_ROOT names the build
"""
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from daemon_process import DaemonProcess, build_root

SECRET = "s3cretOfTheJob-q8Zr5tLw2Xn7"
SHOWN_BYTES = 6  # fewer of a secret could be anything
STRANGERS = 300
SERVED_SECONDS_MAX = 20
KEYS = 8


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tells_the_secret(text):
    return any(SECRET[at:at + SHOWN_BYTES].encode() in text
               for at in range(len(SECRET) - SHOWN_BYTES + 1))


def listening_ports(pid):
    """TCP ports of 127.0.0.1 at which a process listens."""
    inodes = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
        except OSError:
            pass
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows
            if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


class Job(unittest.TestCase):
    """Two ranks on loopback that know the secret from their environment."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="copykv-e2e-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.port = free_port()
        self.outputs = []
        self.daemons = [self.rank(rank) for rank in range(2)]
        for daemon in self.daemons:
            daemon.launch()
        for daemon in self.daemons:
            daemon.await_ready()

    def rank(self, rank, secret=SECRET):
        daemon = DaemonProcess(
            ["--rank", str(rank), "--ranks", "2", "--memory", "64MiB", "--address", "127.0.0.1",
             "--rendezvous", f"tcp://127.0.0.1:{self.port}", "--rendezvous-timeout", "10s"],
            runtime_dir=f"{self.directory}/run")
        clean = daemon.environment
        daemon.environment = lambda: {**clean(), "COPYKV_JOB_SECRET": secret,
                                      "COPYKV_LOG": "debug", "COPYKV_TIMEOUT": "30s"}
        self.addCleanup(daemon.stop)
        return daemon

    def run_tool(self, program, *arguments, code=0, rank=0):
        done = subprocess.run([build_root() / program, *arguments], timeout=120, check=False,
                              env=self.daemons[rank].environment(), capture_output=True)
        self.outputs += [done.stdout, done.stderr]
        self.assertEqual(done.returncode, code, (program, arguments, done))
        return done.stdout

    def copykv(self, rank, *arguments):
        return self.run_tool("tools/copykv", "--rank", str(rank), *arguments, rank=rank)

    def every_key_is_served(self):
        """From both sides: some keys are remote for each."""
        for number in range(KEYS):
            self.copykv(number % 2, "put", f"key-{number}", f"value {number}")
            for rank in range(2):
                self.assertEqual(self.copykv(rank, "get", f"key-{number}"),
                                 f"value {number}".encode())

    def rank_1_comes_back(self):
        """A rank that was killed meets the other again while strangers stand at both ports."""
        self.daemons[1].kill()
        self.daemons[1] = self.rank(1)
        self.daemons[1].start()
        give_up = time.monotonic() + SERVED_SECONDS_MAX
        while True:
            try:
                return self.every_key_is_served()
            except AssertionError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)


class SecretTest(Job):
    def test_it_shows_nowhere(self):
        self.every_key_is_served()
        for rank in range(2):
            for command in (["info"], ["stat"], ["stat", "--json"], ["ping"], ["doctor"]):
                self.copykv(rank, *command)
        self.run_tool("daemon/copykvd", "--print-config")
        wrong = self.rank(1, secret=SECRET[:-1] + "X")
        wrong.launch()
        self.assertEqual(wrong.process.wait(60), 1, wrong.output())
        self.assertIn("another", wrong.output())
        self.outputs.append(wrong.output().encode())
        self.outputs += self.of_a_benchmark()
        for daemon in self.daemons:
            self.outputs.append(pathlib.Path(f"/proc/{daemon.pid}/cmdline").read_bytes())
            self.outputs.append(daemon.output().encode())
        for path in pathlib.Path(self.directory).rglob("*"):
            if path.is_file():
                self.outputs.append(path.read_bytes())
        self.assertTrue(tells_the_secret(SECRET.encode()))  # the search finds what it looks for
        for text in self.outputs:
            self.assertFalse(tells_the_secret(text), text)

    def of_a_benchmark(self):
        """All that a benchmark of two ranks says and writes, with the secret in its environment."""
        url, report = f"tcp://127.0.0.1:{free_port()}", f"{self.directory}/report.json"
        os.mkdir(f"{self.directory}/bench", 0o700)
        ranks = [subprocess.Popen(
            [build_root() / "bench" / "benchkv", "run", "--rank", str(rank), "--ranks", "2",
             "--rendezvous", url, "--duration", "0.3", "--warmup", "0", "--json", report,
             "--runtime-dir", f"{self.directory}/bench"],
            env=self.daemons[0].environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for rank in range(2)]
        command_lines = [pathlib.Path(f"/proc/{rank.pid}/cmdline").read_bytes() for rank in ranks]
        said = [text for rank in ranks for text in rank.communicate(timeout=120)]
        self.assertEqual([rank.returncode for rank in ranks], [0, 0], said)
        document = pathlib.Path(report).read_bytes()
        self.assertEqual(json.loads(document)["runs"][0]["ranks_reporting"], 2)
        return [*command_lines, *said, document]

    def test_a_file_that_others_may_read_is_refused(self):
        secret = pathlib.Path(self.directory) / "secret"
        secret.write_text(SECRET)
        for mode in (0o640, 0o604, 0o660):
            secret.chmod(mode)
            daemon = DaemonProcess(
                ["--rank", "1", "--ranks", "2", "--memory", "64MiB", "--rendezvous",
                 f"tcp://127.0.0.1:{self.port}", "--job-secret-file", str(secret)],
                runtime_dir=f"{self.directory}/other")
            self.addCleanup(daemon.stop)
            daemon.launch()
            self.assertEqual(daemon.process.wait(60), 1)
            self.assertIn(f"chmod 600 {secret}", daemon.output())
            self.assertFalse(tells_the_secret(daemon.output().encode()))


class StrangersTest(Job):
    def strangers_at(self, port, says):
        """Connections of somebody who knows nothing, open until the test ends."""
        for number in range(STRANGERS):
            stranger = socket.create_connection(("127.0.0.1", port), timeout=10)
            self.addCleanup(stranger.close)
            try:
                stranger.sendall(says(number))
            except OSError:
                pass  # hung up on already

    @staticmethod
    def garbage(number):
        source = random.Random(number)
        return (b"", b"GET / HTTP/1.1\r\n\r\n", source.randbytes(300), b"CKVB\x01\x00\x01\x00",
                b"\x00" * 200, b"\xff" * 200)[number % 6]

    @staticmethod
    def like_a_connection_request(number):
        """The head that libfabric's TCP providers begin with, then anything."""
        source = random.Random(number)
        return bytes([3, 1 + number % 4]) + source.randbytes(2) + b"\x00" * 4 + \
            source.randbytes(source.randrange(100))

    def descriptors(self, rank):
        return len(os.listdir(f"/proc/{self.daemons[rank].pid}/fd"))

    def descriptors_come_down_to(self, rank, limit):
        give_up = time.monotonic() + SERVED_SECONDS_MAX
        while self.descriptors(rank) > limit and time.monotonic() < give_up:
            time.sleep(0.2)
        self.assertLessEqual(self.descriptors(rank), limit)

    def test_at_the_rendezvous(self):
        before = self.descriptors(0)
        self.strangers_at(self.port, self.garbage)
        self.every_key_is_served()
        self.rank_1_comes_back()
        # Whoever proves nothing is hung up on after five seconds.
        self.descriptors_come_down_to(0, before + 8)
        self.assertIn("no message of copykv", self.daemons[0].output())

    def test_at_the_data_port(self):
        before = self.descriptors(0)
        ports = listening_ports(self.daemons[0].pid) - {self.port}
        self.assertEqual(len(ports), 1)
        for says in (self.garbage, self.like_a_connection_request, lambda number: b""):
            self.strangers_at(next(iter(ports)), says)
        self.every_key_is_served()
        self.rank_1_comes_back()
        self.descriptors_come_down_to(0, before + 8)
        self.assertIn("connections of strangers", self.daemons[0].output())
        self.assertIsNone(self.daemons[0].process.poll())


if __name__ == "__main__":
    unittest.main(verbosity=2)
