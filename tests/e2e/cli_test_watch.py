#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""copykv, its commands that watch and examine: stat, top, doctor; daemons that hang or are gone.

Needs $COPYKV_BUILD_ROOT (or build/).
"""
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon_process import DaemonProcess, build_root  # noqa: E402

DONE, NO_KEY, USAGE, NO_DAEMON, ERROR = range(5)
COPYKV = build_root() / "tools" / "copykv"
ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def environment(daemon):
    # Machines that run tests may be slow; tests of the limit itself give --timeout.
    return {**daemon.environment(), "COPYKV_TIMEOUT": "30s"}


def run(daemon, *arguments):
    return subprocess.run([COPYKV, *arguments], env=environment(daemon), capture_output=True,
                          text=True, timeout=60, check=False)


class WatchTest(unittest.TestCase):
    def setUp(self):
        self.daemon = DaemonProcess(["--memory", "64MiB", "--daemon-threads", "2"])
        self.addCleanup(self.daemon.stop)
        self.daemon.start()

    def test_stat(self):
        for i in range(20):
            self.assertEqual(run(self.daemon, "put", f"k{i}", "v").returncode, DONE)
        run(self.daemon, "get", "missing")
        done = run(self.daemon, "stat", "--json")
        self.assertEqual(done.returncode, DONE, done)
        stat = json.loads(done.stdout)
        self.assertEqual((stat["schema"], stat["job"], stat["rank"], stat["rank_count"]),
                         (1, "default", 0, 1))
        self.assertEqual(stat["pid"], self.daemon.pid)
        self.assertEqual(stat["attaches"], 21)
        self.assertEqual(stat["memory_budget_bytes"], 64 << 20)
        self.assertGreater(stat["uptime_seconds"], 0)
        daemons = stat["daemons"]
        self.assertEqual([one["daemon"] for one in daemons], [0, 1])
        self.assertEqual(sum(one["by_op"]["put"] for one in daemons), 20)
        self.assertEqual(sum(one["by_status"]["not_found"] for one in daemons), 1)
        self.assertEqual(sum(one["items"] for one in daemons), 20)
        for one in daemons:
            self.assertTrue(0 <= one["busy_fraction"] <= 1)
            self.assertEqual(set(one["turn_ns"]),
                             {"count", "mean", "p50", "p90", "p99", "p999", "max"})
            self.assertEqual(set(one["phase_ns"]),
                             {"completions", "inbound", "ground_queue", "flush"})
        text = run(self.daemon, "stat")
        self.assertEqual(text.returncode, DONE)
        self.assertIn(f"pid {self.daemon.pid}", text.stdout)
        self.assertIn("daemon 1", text.stdout)

    def test_top_once(self):
        give_up = time.monotonic() + 30
        while True:
            done = run(self.daemon, "top", "--once", "--interval", "500ms")
            self.assertEqual((done.returncode, done.stderr), (DONE, ""))
            # The probe may still be attaching.
            if "pings" in done.stdout or time.monotonic() > give_up:
                break
        for part in ["operations/s", "probe", "p50", "p99", "memory", "turns/s", "busy", "lanes"]:
            self.assertIn(part, done.stdout)
        self.assertNotIn("\x1b", done.stdout)
        self.assertRegex(done.stdout, r"probe +p50 .* pings of this program")

    def test_a_daemon_that_hangs(self):
        run(self.daemon, "put", "k", "v")
        os.kill(self.daemon.pid, signal.SIGSTOP)
        for arguments in [["get", "k"], ["put", "k", "w"], ["ping"], ["dump"]]:
            begin = time.monotonic()
            done = run(self.daemon, *arguments, "--timeout", "300ms")
            self.assertLess(time.monotonic() - begin, 10)
            self.assertEqual(done.returncode, ERROR, done)
            self.assertRegex(done.stderr, r"\Acopykv: \w+: no answer within 300ms;[^\n]*\n\Z")
        self.assertEqual(json.loads(run(self.daemon, "stat", "--json").stdout)["pid"],
                         self.daemon.pid)
        top = run(self.daemon, "top", "--once", "--interval", "300ms")
        self.assertEqual(top.returncode, DONE, top)
        self.assertRegex(top.stdout, r"probe +none: attaching")
        doctor = run(self.daemon, "doctor", "--timeout", "300ms")
        self.assertEqual(doctor.returncode, ERROR)
        self.assertRegex(doctor.stdout, r"(?m)^fail  job default rank 0 +no answer within 300ms$")
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertEqual(run(self.daemon, "get", "k").stdout, "v")


class LostAfterAttachTest(unittest.TestCase):
    """The daemon stops or dies when copykv has attached and waits for its stdin."""

    def setUp(self):
        self.daemon = DaemonProcess(["--memory", "64MiB"])
        self.addCleanup(self.daemon.stop)
        self.daemon.start()

    def after(self, fault, *arguments, stdin):
        tool = subprocess.Popen([COPYKV, *arguments, "--timeout", "2s"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=environment(self.daemon))
        give_up = time.monotonic() + 20
        while json.loads(run(self.daemon, "stat", "--json").stdout)["clients_attached"] == 0:
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.01)
        fault()
        begin = time.monotonic()
        output, errors = tool.communicate(stdin, timeout=20)
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(output, "")
        return tool.returncode, errors

    def stop(self):
        os.kill(self.daemon.pid, signal.SIGSTOP)
        # A thread that runs goes on until the signal reaches it: long enough to serve a small load.
        tasks = pathlib.Path(f"/proc/{self.daemon.pid}/task")
        while any(" T " not in (task / "stat").read_text() for task in tasks.iterdir()):
            time.sleep(0.001)

    def test_stopped(self):
        code, errors = self.after(self.stop, "put", "k", "-", stdin="v")
        self.assertEqual(code, ERROR)
        self.assertRegex(errors, r"\Acopykv: put: no answer within 2s;[^\n]*\n\Z")

    def test_stopped_during_load(self):
        lines = "".join(json.dumps({"key": f"k{i}", "value": "v"}) + "\n" for i in range(1000))
        code, errors = self.after(self.stop, "load", "-", stdin=lines)
        self.assertEqual(code, ERROR)
        self.assertRegex(errors, r"\Acopykv: load: no answer within 2s;[^\n]*\n\Z")

    def test_killed(self):
        code, errors = self.after(self.daemon.kill, "put", "k", "-", stdin="v")
        self.assertEqual(code, NO_DAEMON)
        self.assertRegex(errors, r"\Acopykv: the daemon went away[^\n]*\n\Z")

    def test_killed_during_load(self):
        lines = "".join(json.dumps({"key": f"k{i}", "value": "v"}) + "\n" for i in range(1000))
        code, errors = self.after(self.daemon.kill, "load", "-", stdin=lines)
        self.assertEqual(code, NO_DAEMON)
        self.assertRegex(errors,
                         r"\Acopykv: stdin:1: the daemon went away[^\n]*0 records are loaded\n\Z")


class TopOnATerminalTest(unittest.TestCase):
    def setUp(self):
        self.daemon = DaemonProcess(["--memory", "64MiB"])
        self.addCleanup(self.daemon.stop)
        self.daemon.start()
        self.master, slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, slave)
        self.slave = slave
        termios.tcsetwinsize(slave, (24, 80))
        self.before = termios.tcgetattr(slave)
        self.top = subprocess.Popen([COPYKV, "top", "--interval", "200ms"], stdin=slave,
                                    stdout=slave, stderr=subprocess.PIPE,
                                    env=environment(self.daemon))
        self.addCleanup(self.top.kill)
        self.screen = b""
        self.read_until(b"busy")

    def read_until(self, part, seconds=20):
        give_up = time.monotonic() + seconds
        while part not in self.screen and time.monotonic() < give_up:
            if select.select([self.master], [], [], 0.1)[0]:
                self.screen += os.read(self.master, 65536)
        self.assertIn(part, self.screen)

    def left_with(self, code):
        errors = self.top.communicate(timeout=20)[1].decode()
        self.read_until(LEAVE_SCREEN)
        self.assertEqual(self.top.returncode, code, errors)
        self.assertIn(SHOW_CURSOR, self.screen)
        self.assertLess(self.screen.index(ENTER_SCREEN), self.screen.index(LEAVE_SCREEN))
        self.assertEqual(termios.tcgetattr(self.slave), self.before)
        return errors

    def test_q_leaves(self):
        os.write(self.master, b"q")
        self.assertEqual(self.left_with(DONE), "")

    def test_signals_leave(self):
        self.top.send_signal(signal.SIGINT)
        self.assertEqual(self.left_with(DONE), "")

    def test_end_of_the_daemon_leaves(self):
        self.daemon.kill()
        self.assertRegex(self.left_with(NO_DAEMON), r"\Acopykv: the daemon .* is gone; .*\n\Z")

    def test_lines_fit(self):
        os.write(self.master, b"q")
        self.left_with(DONE)
        for line in self.screen.split(b"\x1b[H")[1].split(b"\x1b[J")[0].split(b"\r\n"):
            self.assertLessEqual(len(line.removesuffix(b"\x1b[K")), 80, line)


class DoctorTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="copykv-doctor-")
        self.addCleanup(directory.cleanup)
        self.runtime_dir = pathlib.Path(directory.name)

    def start(self, *flags):
        daemon = DaemonProcess(["--memory", "64MiB", *flags], runtime_dir=self.runtime_dir)
        self.addCleanup(daemon.stop)
        return daemon.start()

    def doctor(self, *flags):
        self.daemon = DaemonProcess(runtime_dir=self.runtime_dir)
        done = run(self.daemon, "doctor", *flags)
        self.assertRegex(done.stdout, r"\A((ok   |warn |fail ) \S.*\n( +-> .*\n)?)+\Z")
        return done

    def files(self):
        return sorted(p.name for p in self.runtime_dir.rglob("rank*") if p.suffix != ".lock")

    def test_no_daemon_is_no_failure(self):
        done = self.doctor()
        self.assertEqual(done.returncode, DONE, done)
        self.assertRegex(done.stdout, r"(?m)^warn  daemons +none in ")
        for check in ["cores", "memory", "memfd", "/dev/shm", "huge pages", "locked memory",
                      "open files", "membarrier", "runtime directory", "rdma", "transport"]:
            self.assertRegex(done.stdout, rf"(?m)^\w+ +{check} ")
        self.assertRegex(done.stdout, r"(?m)^ok +transport +auto: (rc|ofi-tcp), ")

    def test_stale_files(self):
        dead, living = self.start("--job", "dead"), self.start("--job", "living")
        dead.kill()
        self.assertEqual(self.files(), ["rank0.info", "rank0.info", "rank0.sock", "rank0.sock"])
        done = self.doctor()
        self.assertEqual(done.returncode, DONE, done)
        self.assertRegex(done.stdout, r"(?m)^warn  job dead rank 0 +stale files of a dead daemon")
        self.assertIn("doctor --fix", done.stdout)
        self.assertRegex(done.stdout,
                         rf"(?m)^ok    job living rank 0 +process {living.pid} answers after")
        self.assertEqual(len(self.files()), 4)

        done = self.doctor("--fix")
        self.assertEqual(done.returncode, DONE, done)
        self.assertRegex(done.stdout, r"(?m)^ok    job dead rank 0 .*; removed$")
        self.assertEqual(self.files(), ["rank0.info", "rank0.sock"])
        self.assertEqual(run(living, "get", "k", "--job", "living").returncode, NO_KEY)
        self.assertNotIn("dead", self.doctor().stdout)

    def test_a_daemon_without_its_socket(self):
        daemon = self.start()
        (self.runtime_dir / "default" / "rank0.sock").unlink()
        done = self.doctor("--fix")
        self.assertEqual(done.returncode, ERROR)
        self.assertRegex(done.stdout,
                         rf"(?m)^fail  job default rank 0 +process {daemon.pid} lives but does not")
        self.assertEqual(self.files(), ["rank0.info"])

    def test_a_rank_that_is_locked_is_left_alone(self):
        daemon = self.start()
        (self.runtime_dir / "default" / "rank0.sock").unlink()
        (self.runtime_dir / "default" / "rank0.info").write_text("pid = 999999999\n")
        done = self.doctor("--fix")
        self.assertEqual(done.returncode, ERROR, done)
        self.assertIn("cannot lock", done.stdout)
        self.assertEqual(self.files(), ["rank0.info"])
        daemon.stop()

    def test_an_open_directory(self):
        (self.runtime_dir / "default").mkdir(mode=0o755)
        (self.runtime_dir / "default").chmod(0o755)
        done = self.doctor()
        self.assertEqual(done.returncode, ERROR)
        self.assertRegex(done.stdout, r"(?m)^fail  runtime directory .*\n +-> run: chmod 700 ")
        self.assertRegex(done.stderr, r"\Acopykv: 1 of the checks failed")


if __name__ == "__main__":
    unittest.main()
