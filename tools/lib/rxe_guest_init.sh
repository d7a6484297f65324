#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's first process: the host's files, read-only below a file system in memory, so that
# every path is the same as on the host and what is written is thrown away.
b=/bin/busybox
give_up() {
  echo "rxe-guest: $1"
  $b poweroff -f
}
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do
  $b insmod "/mod/$module" || echo "rxe-guest: insmod $module failed"
done </mod/order
$b mkdir -p /host /rw
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /host ||
  give_up "the host's files cannot be mounted"
$b mount -t tmpfs tmpfs /rw
$b mkdir /rw/up /rw/work
$b mount -t overlay -o lowerdir=/host,upperdir=/rw/up,workdir=/rw/work overlay /new ||
  give_up "no overlay"
$b mkdir -p /new/mnt/out
for place in proc sys dev; do $b mount --move /$place /new/$place; done
$b ln -sf /proc/self/fd /new/dev/fd
$b mkdir -p /new/dev/shm /new/dev/pts
$b mount -t tmpfs shm /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
$b mount -t tmpfs run /new/run
$b mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 out /new/mnt/out ||
  give_up "the exchange folder cannot be mounted"
exec $b switch_root /new /mnt/out/guest.sh
