#!/usr/bin/env bash
# etcd 3.6.16 takes a unix:// URL for metrics, logs "serving metrics" with that address, and makes no file there.
#
# Guess: as for --listen-client-urls, the path of the URL becomes a socket that a scraper can connect to.
# Seen: the client URL's path is a socket and answers; the metrics URL's path does not exist. The listener takes the
# host of the URL for its address, which is empty in unix:///path, so that Linux binds an unnamed abstract socket.
# For operators: give metrics an http:// URL on a loopback address.
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
    --listen-client-urls "unix://$folder/client.sock" --advertise-client-urls http://127.0.0.1:23799 \
    --listen-peer-urls http://127.0.0.1:0 --initial-advertise-peer-urls http://127.0.0.1:23798 \
    --initial-cluster default=http://127.0.0.1:23798 --listen-metrics-urls "unix://$folder/metrics.sock" &
server=$!
for _ in $(seq 100); do
    grep -q '"msg":"ready to serve client requests"' etcd.log 2>/dev/null && break
    kill -0 "$server"
    sleep 0.1
done

grep -o '"msg":"serving metrics","address":"[^"]*"' etcd.log | sed "s|$folder|.|"
[[ -S client.sock ]] && echo "client URL:  client.sock is a socket"
[[ $(curl -s --unix-socket client.sock http://etcd/health | grep -c '"health"') == 1 ]] && echo "client URL:  /health answers"
[[ ! -e metrics.sock ]] && echo "metrics URL: metrics.sock does not exist"
