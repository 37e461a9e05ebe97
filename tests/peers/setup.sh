#!/usr/bin/env bash
# Installs the programs that the tests talk to (Debian 12, root). Idempotent; a missing one is an error that names its package.
# Prints the folder they are in. That folder is TANDEM_PEERS if set, else target/peers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${TANDEM_PEERS:-$here/../../target/peers}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

has() { command -v "$1" >/dev/null; }

missing=()
has python3 || missing+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
has profanity || missing+=(profanity)
has tmux || missing+=(tmux)
has baresip || missing+=(baresip-core)
has linphonec || missing+=(linphone-cli)
has sipp || missing+=(sip-tester)
has node || missing+=(nodejs)
has npm || missing+=(npm)
has chromium || missing+=(chromium)
has tcpdump || missing+=(tcpdump)
has prosody || missing+=(prosody)
[ -x /usr/sbin/ejabberdctl ] || missing+=(ejabberd)
has openssl || missing+=(openssl)
has turnserver || missing+=(coturn)
has kamailio || missing+=(kamailio)
has svmap || missing+=(sipvicious)
if [ ${#missing[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"; } >&2 ||
    { echo "cannot install from Debian: ${missing[*]}" >&2; exit 1; }
fi

if ! "$dir/venv/bin/python" -c 'import slixmpp, websockets, aiortc, numpy' 2>/dev/null; then
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install --quiet slixmpp==1.17.0 websockets==15.0.1 aiortc==1.16.0 numpy >&2 ||
    { echo "cannot install from PyPI: slixmpp websockets aiortc numpy" >&2; exit 1; }
fi

# All of them are ready to run as they are packed, so no install script needs to.
if ! cmp -s "$here/package-lock.json" "$dir/node/installed.json"; then
  mkdir -p "$dir/node"
  cp "$here/package.json" "$here/package-lock.json" "$dir/node"
  (cd "$dir/node" && npm ci --ignore-scripts --no-audit --no-fund) >&2 ||
    { echo "cannot install from npm: jssip sip.js stanza @xmpp/client strophe.js @roamhq/wrtc esbuild puppeteer-core" >&2; exit 1; }
  cp "$here/package-lock.json" "$dir/node/installed.json"
fi
echo "$dir"
