#!/usr/bin/env bash
# Test hosts: network namespaces PREFIX1..PREFIXn, joined by a bridge in a namespace of its own, PREFIXsw, so that
# nothing touches the network of the machine. Each has an interface hsn0 with the address NET.K.
#   hosts_up.sh PREFIX COUNT [NET=10.77.0]
set -euo pipefail
prefix=$1 count=$2 net=${3:-10.77.0}
ip netns add "${prefix}sw"
ip -n "${prefix}sw" link add br0 type bridge
ip -n "${prefix}sw" link set br0 up
for k in $(seq "$count"); do
    ip netns add "$prefix$k"
    ip -n "${prefix}sw" link add "sw$k" type veth peer name hsn0 netns "$prefix$k"
    ip -n "${prefix}sw" link set "sw$k" master br0 up
    ip -n "$prefix$k" addr add "$net.$k/24" dev hsn0
    ip -n "$prefix$k" link set hsn0 up
    ip -n "$prefix$k" link set lo up
done
