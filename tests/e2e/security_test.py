#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What docs/security.md claims of files, users and memory, from the outside; and that every test
which it names exists.

    security_test.py      $COPYKV_BUILD_ROOT names the build; parts need root and say so
"""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import time
import unittest

from daemon_process import DaemonProcess, build_root
from rank_processes import RankProcesses

ROOT = pathlib.Path(__file__).resolve().parents[2]
DONE, NO_DAEMON, ERROR = 0, 3, 4
MEMORY = ["--memory", "64MiB"]
OWNER, OTHER = 65533, 65534  # two users that are neither root nor each other


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def as_user(uid):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


def why_not_two_users():
    if os.geteuid() != 0:
        return "needs root to become other users"
    if not shutil.which("setpriv"):
        return "setpriv (util-linux) is not installed"
    program = build_root() / "tools" / "copykv"
    done = subprocess.run([*as_user(OTHER), program, "--version"], capture_output=True, check=False)
    ok = done.returncode != 127 and b"Permission denied" not in done.stderr
    return "" if ok else f"other users may not run {program}"


class FilesTest(unittest.TestCase):
    def test_modes_of_a_rank(self):
        before = os.umask(0)  # the modes are ours, not the caller's
        try:
            with DaemonProcess(MEMORY) as daemon:
                job = pathlib.Path(daemon.runtime_dir) / "default"
                self.assertEqual(mode_of(job), 0o700)
                modes = {path.name: mode_of(path) for path in job.iterdir()}
                self.assertEqual(modes, {"rank0.sock": 0o600, "rank0.info": 0o600,
                                         "rank0.lock": 0o600})
        finally:
            os.umask(before)

    def test_modes_of_a_job(self):
        with RankProcesses(MEMORY, (1, 1)) as ranks:
            meeting = pathlib.Path(ranks.directory) / "rendezvous"
            cards = sorted(meeting.iterdir())
            self.assertEqual([card.name for card in cards],
                             [f"copykv-default-rank{rank}" for rank in range(2)])
            self.assertEqual({mode_of(card) for card in cards}, {0o600})

    def test_a_meeting_place_for_everybody_is_refused(self):
        with tempfile.TemporaryDirectory(prefix="copykv-e2e-") as directory:
            os.chmod(directory, 0o777)
            daemon = DaemonProcess(["--ranks", "2", "--rank", "0", "--rendezvous",
                                    f"file://{directory}", *MEMORY])
            self.addCleanup(daemon.stop)
            daemon.launch()
            self.assertEqual(daemon.process.wait(60), 1)
            self.assertIn(f"chmod 700 {directory}", daemon.output())
            self.assertEqual(os.listdir(directory), [])


class UsersTest(unittest.TestCase):
    """Three barriers, each by itself: directories, the daemon's check, the library's check."""

    def setUp(self):
        if reason := why_not_two_users():
            self.skipTest(reason)
        self.directory = tempfile.mkdtemp(prefix="copykv-e2e-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        os.chown(self.directory, OWNER, OWNER)
        self.daemon = DaemonProcess(MEMORY, runtime_dir=self.directory)
        self.daemon.launch(as_user(OWNER))
        self.addCleanup(self.daemon.stop)
        self.daemon.await_ready()

    def ping(self, uid):
        environment = {**self.daemon.environment(), "COPYKV_TIMEOUT": "30s"}
        done = subprocess.run([*as_user(uid), build_root() / "tools" / "copykv", "ping"],
                              env=environment, capture_output=True, timeout=60, check=False)
        return done.returncode, done.stderr.decode()

    def open_the_directories(self):
        for path in (self.directory, f"{self.directory}/default",
                     f"{self.directory}/default/rank0.sock"):
            os.chmod(path, 0o777)

    def test_the_directories_keep_others_out(self):
        self.assertEqual(self.ping(OWNER)[0], DONE)
        code, error = self.ping(OTHER)
        self.assertEqual(code, NO_DAEMON, error)
        self.assertIn("Permission denied", error)

    def test_neither_side_takes_another_user(self):
        self.open_the_directories()
        code, error = self.ping(OTHER)
        self.assertNotEqual(code, DONE)
        self.assertIn(f"belongs to user {OWNER}", error)
        # The daemon said no as well, or would have: its own check is storm-attach_abuse's.
        self.assertEqual(self.ping(0)[0], DONE)

    def test_another_user_cannot_reach_the_memory_through_proc(self):
        self.open_the_directories()
        listing = subprocess.run([*as_user(OTHER), "ls", f"/proc/{self.daemon.pid}/fd"],
                                 capture_output=True, check=False)
        self.assertNotEqual(listing.returncode, 0)
        self.assertIn(b"Permission denied", listing.stderr)


class CoreDumpsTest(unittest.TestCase):
    def test_the_store_and_the_segments_are_left_out(self):
        with DaemonProcess(MEMORY) as daemon:
            client = subprocess.Popen([build_root() / "tools" / "copykv", "load", "-"],
                                      env=daemon.environment(), stdin=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL)
            self.addCleanup(client.wait)
            self.addCleanup(client.stdin.close)
            client.stdin.write(b'{"key": "k", "value": "v"}\n')
            client.stdin.flush()
            give_up = time.monotonic() + 30
            while (dumped := self.dumped(daemon.pid)) != {"copykv-store": False,
                                                          "copykv-client": False,
                                                          "copykv-rank": True}:
                self.assertLess(time.monotonic(), give_up, dumped)

    @staticmethod
    def dumped(pid):
        """By the name of each memfd that is mapped: whether a core dump would hold some of it."""
        text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
        found = re.findall(r"/memfd:(\S+) .*?^VmFlags: ([^\n]*)", text, re.M | re.S)
        names = {name for name, _ in found}
        return {name: any("dd" not in flags.split() for of, flags in found if of == name)
                for name in names}


class DocumentTest(unittest.TestCase):
    """docs/security.md names a test for each claim: `file: name`, the files below tests/."""

    def setUp(self):
        self.text = (ROOT / "docs" / "security.md").read_text()

    def test_every_named_test_exists(self):
        named = re.findall(r"`([\w./-]+\.(?:cpp|py)): ([^`]+)`", self.text)
        self.assertGreater(len(named), 50)
        for place, name in named:
            source = (ROOT / "tests" / place).read_text()
            name = " ".join(name.split())
            pattern = rf'TEST_CASE\(\s*"{re.escape(name)}"' if place.endswith(".cpp") else \
                rf"def {re.escape(name)}\(self\)"
            self.assertRegex(source, pattern, (place, name))
        for names in re.findall(r"fuzzers? ((?:`\w+`(?: and )?)+)", self.text):
            for name in re.findall(r"`(\w+)`", names):
                self.assertTrue((ROOT / "tests" / "fuzz" / f"{name}.cpp").exists(), name)

    def test_every_claim_names_a_test(self):
        claims = 0
        in_claims = False
        for line in self.text.splitlines():
            in_claims = line.startswith("|") and (in_claims or line == "| claim | shown by |")
            if not in_claims or line.startswith(("| claim |", "|---")):
                continue
            claims += 1
            shown_by = line.rsplit(" | ", 1)[1]
            self.assertRegex(shown_by, r"\.(cpp|py): |fuzzers? `", line)
        self.assertGreater(claims, 35)


if __name__ == "__main__":
    unittest.main(verbosity=2)
