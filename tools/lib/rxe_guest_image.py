# SPDX-License-Identifier: Apache-2.0
"""The guest's kernel and first file system, made once and kept in the user's cache directory."""
import collections
import gzip
import hashlib
import io
import lzma
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = re.compile(r"linux-image-(6\.1\.0-(\d+)-amd64)")
MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay", "crc32_generic", "crc32_pclmul", "veth",
           "sch_netem", "ib_uverbs", "rdma_ucm", "rdma_rxe"]

Image = collections.namedtuple("Image", "version kernel initrd")


class Absent(Exception):
    """Why this machine cannot have the guest."""


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "copykv" / "rxe-guest"


def prepare():
    """The newest kernel that is in the cache, or that apt can fetch."""
    if os.uname().machine != "x86_64":
        raise Absent(f"the guest is x86-64, this machine {os.uname().machine}")
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Absent("no busybox; tools/install-deps has busybox-static")
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    kept = sorted(cache.glob("6.1.0-*-amd64/vmlinux"), key=lambda path: path.stat().st_mtime)
    tree = kept[-1].parent if kept else fetch(cache)
    return Image(tree.name, tree / "vmlinux", make_initrd(tree, pathlib.Path(busybox)))


def fetch(cache):
    """Downloads and unpacks Debian's kernel package below `cache`; nothing is installed."""
    names = run(["apt-cache", "--names-only", "search", r"^linux-image-6\.1\.0-[0-9]+-amd64$"])
    found = sorted(PACKAGE.findall(names), key=lambda one: int(one[1]))
    if not found:
        raise Absent("apt knows no package linux-image-6.1.0-N-amd64; on Debian 12, run "
                     "apt-get update")
    version = found[-1][0]
    with tempfile.TemporaryDirectory(dir=cache) as name:
        work = pathlib.Path(name)
        os.chmod(work, 0o755)  # apt's own user reads it
        run(["apt-get", "download", f"linux-image-{version}"], cwd=work, timeout=300)
        package = next(work.glob("*.deb"))
        run(["dpkg-deb", "-x", str(package), str(work / "package")])
        made = work / "made"
        made.mkdir()
        (made / "vmlinux").write_bytes(unpacked(
            (work / "package" / "boot" / f"vmlinuz-{version}").read_bytes()))
        modules = made / "modules"
        modules.mkdir()
        for path in (work / "package" / "lib" / "modules").rglob("*.ko*"):
            shutil.copy(path, modules / path.name)
        made.rename(cache / version)
    return cache / version


def run(command, timeout=60, **more):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Absent(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def unpacked(image):
    """The ELF file within a compressed kernel: QEMU starts that at once, while unpacking it in an
    emulated processor takes seconds."""
    readers = {b"\xfd7zXZ\0": lambda data: lzma.LZMADecompressor().decompress(data),
               b"\x1f\x8b\x08": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)).read()}
    for magic, read in readers.items():
        at = image.find(magic)
        while at >= 0:
            try:
                data = read(image[at:])
            except (lzma.LZMAError, OSError, EOFError):
                data = b""
            if data.startswith(b"\x7fELF"):
                return data
            at = image.find(magic, at + 1)
    raise Absent("the kernel is packed in a way that is not known here")


def make_initrd(tree, busybox):
    """busybox, the modules in the order of their loading, and the script that hands over to the
    host's files."""
    init = (HERE / "rxe_guest_init.sh").read_bytes()
    program = busybox.read_bytes()
    name = hashlib.sha256(init + program + " ".join(MODULES).encode()).hexdigest()[:12]
    path = tree / f"initrd-{name}.cpio"
    if path.exists():
        return path
    archive = Archive()
    for folder in ("bin", "mod", "proc", "sys", "dev", "new"):
        archive.add(folder, b"", stat.S_IFDIR | 0o755)
    archive.add("bin/busybox", program, stat.S_IFREG | 0o755)
    archive.add("bin/sh", b"busybox", stat.S_IFLNK | 0o777)
    archive.add("init", init, stat.S_IFREG | 0o755)
    order = []
    for module, data in modules_with_dependencies(tree / "modules"):
        archive.add(f"mod/{module}.ko", data, stat.S_IFREG | 0o644)
        order.append(f"{module}.ko\n")
    archive.add("mod/order", "".join(order).encode(), stat.S_IFREG | 0o644)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_bytes(archive.end())
    new.rename(path)
    return path


def modules_with_dependencies(folder):
    """Each after those that it depends on; a module that is not there is built in."""
    files = {path.name.split(".")[0].replace("-", "_"): path for path in folder.iterdir()}
    done = {}

    def add(name):
        name = name.replace("-", "_")
        if not name or name in done or name not in files:
            return
        data = files[name].read_bytes()
        if files[name].suffix == ".xz":
            data = lzma.decompress(data)
        needs = re.search(rb"\0depends=([^\0]*)\0", data)
        for need in (needs[1].decode().split(",") if needs else []):
            add(need)
        done[name] = data

    for module in MODULES:
        add(module)
    return done.items()


class Archive:
    """A cpio archive as the kernel reads it (newc)."""

    def __init__(self):
        self.parts = []
        self.inode = 0

    def add(self, name, data, mode):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (header + encoded, data):
            self.parts.append(part + b"\0" * (-len(part) % 4))

    def end(self):
        self.add("TRAILER!!!", b"", 0)
        return b"".join(self.parts)
