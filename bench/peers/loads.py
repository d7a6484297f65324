# SPDX-License-Identifier: Apache-2.0
"""One load, many programs: GETs of 8-byte values, 1,024 keys, every key stored before.

A figure is measured once per round by a function of Bench; FIGURES lists them in the order of a
round. Latencies are p50 in nanoseconds, rates are operations per second.
"""
import csv
import dataclasses
import json
import subprocess
import typing

from servers import StepFailed, clean_environment

KEYS = 1024
VALUE_BYTES = 8
PIPELINE = 64
REDIS_CONNECTIONS = (1, 4, 16, 50)
STEP_SECONDS_MAX = 300.0

# redis-benchmark takes a number of requests, not a duration. A quiet machine runs about this many
# per second; a slower one takes longer for the same figure.
REDIS_RATE_DEPTH_1 = 20_000
REDIS_RATE_PIPELINE = 1_000_000
FILL_REQUESTS = 50 * KEYS  # at random: a key stays out with a probability of e^-50


@dataclasses.dataclass
class Bench:
    build: typing.Any  # pathlib.Path of the build directory
    directory: typing.Any  # pathlib.Path of the servers' sockets
    seconds: float  # per figure
    document: dict = dataclasses.field(default_factory=dict)  # benchkv's last one
    line_rtt_ns: list = dataclasses.field(default_factory=list)  # all that benchkv measured

    def run(self, command):
        command = [str(part) for part in command]
        try:
            done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True,
                                  timeout=STEP_SECONDS_MAX, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StepFailed(f"{' '.join(command)}: {error}") from error
        if done.returncode != 0:
            raise StepFailed(f"{' '.join(command)} ended with code {done.returncode}:\n"
                             + done.stdout + done.stderr)
        return done.stdout

    def benchkv(self, depth):
        """The run of one client at this depth; wrong values and errors end the comparison."""
        text = self.run([self.build / "bench" / "benchkv", "run", "--attach",
                         "--runtime-dir", self.directory, "--job", "default",
                         "--client-threads", 1, "--queue-depth", depth, "--read-ratio", 1,
                         "--key-range", KEYS, "--key-bytes", 8, "--value-bytes", VALUE_BYTES,
                         "--duration", self.seconds, "--warmup", self.seconds / 4,
                         "--quiet", "--json", "-"])
        self.document = json.loads(text)
        line_rtt = self.document["line_rtt_ns"]
        self.line_rtt_ns += [line_rtt["before"], line_rtt["after"]]
        result = self.document["runs"][0]
        if result["errors"]["total"] or result["wrong_values"] or not result["reads_verified"]:
            raise StepFailed(f"benchkv: {result['errors']['total']} errors, "
                             f"{result['wrong_values']} wrong values, "
                             f"{result['reads_verified']} reads verified")
        return result

    def peer_ping(self, protocol, depth, wait):
        return json.loads(self.run([
            self.build / "bench" / "peers" / "peer_ping", "--protocol", protocol,
            "--socket", self.directory / f"{protocol}.sock", "--depth", depth, "--wait", wait,
            "--keys", KEYS, "--seconds", self.seconds, "--warmup", self.seconds / 4]))

    def redis_benchmark(self, test, connections, pipeline, requests):
        text = self.run(["redis-benchmark", "-s", self.directory / "redis.sock", "-t", test,
                         "-c", connections, "-P", pipeline, "-n", int(requests),
                         "-d", VALUE_BYTES, "-r", KEYS, "--csv"])
        rows = list(csv.DictReader(text.splitlines()))
        if len(rows) != 1:
            raise StepFailed(f"redis-benchmark printed {len(rows)} results instead of one:\n{text}")
        return rows[0]

    def fill_for_redis_benchmark(self):
        """Its GETs must find something. peer_ping and benchkv store their keys themselves."""
        self.redis_benchmark("set", 1, PIPELINE, FILL_REQUESTS)
        count = int(self.run(["redis-cli", "-s", self.directory / "redis.sock", "dbsize"]))
        if count != KEYS:
            raise StepFailed(f"redis-benchmark stored {count} keys instead of {KEYS}")

    # What a figure measures.

    def copykv_p50_ns(self):
        return float(self.benchkv(1)["latency_ns"]["get_local"]["p50"])

    def copykv_rate(self):
        return self.benchkv(PIPELINE)["ops_per_second"]

    def peer_p50_ns(self, protocol, wait):
        return float(self.peer_ping(protocol, 1, wait)["latency_ns"]["p50"])

    def peer_rate(self, protocol):
        return self.peer_ping(protocol, PIPELINE, "block")["ops_per_second"]

    def redis_benchmark_p50_ns(self):
        row = self.redis_benchmark("get", 1, 1, self.seconds * REDIS_RATE_DEPTH_1)
        return float(row["p50_latency_ms"]) * 1e6

    def redis_benchmark_rate(self, connections):
        row = self.redis_benchmark("get", connections, PIPELINE, self.seconds * REDIS_RATE_PIPELINE)
        return float(row["rps"])


FIGURES = {
    "copykv_p50_ns": Bench.copykv_p50_ns,
    "redis_p50_ns": lambda bench: bench.peer_p50_ns("redis", "block"),
    "memcached_p50_ns": lambda bench: bench.peer_p50_ns("memcached", "block"),
    "redis_benchmark_p50_ns": Bench.redis_benchmark_p50_ns,
    "redis_polled_p50_ns": lambda bench: bench.peer_p50_ns("redis", "poll"),
    "memcached_polled_p50_ns": lambda bench: bench.peer_p50_ns("memcached", "poll"),
    "copykv_rate": Bench.copykv_rate,
    **{f"redis_rate_c{count}": lambda bench, count=count: bench.redis_benchmark_rate(count)
       for count in REDIS_CONNECTIONS},
    "memcached_rate": lambda bench: bench.peer_rate("memcached"),
}


def measure_round(bench):
    """Every figure once, and what follows from them within the round."""
    figures = {name: measure(bench) for name, measure in FIGURES.items()}
    for name, value in figures.items():
        if not value > 0:
            raise StepFailed(f"{name} is {value}")
    figures["redis_rate_best"] = max(figures[f"redis_rate_c{count}"] for count in REDIS_CONNECTIONS)
    return figures
