#!/usr/bin/env bash
# Installs the programs that the tests talk to. Idempotent; a missing one is an error that names its package.
# Prints the folder they are in. That folder is TANDEM_PEERS if set, else target/peers.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${TANDEM_PEERS:-$PWD/target/peers}
mkdir -p "$dir"
missing=()
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
command -v profanity >/dev/null || missing+=(profanity)
command -v tmux >/dev/null || missing+=(tmux)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update >&2 && apt-get install -y --no-install-recommends "${missing[@]}" >&2 ||
    { echo "cannot install: ${missing[*]}" >&2; exit 1; }
fi
if ! "$dir/venv/bin/python" -c 'import slixmpp, websockets, aiortc, numpy' 2>/dev/null; then
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install --quiet slixmpp==1.17.0 websockets==15.0.1 aiortc==1.16.0 numpy >&2 ||
    { echo "cannot install from PyPI: slixmpp websockets aiortc numpy" >&2; exit 1; }
fi
echo "$dir"
