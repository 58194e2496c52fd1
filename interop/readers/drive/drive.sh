#!/usr/bin/env bash
# Drives a reader of the shell: drive.sh PROGRAM VERSION. readers_test.go has the protocol.
set -uo pipefail
cd "$(dirname "$1")" || exit
# shellcheck disable=SC1090
. "$1"
echo "ready $2"
while read -r token; do
  if claims=$(verify "$token" 2>err); then
    echo "ok $(jq -r .sub <<<"$claims")"
  else
    echo "refused $(tr -s '[:space:]' ' ' <err)"
  fi
done
