# SPDX-License-Identifier: Apache-2.0
"""The servers under comparison: each in a private directory, started, awaited, ended by its pid."""
import ctypes
import getpass
import os
import pathlib
import signal
import socket
import subprocess
import time

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0
PR_SET_PDEATHSIG = 1

LIBC = ctypes.CDLL(None, use_errno=True)


class StepFailed(Exception):
    """A step that ends the comparison; the text names the step and what it said."""


def clean_environment():
    """The caller's environment without settings of copykv."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COPYKV_")}


def end_with_parent():
    # Also kill -9 of the comparison must not leave a server behind.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One server. Its sockets, files and output are below `directory`, which the caller removes."""

    def __init__(self, name, command, directory, is_ready):
        self.name = name
        self.log_path = pathlib.Path(directory) / f"{name}.log"
        self.is_ready = is_ready
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=clean_environment(), preexec_fn=end_with_parent)

    def output(self):
        return self.log_path.read_text(errors="replace")

    def await_ready(self):
        give_up = time.monotonic() + READY_SECONDS_MAX
        while not self.is_ready(self):
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise StepFailed(f"{self.name} did not start; it said:\n{self.output()}")
            time.sleep(0.01)

    def stop(self):
        self.process.terminate()  # does nothing to a process that was awaited already
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        try:
            self.await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


def accepts(path):
    def is_ready(_):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0
    return is_ready


def says_ready(server):
    return any(line.startswith("ready") for line in server.output().splitlines())


def copykvd(build, directory):
    return Server("copykvd", [build / "daemon" / "copykvd", "--runtime-dir", directory,
                              "--memory", "64MiB"], directory, says_ready)


def redis(directory):
    path = directory / "redis.sock"
    return Server("redis-server",
                  ["redis-server", "--port", "0", "--unixsocket", path, "--unixsocketperm", "700",
                   "--save", "", "--appendonly", "no", "--dir", directory, "--daemonize", "no"],
                  directory, accepts(path))


def memcached(directory):
    path = directory / "memcached.sock"
    # Only root may, and must, name the user to run as.
    user = ["-u", getpass.getuser()] if os.geteuid() == 0 else []
    return Server("memcached", ["memcached", "-s", path, "-a", "700", "-m", "64", *user],
                  directory, accepts(path))
