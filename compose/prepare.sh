#!/bin/sh
# Makes Alertmanager's token at the first start, and gives the volumes to those who write to them.
# prepare.sh EXPORTER_STATE ALERTMANAGER_TOKEN_DIRECTORY TEMPO_STATE SHOP
set -eu
state=$1 handed=$2 traces=$3 shop=$4
umask 077

if [ ! -s "$handed/token" ]; then
    # It had one before, and its volume is gone: only the hash is left of it.
    if [ -e "$state/tokens.yaml" ]; then
        z4j-exporter token revoke alertmanager --file "$state/tokens.yaml" || true
    fi
    z4j-exporter token new alertmanager --role alert --file "$state/tokens.yaml" > "$handed/token.new"
    mv "$handed/token.new" "$handed/token"
fi

# The users that the images run as: ours, Alertmanager's and Tempo's.
chown -R 65532:65532 "$state" "$shop"
chown -R 65534:65534 "$handed"
chown -R 10001:10001 "$traces"
