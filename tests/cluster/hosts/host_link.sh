#!/usr/bin/env bash
# Cuts or mends the link of host K at the port of the switch: the host and the others see silence, not an error.
#   host_link.sh PREFIX K down|up
set -euo pipefail
ip -n "${1}sw" link set "sw$2" "$3"
