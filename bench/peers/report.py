# SPDX-License-Identifier: Apache-2.0
"""From the rounds to ratios, verdicts, the table and the JSON document.

A ratio is taken within a round, so that what slows the machine for a while slows both sides; the
median of the rounds is compared with the goal.
"""
import dataclasses
import statistics

SCHEMA = 1
QUIET_LINE_RTT_NS_MAX = 1000.0


@dataclasses.dataclass(frozen=True)
class Comparison:
    name: str
    what: str
    ours: str  # names of figures
    theirs: str
    goal: float = 0.0  # 0: shown for information

    @property
    def is_latency(self):
        return self.ours.endswith("_ns")


LATENCY = [
    Comparison("redis_p50", "Redis, peer_ping", "copykv_p50_ns", "redis_p50_ns", 60),
    Comparison("redis_benchmark_p50", "Redis, redis-benchmark -c 1", "copykv_p50_ns",
               "redis_benchmark_p50_ns", 60),
    Comparison("memcached_p50", "memcached, peer_ping", "copykv_p50_ns", "memcached_p50_ns", 60),
    Comparison("redis_polled_p50", "Redis, peer_ping polls", "copykv_p50_ns",
               "redis_polled_p50_ns"),
    Comparison("memcached_polled_p50", "memcached, peer_ping polls", "copykv_p50_ns",
               "memcached_polled_p50_ns"),
]
RATE = [
    Comparison("redis_rate_one", "Redis, redis-benchmark -c 1 -P 64", "copykv_rate",
               "redis_rate_c1", 25),
    Comparison("redis_rate_best", "Redis, best of -c 1,4,16,50 -P 64", "copykv_rate",
               "redis_rate_best", 8),
    Comparison("memcached_rate", "memcached, peer_ping --depth 64", "copykv_rate",
               "memcached_rate"),
]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "rounds": values}


def compare(comparison, rounds):
    ours = [figures[comparison.ours] for figures in rounds]
    theirs = [figures[comparison.theirs] for figures in rounds]
    pairs = zip(theirs, ours) if comparison.is_latency else zip(ours, theirs)
    ratio = spread([better / worse for better, worse in pairs])
    result = {"name": comparison.name, "what": comparison.what, "copykv": spread(ours),
              "other": spread(theirs), "unit": "ns" if comparison.is_latency else "ops/s",
              "ratio": ratio}
    if comparison.goal:
        result |= {"goal": comparison.goal, "met": ratio["median"] >= comparison.goal}
    return result


def make_document(rounds, settings, machine):
    figures = {name: spread([figures[name] for figures in rounds]) for name in rounds[0]}
    comparisons = [compare(comparison, rounds) for comparison in LATENCY + RATE]
    return {"schema": SCHEMA, "settings": settings, "machine": machine, "figures": figures,
            "comparisons": comparisons}


def is_quiet(machine):
    return max(machine["line_rtt_ns"]) <= QUIET_LINE_RTT_NS_MAX


def missed(document):
    return [c["name"] for c in document["comparisons"] if not c.get("met", True)]


def amount(value, unit):
    if unit == "ns":
        return f"{value:,.0f} ns" if value < 10_000 else f"{value / 1000:,.1f} us"
    return f"{value / 1e6:,.2f} M/s"


def rows(comparisons):
    for c in comparisons:
        cells = [c["what"]]
        for side in ("copykv", "other"):
            cells.append(amount(c[side]["median"], c["unit"]))
        ratio = c["ratio"]
        cells.append(f"{ratio['median']:,.1f} x")
        cells.append(f"{ratio['min']:,.1f}..{ratio['max']:,.1f}")
        goal = c.get("goal")
        cells.append(f"{goal:g} x" if goal else "")
        cells.append(("met" if c["met"] else "MISSED") if goal else "no goal")
        yield cells


def table(title, comparisons):
    lines = [[title, "copykv", "other", "ratio", "min..max", "goal", ""], *rows(comparisons)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        padded = [cell.ljust(width) if column in (0, 6) else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(line, widths))]
        yield "  ".join(padded).rstrip()


def text(document):
    machine, settings = document["machine"], document["settings"]
    line_rtt = machine["line_rtt_ns"]
    latency = [c for c in document["comparisons"] if c["unit"] == "ns"]
    rate = [c for c in document["comparisons"] if c["unit"] != "ns"]
    yield ("The same load on every system: GET of 8-byte values, 1,024 keys; all but "
           "redis-benchmark check each answer")
    yield f"machine   {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}"
    yield (f"versions  copykv {machine['commit']} ({machine['compiler']}, "
           f"{machine['build_type']}), Redis {machine['redis']}, memcached {machine['memcached']}")
    yield (f"rounds    {settings['rounds']} of {settings['seconds']:g} s per figure, in turn; "
           "medians; ratios within a round")
    yield (f"load      {machine['load_average_before']:.1f} before, "
           f"{machine['load_average_after']:.1f} after; line_rtt {amount(min(line_rtt), 'ns')} .. "
           f"{amount(max(line_rtt), 'ns')}")
    if not is_quiet(machine):
        yield ("          NOT QUIET: at times two threads did not run at once, which costs a "
               "polling service most")
    yield ""
    yield from table("One GET at a time, p50", latency)
    yield ""
    yield from table("One copykv client, 64 GETs in flight", rate)
    best = max(settings["redis_connections"],
               key=lambda count: document["figures"][f"redis_rate_c{count}"]["median"])
    yield f"Redis' best was at {best} connections."
    yield "redis-benchmark gives p50 in steps of 8 us and has 16-byte keys; all others 8-byte keys."
