#!/bin/sh
# Installs the real servers that the tests start themselves: nothing of them runs afterwards.
set -eu

need=""
wants() { # wants PROGRAM PACKAGE: note the package when the program is not there
    command -v "$1" >/dev/null 2>&1 || [ -x "$3" ] || need="$need $2"
}
wants redis-server redis-server /usr/bin/redis-server
wants rabbitmq-server rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server
wants prometheus prometheus /usr/bin/prometheus
wants amtool prometheus-alertmanager /usr/bin/amtool
wants faketime faketime /usr/bin/faketime
wants curl curl /usr/bin/curl
wants chromium chromium /usr/bin/chromium
[ -n "$need" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "The tests start real servers; these are missing:$need"
    echo "Install them:  sudo apt-get install --no-install-recommends$need"
    echo "Until then their tests are skipped (with CI=true they fail)."
    exit 0
fi
echo "Installing for the tests:$need"
export DEBIAN_FRONTEND=noninteractive
# A server that a package installs must not start by itself.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
log=$(mktemp)
# shellcheck disable=SC2086  # a list of packages
{ apt-get update && apt-get install -y --no-install-recommends $need; } >"$log" 2>&1 || {
    tail -n 20 "$log"
    echo "apt-get could not install:$need"
    exit 1
}
rm -f "$log"
