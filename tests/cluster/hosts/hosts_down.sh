#!/usr/bin/env bash
# Removes the hosts of hosts_up.sh; ends, by their ids, only processes that live in these namespaces.
#   hosts_down.sh PREFIX
set -uo pipefail
prefix=$1
spaces() { ip netns list | awk '{print $1}' | grep -E "^$prefix([0-9]+|sw)$"; }
for signal in TERM KILL; do
    for space in $(spaces); do
        for pid in $(ip netns pids "$space"); do
            kill -"$signal" "$pid" 2>/dev/null || true
        done
    done
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        left=
        for space in $(spaces); do left+=$(ip netns pids "$space"); done
        [[ -n $left ]] || break 2
        sleep 0.2
    done
done
for space in $(spaces); do
    ip netns del "$space"
done
[[ -z $(spaces) ]]
