# SPDX-License-Identifier: Apache-2.0
"""One copykvd for one test: private runtime directory, started, awaited, ended by its pid.

    with DaemonProcess(["--memory", "64MiB"]) as daemon:
        subprocess.run([...], env=daemon.environment())
"""
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

READY_SECONDS_MAX = 60.0  # a sanitizer build on a busy machine
STOP_SECONDS_MAX = 30.0
PR_SET_PDEATHSIG = 1

LIBC = ctypes.CDLL(None, use_errno=True)


def build_root():
    """The build directory: $COPYKV_BUILD_ROOT, else build/ of this tree."""
    default = pathlib.Path(__file__).resolve().parents[2] / "build"
    return pathlib.Path(os.environ.get("COPYKV_BUILD_ROOT", default))


def end_with_parent():
    # A test runner kills a test that takes too long; its daemon must not stay behind.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class DaemonProcess:
    """A running copykvd. `runtime_dir` given: use it and leave it; else a private one is made."""

    def __init__(self, flags=(), program=None, runtime_dir=None):
        self.program = pathlib.Path(program or build_root() / "daemon" / "copykvd")
        self.flags = list(flags)
        self.private_dir = None if runtime_dir else tempfile.mkdtemp(prefix="copykv-e2e-")
        self.runtime_dir = str(runtime_dir or self.private_dir)
        self.process = None
        self.log = None
        self.last_output = ""
        self.killed = False

    def environment(self):
        """What a client needs to find this daemon, and nothing of the caller's settings."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("COPYKV_")}
        return {**clean, "COPYKV_RUNTIME_DIR": self.runtime_dir,
                "COPYKV_BUILD_ROOT": str(build_root())}

    def start(self):
        self.launch()
        return self.await_ready()

    def launch(self, prefix=()):
        """The first half of start, for ranks that wait for each other. `prefix`: what runs it."""
        self.log = tempfile.TemporaryFile(prefix="copykv-e2e-")
        self.process = subprocess.Popen(
            [*prefix, str(self.program), *self.flags], env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent)

    def await_ready(self):
        give_up = time.monotonic() + READY_SECONDS_MAX
        while not any(line.startswith("ready") for line in self.output().splitlines()):
            if self.process.poll() is not None or time.monotonic() > give_up:
                code = self.process.poll()
                state = "is not ready in time" if code is None else f"ended with code {code}"
                text = self.output()
                self.stop()
                raise RuntimeError(f"{self.program} {state}; it said:\n{text}")
            time.sleep(0.01)
        return self

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        """What the daemon has written to stdout and stderr so far."""
        if self.log.closed:
            return self.last_output
        # pread: the file offset is shared with the daemon, which writes at it.
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

    def kill(self):
        """kill -9, as a fault; leaving the `with` block is then no failure."""
        self.killed = True
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM, then wait; returns the exit code (negative: the signal that ended it)."""
        code = None
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
            try:
                code = self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                code = self.process.wait()
            self.last_output = self.output()
            self.log.close()
        if self.private_dir is not None:
            shutil.rmtree(self.private_dir, ignore_errors=True)
        return code

    def __enter__(self):
        return self.start()

    def __exit__(self, failure, *_):
        code = self.stop()
        if failure is None and code not in (0, None) and not self.killed:
            raise RuntimeError(f"copykvd ended with code {code}; it said:\n{self.output()}")
