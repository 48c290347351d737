#!/usr/bin/env bash
# Runs a command on host K, under its name.
#   on_host.sh PREFIX K COMMAND...
set -euo pipefail
name=$1$2
shift 2
# shellcheck disable=SC2016 # for the inner shell
exec ip netns exec "$name" unshare --uts sh -c 'hostname "$0"; exec "$@"' "$name" "$@"
