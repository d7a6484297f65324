#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed inputs that a fuzzer would need long to find by itself: corpus/TARGET/seed-*.

The inputs found-* beside them are the smallest set of a long run that reaches the same code:
fuzz_TARGET -set_cover_merge=1 -use_counters=0 OUT corpus/TARGET fuzz_TARGET.found
"""
import json
import pathlib
import random
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
HELLO_MAGIC = 0x6F6C685F766B7063
SEGMENT_MAGIC = 0x6765735F766B7063
OPS = {"get": 1, "put": 2, "del": 3, "exists": 4, "add": 5, "touch": 6, "keys": 7, "ping": 8}


def head(kind, message_bytes, magic=HELLO_MAGIC, major=1):
    return struct.pack("<QHHIII", magic, major, 0, kind, message_bytes, 0)


def handshake():
    hello = head(1, 56) + struct.pack("<QIIQII", 0x1234, 16, 4096, 1 << 20, 1, 0)
    yield b"\x00" + hello
    yield b"\x00" + hello[:20]
    yield b"\x00" + head(1, 56, major=9) + hello[24:]
    yield b"\x01" + head(3, 32) + struct.pack("<Q", 4096)
    for pages in (0, 3, 12):
        segment = struct.pack("<QHHIQQQIIII5QII", SEGMENT_MAGIC, 1, 0, 112, 7, 3 * 4096, 1, 0, 1, 1,
                              4096, 4096, 4224, 8192, 12288, 0, 1, 0)
        for kind in (2, 3):
            yield bytes([pages * 4 + kind]) + segment


def config():
    for text in ("64MiB", "1.5GiB", "10s", "18446744073709551615", "0.5us", "1e6", "-1", "9.9e999"):
        yield b"\x00" + text.encode()
    yield b"\x02" + b'memory = "1GiB"\ncount = 7\nflag = true\nlist = ["a", "b,c"]\n'
    yield b"\x02" + b'name = "quo\\"te"\npause = "2min"\nratio = 0.25\nchoice = "one"\n'
    yield b"\x02" + b"[table]\nx = 1\n"
    yield b"\x02" + b"memory = \n"
    yield bytes([4 * 10 + 1]) + b"--count=12name = '''a\nb'''\n"
    yield bytes([4 * 9 + 1]) + b"--flag=nolist = []\n"


def store_ops():
    source = random.Random(1)
    for _ in range(12):
        steps = source.randrange(20, 200)
        yield source.randbytes(steps * 12)


def request(op, mode, key_bytes, value_bytes=0, data0=0, data1=0, argument=0):
    """One plausible request as the target reads it: no shifts."""
    return (bytes([0]) + struct.pack("<IBIQI", value_bytes, 0, 0, argument, 0) +
            struct.pack("<IBIB", data0, 0, data1, 0) + struct.pack("<BBHB", op, mode, key_bytes, 0))


def request_line():
    turns = bytes([176 + 15])
    honest = bytes([232]) + struct.pack("<I", 9000)
    for op in OPS.values():
        yield bytes([0x5F]) + request(op, 0, 8, 8) + turns + honest
    yield bytes([0x5F]) + request(2, 1, 40, 3000) + turns + request(1, 1, 40) + turns + honest
    yield bytes([0x7F]) + request(2, 2, 40, 20000, 0, 20480) + turns * 3 + honest + turns * 9
    large_get = request(1, 2, 40, 0, 0, 20480)
    yield (bytes([0x7F]) + request(2, 2, 40, 20000, 0, 20480) + turns * 9 + large_get + turns +
           bytes([224]) + honest)
    yield bytes([0x7F]) + request(2, 2, 40, 20000, 4096, 28672) + turns + honest
    yield bytes([0x47]) + request(2, 1, 8, 16000) + bytes([224]) + honest + turns * 4
    yield bytes([0x01]) + request(7, 1, 0) + turns + request(7, 2, 0, 0, 0, 4096) + turns
    source = random.Random(2)
    for _ in range(8):
        yield source.randbytes(600)


def words(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def bootstrap():
    def text(content):
        return words(len(content)) + content

    def card_file(phase, rank, ranks, heard):
        return (b"\x01" + b"ckvcard\n" + words(1, phase) + struct.pack("<QQ", 77, 3) +
                words(rank, ranks) + text(b"job") + text(b"card") + text(b"note") +
                words(len(heard)) + struct.pack(f"<{len(heard)}Q", *heard))
    yield b"\x00" + card_file(2, 0, 3, [7, 8, 9])[1:]
    yield card_file(2, 0, 3, [7, 8, 9])
    yield card_file(3, 2, 3, [7])
    yield card_file(1, 1, 2, [])
    # A false rank 0: whole messages in order, then cards that make it complete, then more.
    cards = b"".join(words(1, rank, 2) + text(b"card") for rank in (0, 2, 3))
    end = words(2, 7) + text(b"") + words(1, 2, 1) + text(b"other") + words(2, 8) + text(b"")
    yield b"\x02" + words(1) + cards + end
    yield b"\x02" + words(0, 2, 2) + text(b"c" * 32) + words(2, 4) + text(b"w" * 32)
    yield b"\x02" + words(1, 2, 10) + text(words(7, 2, 2, 3))
    yield b"\x02" + words(0, 0) + text(b"SSH-2.0-OpenSSH_9.2")

    # Guests of rank 0: those who know the secret go all the way when they speak four times.
    def guest(kind, rank, same_size=1):
        return words(0, kind, rank, *([same_size] if kind == 3 else []))

    def speak(index, times=4):
        return (words(6, index) + text(b"")) * times

    def by_hand(index, kind, body=b""):
        return words(3, index) + text(body) + words(kind)
    three = b"".join(guest(1, rank) for rank in (1, 2, 3))
    everybody = three + b"".join(speak(index) for index in range(3))
    yield b"\x03" + everybody
    yield b"\x03" + guest(0, 1) + speak(0) + guest(2, 2) + words(7, 1) + text(b"CKVBxx")
    rival = guest(1, 1) + speak(3) + speak(0, 2)
    yield b"\x03" + everybody + rival
    yield b"\x03" + everybody + rival + words(1, 3) + words(1, 3)
    yield b"\x03" + everybody + words(2, 0) + guest(1, 1) + speak(3)
    yield b"\x03" + guest(3, 1) + by_hand(0, 5, b"card") + by_hand(0, 9) + by_hand(0, 5)
    yield b"\x03" + guest(3, 0) + by_hand(0, 5, b"card") + guest(3, 4) + guest(3, 2, 0)
    yield b"\x03" + everybody + guest(3, 2) + by_hand(3, 5, b"x") + words(1, 3) + words(2, 3)


def cards():
    def address(raw, kind=b"c"):
        return b"\x01" + kind + bytes(range(16)) + bytes([len(raw)]) + raw

    def node(number, where):
        mailbox = (4096, 8, 4096)
        return struct.pack("<IHHIIQ3Q", 0x64637263, 1, len(where), number, 0, 7, *mailbox) + where

    def job(rank, daemons, transport=b"ofi-tcp"):
        packed = [node(16 * rank + daemon, address(b"raw")) for daemon in range(daemons)]
        return (struct.pack("<IHHIIQQ", 0x6A637663, 1, daemons, rank, len(transport), 9, 1 << 24) +
                transport + b"".join(words(len(card)) + card for card in packed))
    for rank, daemons in ((0, 1), (1, 2), (1023, 16)):
        yield b"\x00" + job(rank, daemons)
    yield b"\x00" + job(2, 1)[:60]
    yield b"\x01" + node(16, address(b"0123456789abcdef"))
    yield b"\x02" + address(b"0123456789abcdef")
    yield b"\x02" + address(b"", b"u")


def copyrpc():
    """Actions as the target numbers them; the upper four bits say how many turns follow."""
    def act(number, turns=6):
        return bytes([number + 16 * turns])

    def message(size, what, extra):
        return struct.pack("<HB", size, what) + struct.pack("<H" if what % 2 else "<B", extra)

    def batch(*messages):
        return bytes([len(messages) - 1]) + b"".join(messages)
    call, answer = message(40, 0, 8), message(24, 1, 0)
    ask = act(10) + struct.pack("<HB", 200, 30)
    credit = act(6) + bytes([0, 7])
    yield (act(0) + batch(call, call, call)) * 6
    yield (ask + act(0) + batch(answer) + credit) * 12
    yield ask * 5 + act(0) + batch(answer, message(0, 1, 1), call, message(200, 1, 2)) + credit
    yield (act(0) + batch(message(250, 2, 64))) * 30  # often around the ring
    for at, byte in ((0, 48), (4, 9), (6, 2), (8, 1), (16, 3), (20, 1), (24, 1), (32, 250),
                     (28, 3), (36, 2), (37, 1), (38, 255)):
        yield (act(2) + batch(call, answer) + bytes([0, at, byte]) + ask +
               (act(15, 15) + act(14) + bytes([200])) * 2 + act(0) + batch(call) + ask +
               act(0) + batch(answer))
    for change in (bytes([0, 1]), bytes([1, 8, 9, 1]), bytes([1, 56, 0, 1]), bytes([1, 4, 9, 0])):
        yield (act(0) + batch(call) + act(9) + change) * 3
    yield (act(12) + b"\x01" + (act(0) + batch(call, call)) * 8 + act(13) +
           (act(0) + batch(call)) * 4)
    yield (act(12) + b"\x0a" + act(0) + batch(call, call, call, call)) * 6
    yield (act(5) + struct.pack("<IB", 4096, 8) + b"\xff" * 8 + ask) * 3
    yield act(0, 0) + batch(call, call) + act(5, 0) + struct.pack("<IB", 32, 16) + b"\xff" * 16
    yield (act(0) + batch(*[message(1000, 2, 64)] * 5) + act(14) + bytes([200])) * 3
    yield (act(7) + struct.pack("<I", 0x12345678) + act(8)) * 4
    source = random.Random(3)
    for _ in range(8):
        yield source.randbytes(900)


def remote_request():
    """Actions as the target numbers them; the rest says how many turns follow."""
    def act(number, turns=6):
        return bytes([number + 12 * turns])

    def request(op, shape, value=0, memory=b"", key=5, room=4096):
        argument = b"" if shape % 2 == 0 else struct.pack("<Q", 3)
        return (act(0) + bytes([shape, op]) + argument + bytes([7, 1, key]) +
                struct.pack("<I", value) + memory + struct.pack("<I", room))

    def answer(shape, inside, rest=b""):
        return act(3) + bytes([shape, 0, 1, inside]) + rest
    whole = struct.pack("<I", 65000)
    for op in OPS.values():
        yield request(op, 8, 100) + request(op, 24, 3000) + act(9) + whole
    yield request(2, 12, 20000, whole) + request(1, 12, 0, whole) + act(9) + whole
    narrow = struct.pack("<I", 10)
    yield request(2, 12, 60000, whole) * 4 + request(1, 12, 0, narrow) + act(9) + whole
    yield request(2, 12, 60000, struct.pack("<I", 30)) + act(11, 20) + request(2, 8, 4096) * 5
    get, add = act(6) + b"\x00", act(6) + b"\x03"
    put = act(6) + b"\x02" + struct.pack("<I", 12000)
    late = act(8) + b"\x00"
    yield (get + answer(2, 30)) * 8
    yield get + answer(2, 30) + get + answer(0, 0, whole) + late * 3
    yield (put + answer(0, 0) + late) * 3
    yield put + late + answer(2, 0) + late + put + late
    yield (add + answer(2, 8)) * 4
    yield get + act(3) + bytes([130, 0, 8, 1, 0]) + get + act(3) + bytes([130, 0, 20, 1, 0])
    source = random.Random(4)
    for _ in range(8):
        yield source.randbytes(900)


def files():
    for line in ('{"key":"greeting","value":"hello","flags":7}',
                 '{"key":"\\u00e9\\ud83d\\ude00","value":""}', '{"key":1}',
                 '{"key":"a","value":"b","other":[{}]}'):
        yield b"\x00" + line.encode()
    yield b"\x01" + b'{"key":"Z3JlZXRpbmc=","value":"aGVsbG8="}'
    yield b"\x02" + b'[mine]\nwhat = "a trial"\nturn_ns = 30\nsend_queues = 2\nwire_ns = 900\n'

    def times(count):
        return {"count": count, "mean": 900.5, "p50": 800, "p90": 1000, "p99": 1500, "p999": 4000,
                "max": 9000, "buckets": [[799, count // 2], [4095, count - count // 2]]}

    def point(clients, simulated):
        run = {"seconds": 1.0, "operations": 9000 * clients, "ops_per_second": 9000.0 * clients,
               "latency_ns": {"all": times(90), "get_local": times(45), "get_remote": times(45)},
               "littles_law": {"in_flight_mean": 1.0 * clients, "throughput_per_second": 9e3,
                               "latency_mean_ns": 900.5, "residual": 0.001},
               "ranks": [{"rank": 0, "ops_per_second": 9e3}],
               "copyrpc": {"rtt_ns": times(45), "remote_ops_per_second_per_rank": 4e3,
                           "messages_per_batch_mean": 1.5, "batches_per_second": 3e3},
               "stations": {"remote": {"parts": [{"name": "wire", **times(45)}]},
                            "turns_by_items": [[1, 5, 90.0]],
                            "batches_by_messages": [[1, 5, 90.0], [2, 7, 120.0]]},
               "resources": [{"name": "rank0.send_queue0", "busy_fraction": 0.5}],
               "time_series": [[0, 9.0], [1, 8.0]], "failures": [],
               "daemons": [{"rank": 0, "daemon": 0, "turns": 7, "busy_fraction": 0.4,
                            "phase_ns": {"flush": times(7)}, "per_turn": {"local": 0.5}}]}
        return {"schema": 1, "config": {"ranks": 2, "client_threads": clients, "queue_depth": 1},
                "host": {"transport": "sim", "simulated": simulated, "commit": "c"},
                "line_rtt_ns": {"before": 130, "after": 130}, "runs": [run, run],
                "slos": [{"slo": "get.p99<50us", "met": True, "limit": 50, "measured": 1}]}
    for document in (point(1, True), point(4_000_000_000, True),
                     {"schema": 1, "points": [point(n, False) for n in (1, 2, 4)]},
                     {"conditions": {"network": "dc", "ranks": 2},
                      "rows": [{"clients": 1, "rtt_p50_us": 3.5, "total_ops_per_s": 9e5}],
                      "rtt_histogram": {"clients": 1, "buckets": [[3, 70], [4, 30]]}}):
        yield b"\x03" + json.dumps(document, separators=(",", ":")).encode()


def history():
    open_ns = (1 << 64) - 1

    def operation(key, begin, end, kind, value=0, version=open_ns, process=1, status=0, number=0):
        put = kind in (1, 4)
        return struct.pack("<9QI4B", key, begin, end, value if put else 0, 0, 0 if put else value,
                           version, open_ns, open_ns, process, kind, status, 0, number)
    good = (operation(1, 1, 5, 1, 7, 1) + operation(1, 2, 6, 0, 7, 1, 2) +
            operation(1, 7, 9, 2, 0, 2) + operation(1, 8, 12, 3, 0, 2, 2))
    yield b"\x01" + good
    yield b"\x01" + good + operation(1, 20, 30, 0, 7, 1)
    yield b"\x01" + operation(2, 1, open_ns, 1, 7) + operation(2, 3, 9, 0, 7, 4, 2)
    yield b"\x01" + operation(3, 1, 4, 1, 5, 1, 1, 0, 1) + operation(3, 5, 8, 4, 3, 2, 2)
    yield b"\x01" + operation(1, 1, 4, 6) + operation(0, 5, 5, 7) + operation(1, 6, 6, 5)
    yield b"\x00" + b"cpkvhist" + struct.pack("<IIQ", 1, 80, 0) + bytes(8)
    source = random.Random(7)
    for _ in range(6):
        yield b"\x01" + b"".join(
            operation(source.randrange(2), at, at + source.randrange(9), source.randrange(8),
                      source.randrange(3), source.randrange(4), source.randrange(3))
            for at in range(source.randrange(40)))


def main():
    for target in (cards, copyrpc, files, history, remote_request, bootstrap, handshake, config,
                   store_ops, request_line):
        where = CORPUS / target.__name__
        where.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(target()):
            (where / f"seed-{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
