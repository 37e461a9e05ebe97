"""profanity in a terminal of its own: logs in, writes to the echo address, shows the answer."""
import os, subprocess, tempfile, time, uuid
from client import step


def main():
    home = tempfile.mkdtemp()
    name = "tandem-" + uuid.uuid4().hex[:8]
    environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home, "TERM": "xterm"}

    def tmux(*arguments):
        return subprocess.run(["tmux", "-L", name, *arguments], env=environment, capture_output=True, text=True, check=True).stdout

    def screen_shows(text, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            shown = tmux("capture-pane", "-p", "-t", name)
            if text in shown:
                return shown
            time.sleep(0.1)
        raise SystemExit(f"profanity does not show {text!r}:\n{shown}")

    tmux("new-session", "-d", "-s", name, "-x", "120", "-y", "40", "profanity")
    try:
        screen_shows("Profanity")
        port = os.environ["XMPP_PORT"]
        tmux("send-keys", "-t", name, f"/connect ana@localhost server 127.0.0.1 port {port} tls trust", "Enter")
        screen_shows("Enter password")
        tmux("send-keys", "-t", name, "secret-ana", "Enter")
        screen_shows("logged in successfully")
        step("profanity logged in")
        tmux("send-keys", "-t", name, "/msg echo@localhost good morning", "Enter")
        tmux("send-keys", "-t", name, "/msg echo@localhost", "Enter")
        end = time.monotonic() + 20
        while tmux("capture-pane", "-p", "-t", name).count("good morning") < 2:
            if time.monotonic() > end:
                raise SystemExit("no echo in profanity:\n" + tmux("capture-pane", "-p", "-t", name))
            time.sleep(0.1)
        step("profanity shows the echo")
    finally:
        tmux("kill-server")


main()
