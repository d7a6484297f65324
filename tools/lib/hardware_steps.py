# SPDX-License-Identifier: Apache-2.0
"""The steps of tools/hardware-check: which commands each side runs, or why it does not."""
import dataclasses
import itertools
import json
import pathlib
import re
import shutil
import subprocess

CLIENTS = "1,2,4,8,16"  # as in the published runs
BULK_BYTES = 256 * 1024  # a piece of a large value, as copyrpc moves it
NO_SPEED = "the emulated device has no figures of speed, and no program but ours"
ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Nic:
    """One port of a device, as `copykv doctor --json` tells of it."""
    device: str
    port: int = 1
    link: str = ""
    gid_index: int = 0
    reason: str = ""
    dc_reason: str = ""


@dataclasses.dataclass
class Plan:
    """What the steps depend on."""
    build: pathlib.Path
    folder: pathlib.Path
    here: Nic
    there: Nic
    host: str            # of the side that listens, as the other calls it
    port: int            # of the first step; each next one has the next
    quick: bool = False
    emulated: bool = False
    two_hosts: bool = False

    def program(self, *path):
        return self.build.joinpath(*path)


@dataclasses.dataclass
class Step:
    """`there` runs on the other side and is started first; None: this step has one side. With a
    port, `here` begins once `there` listens."""
    name: str
    what: str
    here: list
    there: list = None
    port: int = 0
    seconds_max: float = 60
    skipped: str = ""


def nics(build):
    """The ports of this machine; the reason when there is none."""
    done = subprocess.run([build / "tools" / "copykv", "doctor", "--json"], capture_output=True,
                          text=True, timeout=60, check=False)
    rdma = json.loads(done.stdout)["rdma"]
    return [Nic(port["device"], port["port"], port["link"], port["gid_index"],
                port["reason"] or port["rc_reason"], port["dc_reason"])
            for port in rdma["ports"]], rdma["none"]


def choose(ports, wanted):
    """The wanted device, or the first that can be used."""
    for port in ports:
        if port.device == wanted or (not wanted and not port.reason):
            return port
    return None


def verbs_flags(nic):
    return ["--port", nic.port, "--gid-index", nic.gid_index]


def facts(plan):
    """Of each side."""
    copykv = plan.program("tools", "copykv")
    for name, what, command in (
            ("facts-devices", "devices as libibverbs sees them", ["ibv_devinfo", "-v"]),
            ("facts-doctor", "devices, limits and this machine, as copykv sees them",
             [copykv, "doctor", "--json"]),
            ("facts-processors", "processors, caches and NUMA nodes", ["lscpu"])):
        step = Step(name, what, command, command if plan.two_hosts else None, 0, 30)
        if shutil.which(str(command[0])) is None:
            step.skipped = f"{command[0]} is not installed"
        if plan.emulated and name == "facts-devices":
            step.skipped = "libibverbs knows nothing of the emulated device"
        yield step


def transport_skip(plan, transport):
    """Why a transport cannot be looked at; empty: it can."""
    if plan.emulated:
        return ""
    for nic in (plan.here, plan.there):
        reason = nic.reason or (nic.dc_reason if transport == "dc" else "")
        if reason:
            return reason
    return ""


def conformance(plan, transport):
    if plan.emulated:
        program, over = "conformance_emulated", transport
    else:
        program = "conformance"
        devices = [plan.here.device]
        if not plan.two_hosts and plan.there.device != plan.here.device:
            devices.append(plan.there.device)
        over = f"{transport}:{','.join(devices)}"
    command = [plan.program("tests", "conformance", program), "--transport", over]
    if plan.quick:
        command.append("every byte*,a read brings*,limits*")
    return Step(f"conformance-{transport}", f"all promises of {transport}, on one host", command,
                command if plan.two_hosts else None, 0, 300, transport_skip(plan, transport))


def perftest(plan, name, program, what, flags, port):
    def command(nic, peer):
        gid = ["-x", nic.gid_index] if nic.link == "RoCE" else []
        return [program, "-d", nic.device, "-i", nic.port, *gid, "-p", port, "-F", *flags, *peer]
    step = Step(name, what, command(plan.here, [plan.host]), command(plan.there, []), port, 60)
    if plan.emulated:
        step.skipped = NO_SPEED
    elif shutil.which(program) is None:
        step.skipped = f"{program} is not installed (package perftest)"
    else:
        step.skipped = transport_skip(plan, "rc")
    return step


def two_sided(plan, step, program, flags):
    """A micro-benchmark that writes its figures: both its sides."""
    path = plan.program("bench", "micro", program)
    option = "--devices" if program == "rc_pingpong" else "--device"

    def command(nic, place):
        return [path, *place, "--tcp-port", step.port, option, nic.device, *verbs_flags(nic),
                *flags]
    step.there = command(plan.there, ["--listen"])
    step.here = [*command(plan.here, ["--peer", plan.host]),
                 "--json", plan.folder / f"{step.name}.json"]
    return step


