# SPDX-License-Identifier: Apache-2.0
# Two Soft-RoCE devices in one network namespace whose traffic crosses a veth pair: by rule, what
# one address sends to the other leaves through the device, although both are local.
ip link set lo up
ip link add veth0 type veth peer name veth1
for end in 0 1; do
  ip link set "veth$end" mtu 9000
  ip addr add "10.0.0.$((end + 1))/24" dev "veth$end"
  ip link set "veth$end" up
done
for name in all veth0 veth1; do
  echo 1 >/proc/sys/net/ipv4/conf/$name/accept_local
  echo 0 >/proc/sys/net/ipv4/conf/$name/rp_filter
done
ip rule add pref 100 lookup local
ip rule del pref 0
for end in 0 1; do
  mine=10.0.0.$((end + 1)) other=10.0.0.$((2 - end)) far=veth$((1 - end))
  ip route add "$other" dev "veth$end" src "$mine" table "$((1000 + end))"
  ip rule add pref "$((10 + end))" iif lo to "$other" lookup "$((1000 + end))"
  ip neigh replace "$other" lladdr "$(cat /sys/class/net/$far/address)" dev "veth$end"
  rdma link add "rxe$end" type rxe netdev "veth$end"
done
# Soft-RoCE works in these threads. They come before whoever polls: a poller that waits for what
# they do would else hold them up until the scheduler takes its turn, 8 ms later.
for thread in $(pgrep ksoftirqd); do chrt -f -p 1 "$thread"; done
