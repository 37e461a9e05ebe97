"""profanity in a terminal of its own: profanity.py echo | family (with slixmpp at the other ends)."""
import asyncio, glob, os, re, subprocess, sys, tempfile, uuid
from client import Client, step

ANA, JULIA, ROOM = "ana@localhost", "julia@localhost", "tea@rooms.localhost"


class Terminal:
    """ana's profanity, typed into and looked at by tmux."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.home = self.folder.name
        self.name = "tandem-" + uuid.uuid4().hex[:8]
        folders = {"HOME": self.home, "XDG_CONFIG_HOME": self.home, "XDG_DATA_HOME": self.home}
        self.environment = {**os.environ, **folders, "TERM": "xterm", "LANG": "C.UTF-8"}

    def tmux(self, *arguments):
        command = ["tmux", "-L", self.name, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", self.name)

    def type(self, text):
        self.tmux("send-keys", "-t", self.name, "-l", text)
        self.tmux("send-keys", "-t", self.name, "Enter")

    async def shows(self, text, times=1, seconds=20):
        for _ in range(seconds * 10):
            if self.screen().count(text) >= times:
                return
            await asyncio.sleep(0.1)
        raise SystemExit(f"profanity does not show {text!r}:\n{self.screen()}\n{self.log()[-3000:]}")

    def log(self):
        return "".join(open(path, errors="replace").read() for path in glob.glob(self.home + "/**/*.log", recursive=True))

    async def login(self, *settings):
        self.tmux("new-session", "-d", "-s", self.name, "-x", "120", "-y", "50", "profanity -l DEBUG")
        await self.shows("Profanity")
        for setting in settings:
            self.type(setting)
        self.type(f"/connect {ANA} server 127.0.0.1 port {os.environ['XMPP_PORT']} tls trust")
        await self.shows("Enter password")
        self.type("secret-ana")
        await self.shows("logged in successfully")
        step("profanity logged in")

    def end(self):
        self.tmux("kill-server")
        self.folder.cleanup()


async def echo(terminal):
    await terminal.login()
    terminal.type("/msg echo@localhost good morning")
    terminal.type("/msg echo@localhost")
    await terminal.shows("good morning", 2)
    step("profanity shows the echo")


async def family(terminal):
    # Debian's profanity (0.13) asks the server for the archive's feature, not the account (XEP-0313 section 7), so it uses none.
    julia = await Friend(f"{JULIA}/phone").login()
    for n in range(3):
        julia.send_message(mto=ANA, mbody=f"old words {n}", mtype="chat")
    await julia["xep_0199"].ping("localhost", timeout=10)
    await terminal.login("/carbons on")
    said = set(re.findall("<auth[^>]* mechanism=.([A-Z0-9-]+)", terminal.log()))
    assert said and all(mechanism.startswith("SCRAM-SHA-") for mechanism in said), said
    step("by " + ", ".join(said))

    terminal.type(f"/msg {JULIA}")
    for n in range(3):
        await terminal.shows(f"old words {n}")
    step("profanity shows what has waited")
    desk = await Friend(f"{ANA}/desk").login()
    await desk["xep_0280"].enable()
    terminal.type("hello from the terminal")
    await julia.expect("message", lambda m: m["body"] == "hello from the terminal")
    julia.send_message(mto=ANA, mbody="hello to the terminal", mtype="chat")
    await terminal.shows("hello to the terminal")
    step("a chat both ways")
    await desk.expect("carbon_sent", lambda m: m["carbon_sent"]["body"] == "hello from the terminal")
    desk.send_message(mto=JULIA, mbody="from the desk", mtype="chat")
    await terminal.shows("from the desk")
    julia.send_message(mto=f"{ANA}/desk", mbody="to the desk alone", mtype="chat")
    await terminal.shows("to the desk alone")
    step("carbons both ways")

    muc = julia["xep_0045"]
    await muc.join_muc_wait(ROOM, "Julia", timeout=10)
    form = await muc.get_room_config(ROOM, timeout=10)
    form["values"] = form.get_values()
    await muc.set_room_config(ROOM, form, timeout=10)
    await muc.set_affiliation(ROOM, "member", jid=ANA, timeout=10)
    terminal.type(f"/join {ROOM} nick Ana")
    await terminal.shows("as Ana")
    terminal.type("here I am")
    await asyncio.wait_for(julia.until("here I am"), 10)
    julia.send_message(mto=ROOM, mbody="sit down", mtype="groupchat")
    await terminal.shows("sit down")
    step("talked in a room")


class Friend(Client):
    def __init__(self, jid):
        super().__init__(jid)
        self.register_plugin("xep_0045")
        self.heard = asyncio.Queue()
        self.add_event_handler("groupchat_message", self.heard.put_nowait)

    async def until(self, body):
        while (await self.heard.get())["body"] != body:
            pass


async def main():
    terminal = Terminal()
    try:
        await {"echo": echo, "family": family}[sys.argv[1]](terminal)
    finally:
        terminal.end()


asyncio.run(main())
