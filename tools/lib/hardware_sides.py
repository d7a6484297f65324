# SPDX-License-Identifier: Apache-2.0
"""Running the commands of tools/hardware-check, each bounded in time: on this machine, or, over a
control connection of JSON lines, on the other one.

The caller of the connection names a step; the side that listens runs its own command of that name,
says when it can be called, and afterwards hands over its record and its files. It runs nothing
that it is told in words.
"""
import base64
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

LISTENING = "0A"  # a socket's state in /proc/net/tcp
READY_SECONDS_MAX = 30
END_SECONDS_MAX = 10  # for the other side to end after this one has
CALL_SECONDS_MAX = 30
LINE_BYTES_MAX = 64 << 20
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def listens(port):
    """Whether somebody on this machine listens at the TCP port."""
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rsplit(":", 1)[1], 16) == port:
                return True
    return False


class Process:
    """One command with all that it starts; its output goes to a file."""

    def __init__(self, command, output, environment):
        self.command = [str(word) for word in command]
        self.began = time.monotonic()
        self.error = ""
        self.timed_out = False
        self.process = None
        with open(output, "wb") as file:
            try:
                self.process = subprocess.Popen(
                    self.command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                    env={**os.environ, **environment}, start_new_session=True,
                    preexec_fn=end_with_parent)
            except OSError as error:
                self.error = str(error)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, port):
        """Until it listens. False: it has ended, or does not begin to."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while self.running() and time.monotonic() < deadline:
            if listens(port):
                return True
            time.sleep(0.02)
        return False

    def end(self, seconds_max):
        """Its record, once it has ended, by itself or because the time was over."""
        if self.process is not None:
            try:
                self.process.wait(max(seconds_max, 0))
            except subprocess.TimeoutExpired:
                self.timed_out = True
            if self.running():
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        return {"command": self.command,
                "exit_code": None if self.process is None else self.process.returncode,
                "seconds": round(time.monotonic() - self.began, 2),
                "timed_out": self.timed_out, "error": self.error}


class SameMachine:
    """The other side of each step, when both are here."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None

    def start(self, step, environment):
        """Empty, or why the step cannot be: ("skipped" or "failed", reason)."""
        self.process = Process(step.there, self.folder / f"{step.name}.there.txt", environment)
        if step.port and not self.process.wait_ready(step.port):
            return "failed", f"the other side does not listen; see {step.name}.there.txt"
        return None

    def end(self, step):
        return self.process.end(END_SECONDS_MAX)

    def close(self):
        pass


class Connection:
    """JSON lines over a socket."""

    def __init__(self, connected):
        self.socket = connected
        self.file = connected.makefile("rwb")

    def send(self, message):
        self.file.write(json.dumps(message).encode() + b"\n")
        self.file.flush()

    def receive(self, seconds_max):
        self.socket.settimeout(seconds_max)
        line = self.file.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise ConnectionError("the other side is gone")
        return json.loads(line)

    def close(self):
        self.file.close()
        self.socket.close()


def call(host, port):
    """Within CALL_SECONDS_MAX, since the other side may be started a moment later."""
    deadline = time.monotonic() + CALL_SECONDS_MAX
    while True:
        try:
            return Connection(socket.create_connection((host, port), timeout=5))
        except OSError as error:
            if time.monotonic() > deadline:
                raise ConnectionError(f"nobody listens at {host}:{port} ({error}); start "
                                      "`tools/hardware-check --listen` there first") from error
            time.sleep(0.5)


def accept(port):
    with socket.create_server(("", port), family=socket.AF_INET6,
                              dualstack_ipv6=True) as listener:
        return Connection(listener.accept()[0])


class OtherMachine:
    """The other side of each step, when it is another host's."""

    def __init__(self, connection, folder):
        self.connection = connection
        self.folder = folder

    def start(self, step, environment):
        del environment  # the other side has its own
        self.connection.send({"start": step.name})
        answer = self.connection.receive(READY_SECONDS_MAX + 10)
        return None if answer["state"] == "ready" else (answer["state"], answer["reason"])

    def end(self, step):
        """Its record; its files are taken over."""
        self.connection.send({"end": step.name})
        answer = self.connection.receive(step.seconds_max + END_SECONDS_MAX + 30)
        for name, content in answer["files"].items():
            if pathlib.Path(name).name == name and not (self.folder / name).exists():
                (self.folder / name).write_bytes(base64.b64decode(content))
        return answer["record"]

    def close(self):
        self.connection.send({"done": True})
        self.connection.close()


def serve(connection, steps, folder, environment, clean):
    """The side that listens: does what it is called for until the caller is done. `clean` takes
    the names out of a text."""
    process = None
    while True:
        message = connection.receive(None)
        if "done" in message:
            return
        step = steps.get(message.get("start") or message.get("end"))
        if step is None:
            connection.send({"state": "failed", "reason": "no such step on the other side"})
        elif "start" in message:
            print(f"{step.name}: {step.what}", flush=True)
            if step.skipped:
                connection.send({"state": "skipped", "reason": clean(step.skipped)})
                continue
            process = Process(step.there, folder / f"{step.name}.there.txt", environment)
            if not step.port or process.wait_ready(step.port):
                connection.send({"state": "ready"})
            else:
                connection.send({"state": "failed", "reason": "the other side does not listen"})
        else:
            wait = END_SECONDS_MAX if step.port else step.seconds_max
            record = process.end(wait)
            files = {path.name: base64.b64encode(clean(path.read_text(errors="replace")).encode())
                     .decode() for path in sorted(folder.glob(step.name + ".*"))}
            record["command"] = [clean(word) for word in record["command"]]
            connection.send({"record": record, "files": files})