def pingpong(plan, transport, port):
    step = Step(f"pingpong-{transport}", f"round trip, rate and large values of copyrpc over "
                f"{transport}, in turn with plain verbs", [], None, port, 120)
    step.skipped = NO_SPEED if plan.emulated else transport_skip(plan, transport)
    rounds, runs, values = (200, 2, 8) if plan.quick else (20_000, 5, 2_000)
    return two_sided(plan, step, "rc_pingpong", ["--transport", transport, "--rounds", rounds,
                                                 "--runs", runs, "--values", values])


def rates(plan, transport, port):
    step = Step(f"rate-{transport}", f"work requests a second over {transport}: inline or not, "
                "1 to 8 messages each, 1 and 2 contexts", [], None, port, 180)
    step.skipped = transport_skip(plan, transport)
    flags = ["--transport", transport, "--seconds", 0.05 if plan.quick else 2]
    if not plan.emulated:
        return two_sided(plan, step, "post_rate", flags)
    step.port = 0
    step.here = [plan.program("tests", "emulated_mlx5", "post_rate_emulated"), "--in-threads",
                 "--address", "127.0.0.1", *flags, "--json", plan.folder / f"{step.name}.json"]
    return step


def sweep(plan, transport, flush, port):
    """Two ranks, of which rank 0 is the other side and writes the document."""
    name = f"sweep-{transport}-{flush}"
    clients, duration, warmup, runs = ("1", 0.2, 0.1, 1) if plan.quick else (CLIENTS, 2, 0.5, 3)
    common = [plan.program("bench", "benchkv"), "sweep", "--preset", "rtt-analysis", "--ranks", 2,
              "--rendezvous", f"tcp://{plan.host}:{port}", "--runtime-dir", plan.folder / "run",
              "--transport", transport, "--flush", flush, "--client-threads", clients,
              "--duration", duration, "--warmup", warmup, "--runs", runs, "--histograms"]
    step = Step(name, f"round trips of two ranks over {transport}, flush policy {flush}: input of "
                "`benchkv report`", [*common, "--rank", 1],
                [*common, "--rank", 0, "--json", plan.folder / f"{name}.json"],
                port, 240)
    step.skipped = NO_SPEED if plan.emulated else transport_skip(plan, transport)
    return step


def all_steps(plan):
    """By name, in order. The same names whatever the plan."""
    ports = itertools.count(plan.port)
    n = (200, 20, 500) if plan.quick else (20_000, 5_000, 200_000)
    steps = [*facts(plan), conformance(plan, "rc"), conformance(plan, "dc"),
             perftest(plan, "perftest-latency", "ib_write_lat", "perftest's latency of 8 bytes",
                      ["-s", 8, "-n", n[0]], next(ports)),
             perftest(plan, "perftest-bandwidth", "ib_write_bw",
                      f"perftest's bandwidth of {BULK_BYTES} bytes",
                      ["-s", BULK_BYTES, "-n", n[1], "--report_gbits"], next(ports)),
             perftest(plan, "perftest-rate", "ib_write_bw",
                      "perftest's rate of writes of 64 bytes, which nobody is told of",
                      ["-s", 64, "-n", n[2], "--report_gbits"], next(ports))]
    for transport in ("rc", "dc"):
        steps += [pingpong(plan, transport, next(ports)), rates(plan, transport, next(ports))]
    for transport in ("rc", "dc"):
        steps += [sweep(plan, transport, flush, next(ports)) for flush in ("loop", "clocked")]
    for step in steps:
        if not step.skipped and not shutil.which(str(step.here[0])):
            step.skipped = f"{step.here[0]} is not built: ninja -C {plan.build}"
    return {step.name: step for step in steps}


def last_numbers(path):
    """The last line of figures that perftest has printed."""
    for line in reversed(path.read_text(errors="replace").splitlines()):
        fields = line.split()
        if len(fields) >= 4 and all(re.fullmatch(r"[\d.]+", field) for field in fields):
            return [float(field) for field in fields]
    return None


def ratios(folder):
    """copyrpc over perftest; a reason where there is none."""
    found = {}
    latency, bandwidth = folder / "perftest-latency.txt", folder / "perftest-bandwidth.txt"
    for transport in ("rc", "dc"):
        path = folder / f"pingpong-{transport}.json"
        if not path.exists():
            found[transport] = f"pingpong-{transport} has not run"
            continue
        ours = json.loads(path.read_text())
        one = found[transport] = {"round_trip_over_plain_verbs": ours["round_trip_ratio"],
                                  "rate_over_plain_verbs": ours["rate_ratio"]}
        figures = last_numbers(latency) if latency.exists() else None
        if figures:  # typical, of half a round trip
            one["latency_over_ib_write_lat"] = ours["round_trip_us"] / 2 / figures[4]
        figures = last_numbers(bandwidth) if bandwidth.exists() else None
        if figures:  # average
            one["bandwidth_over_ib_write_bw"] = (ours["bulk_bytes_per_second"] * 8e-9
                                                 / figures[3])
    return found
