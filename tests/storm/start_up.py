#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts that must fail, each with a line that names the check and the remedy, and starts that must
work on a machine that looks broken.

    start_up.py [TEST]...     the build is $COPYKV_BUILD_ROOT
"""
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from daemon_process import DaemonProcess, build_root  # noqa: E402

NOBODY = 65534
START_SECONDS_MAX = 20
IS_ROOT = os.geteuid() == 0
CAN_UNSHARE = IS_ROOT and subprocess.run(["unshare", "-m", "true"], capture_output=True,
                                         check=False).returncode == 0


class StartUp(unittest.TestCase):
    def setUp(self):
        self.runtime_dir = pathlib.Path(tempfile.mkdtemp(prefix="copykv-start-"))
        self.addCleanup(shutil.rmtree, self.runtime_dir, ignore_errors=True)

    def refused(self, flags, remedy, before=None, wrapper=(), code=1):
        """Runs a start that must fail: its code, and the words of the remedy on stderr."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("COPYKV_")}
        done = subprocess.run(
            [*wrapper, str(build_root() / "daemon" / "copykvd"), "--runtime-dir",
             str(self.runtime_dir), *flags],
            env=clean, preexec_fn=before, capture_output=True, text=True,
            timeout=START_SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        errors = [line for line in done.stderr.splitlines() if line.strip()]
        self.assertGreaterEqual(len(errors), 1)
        for word in remedy:
            self.assertIn(word, errors[-1])

    def serves(self, flags=(), program=None):
        """A daemon that starts, stores and gives back."""
        tool = build_root() / "tools" / "copykv"
        with DaemonProcess(flags, program, self.runtime_dir) as daemon:
            for arguments in (["put", "key", "value"], ["get", "key"]):
                done = subprocess.run([tool, *arguments], env=daemon.environment(),
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.strip(), "value")

    def wrapped(self, *lines):
        """A program that does something to its surroundings, then becomes copykvd."""
        script = self.runtime_dir / "wrapped"
        script.write_text("\n".join(["#!/bin/sh", "set -e", *lines,
                                     f'exec {build_root()}/daemon/copykvd "$@"']) + "\n")
        script.chmod(0o700)
        return script

    def test_second_daemon_of_the_same_rank(self):
        with DaemonProcess(["--memory", "64MiB"], runtime_dir=self.runtime_dir):
            self.refused(["--memory", "64MiB"], ["served already", "--job", "--rank"])
            # The first one is not harmed, and another job is another daemon.
            with DaemonProcess(["--memory", "64MiB", "--job", "other"],
                               runtime_dir=self.runtime_dir):
                pass

    def test_start_after_a_killed_daemon(self):
        first = DaemonProcess(["--memory", "64MiB"], runtime_dir=self.runtime_dir).start()
        first.kill()
        self.serves(["--memory", "64MiB"])

    def test_more_memory_than_the_machine_has(self):
        self.refused(["--memory", "200GiB"], ["--memory 200GiB", "lower --memory"])

    def test_more_memory_than_can_be_asked_for(self):
        self.refused(["--memory", "4TiB"], ["memory"], code=2)

    def test_less_memory_than_the_smallest_store(self):
        self.refused(["--memory", "1MiB"], ["memory"], code=2)
        self.refused(["--memory", "16MiB", "--daemon-threads", "4"], ["raise --memory"], code=2)

    @unittest.skipUnless(CAN_UNSHARE, "needs a mount namespace of its own")
    def test_more_memory_than_the_control_group_allows(self):
        wrapper = ["unshare", "-m", "sh", "-c",
                   "mount -t tmpfs none /sys/fs/cgroup && echo 100000000 > "
                   "/sys/fs/cgroup/memory.max && exec \"$@\"", "sh"]
        self.refused(["--memory", "128MiB"], ["control group", "container's memory limit"],
                     wrapper=wrapper)

    @unittest.skipUnless(IS_ROOT, "needs root to drop a capability")
    def test_locked_memory_beyond_the_limit(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        self.refused(["--memory", "64MiB", "--lock-memory"], ["ulimit -l", "--lock-memory"], limit,
                     ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"])

    @unittest.skipUnless(pathlib.Path("/proc/sys/vm/nr_hugepages").read_text().strip() == "0",
                         "this machine has huge pages reserved")
    def test_huge_pages_required_but_not_there(self):
        self.refused(["--memory", "64MiB", "--huge-pages", "require"], ["nr_hugepages"])

    def test_too_few_open_files(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        self.refused(["--memory", "64MiB"], ["ulimit -n", "--max-clients"], limit)

    def test_job_directory_that_others_may_enter(self):
        (self.runtime_dir / "default").mkdir(mode=0o700)
        (self.runtime_dir / "default").chmod(0o755)
        self.refused([], ["mode 0755", "chmod 700"])

    @unittest.skipUnless(IS_ROOT, "needs root to give a directory away")
    def test_job_directory_of_another_user(self):
        (self.runtime_dir / "default").mkdir(mode=0o700)
        os.chown(self.runtime_dir / "default", NOBODY, NOBODY)
        self.refused([], [f"belongs to user {NOBODY}", "COPYKV_RUNTIME_DIR"])

    def test_runtime_directory_that_others_may_change(self):
        self.runtime_dir.chmod(0o777)
        self.refused([], ["can be changed by other users", "COPYKV_RUNTIME_DIR"])

    def test_job_directory_that_is_a_link_or_a_file(self):
        elsewhere = self.runtime_dir / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        (self.runtime_dir / "default").symlink_to(elsewhere)
        self.refused([], ["is not a directory", "remove it"])
        (self.runtime_dir / "default").unlink()
        (self.runtime_dir / "default").write_text("")
        self.refused([], ["is not a directory", "remove it"])

    def test_runtime_directory_that_cannot_be_made(self):
        self.refused(["--runtime-dir", "/proc/nowhere"], ["COPYKV_RUNTIME_DIR"])

    def test_socket_path_too_long(self):
        self.runtime_dir = self.runtime_dir / ("x" * 120)
        self.refused([], ["107", "COPYKV_RUNTIME_DIR"])

    def test_usage(self):
        self.refused(["--rank", "3"], ["--rank 3", "0"], code=2)
        self.refused(["--no-such-flag"], ["--no-such-flag"], code=2)
        self.refused(["--job", "../up"], ["job name", "A-Z"])

    @unittest.skipUnless(CAN_UNSHARE, "needs a mount namespace of its own")
    def test_full_shared_memory_mount_does_not_matter(self):
        program = self.wrapped("mount -t tmpfs -o size=4k none /dev/shm",
                               "head -c 4096 /dev/zero > /dev/shm/full",
                               "! head -c 1 /dev/zero > /dev/shm/more 2>/dev/null")
        inside = self.runtime_dir / "inside"
        inside.write_text(f'#!/bin/sh\nexec unshare -m {program} "$@"\n')
        inside.chmod(0o700)
        self.serves(["--memory", "64MiB"], inside)

    def test_smallest_memory_serves(self):
        self.serves(["--memory", "8MiB"])


if __name__ == "__main__":
    unittest.main()
