#!/usr/bin/env bash
# etcd 3.6.16 answers MemberAdd with "member not found" where the same peer URL was added and removed within that second.
#
# Guess: a URL that no member has any more can be added again at once.
# Seen: NotFound, "etcdserver: member not found", for an addition. The id of a new member is a hash of its URLs and of the
# time in seconds; within one second it is that of the member that was removed, and removed ids are never taken again.
# For operators and programs that replace members: ask again a second later.
#
# Needs Go and curl. Exits with 0 while this is so.
set -euo pipefail
version=v3.6.16
folder=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"

export GOFLAGS=-mod=mod GOWORK=off CGO_ENABLED=0
go mod init example.test/finding >/dev/null 2>&1
go get "go.etcd.io/etcd/server/v3@$version" >/dev/null 2>&1
go build -o etcd go.etcd.io/etcd/server/v3
./etcd --version | head -n 1

./etcd --data-dir data --log-outputs "$folder/etcd.log" \
    --listen-client-urls http://127.0.0.1:23797 --advertise-client-urls http://127.0.0.1:23797 \
    --listen-peer-urls http://127.0.0.1:23796 --initial-advertise-peer-urls http://127.0.0.1:23796 \
    --initial-cluster default=http://127.0.0.1:23796 &
server=$!
for _ in $(seq 100); do
    grep -q '"msg":"ready to serve client requests"' etcd.log 2>/dev/null && break
    kill -0 "$server"
    sleep 0.1
done

ask() { curl -s "http://127.0.0.1:23797/v3/cluster/member/$1" -d "$2"; }
learner='{"peerURLs":["http://127.0.0.1:23795"],"isLearner":true}'
# The three calls take a few milliseconds; where a second ends in between, the next try sees it.
for try in $(seq 20); do
    id=$(ask add "$learner" | grep -o '"member":{"ID":"[0-9]*' | grep -o '[0-9]*$')
    ask remove "{\"ID\":\"$id\"}" >/dev/null
    again=$(ask add "$learner")
    if grep -q '"message":"etcdserver: member not found"' <<<"$again"; then
        echo "try $try: $again"
        exit 0
    fi
    ask remove "{\"ID\":\"$(grep -o '"member":{"ID":"[0-9]*' <<<"$again" | grep -o '[0-9]*$')\"}" >/dev/null
done
echo "it was added again every time: $again"
exit 1
