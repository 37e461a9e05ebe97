"""A baresip phone: SIP (RFC 3261) over UDP, TCP or TLS, RTP or SDES-SRTP, MESSAGE (RFC 3428), presence (RFC 3856).

Commands and events, JSON, one per line; each command ends in done {cmd} or error {cmd, text}:
  start {user, password, domain, port, transport?, codecs?, mediaenc?, tone?, regint?, answer?, contacts?, watch?, mwi?}
      transport udp|tcp|tls; codecs as in ["PCMA/8000/1", "opus/48000/1"]; mediaenc ""|"srtp"|"srtp-mand"|"srtp-mandf"; regint 0 does
      not register; mwi: watches its message lamp; answer manual|auto; contacts: whom MESSAGE can go to; watch: whose presence is subscribed to (sent 1 s later)
                                  -> started {sip}, then registered | register_failed {reason}
  call {to} | answer | hangup     -> ringing, established, closed {reason}
  auto_answer {on?}               answers what comes in from now on
  hold | resume
  transfer {to}                   REFER (RFC 3515) of the current call
  dtmf {digits}                   RFC 4733
  message {to, body}              `to` is one of contacts or watch -> nothing | message_failed {reason}
  status {online}                 what those who subscribed to us are told
  hear {seconds?}                 -> heard {hz, level, purity, rate} of the seconds that follow
  quit                            as the end of the input: unregisters and ends
Unasked: incoming {from}, message {from, body}, dtmf {digit}, presence {from, status: Online|Offline|Busy|Unknown},
  codec {decoder, rate}, secure {how}, waiting {text}, described {how: offer|answer}, transferred {to}, transfer_failed {reason}, exited {code}.
"""
import asyncio, contextlib, glob, json, os, re, shutil, socket, struct, subprocess, sys, tempfile, uuid

import numpy
from lines import die_with_parent, follow, say
from tone import dominant, write

HOST = "127.0.0.1"
MODULES = ["uuid", "g711", "g722", "opus", "aufile", "aubridge", "sndfile", "srtp", "cons"]
APPS = ["account", "contact", "presence", "mwi", "menu", "ctrl_tcp"]
RATE, TONE_SECONDS = 48000, 180

CONFIG = """
poll_method epoll
sip_listen {host}:{sip}
sip_certificate {dir}/self.pem
{cafile}
call_local_timeout 120
audio_player aubridge,nothing
audio_source aufile,{dir}/tone.wav
audio_alert aubridge,nothing
ausrc_srate {rate}
auplay_srate {rate}
ausrc_channels 1
auplay_channels 1
ausrc_format s16
auplay_format s16
jitter_buffer_delay 2-10
rtp_ports 20000-39999
net_interface {host}
dns_server {host}:1
snd_path {dir}
ctrl_tcp_listen {host}:{control}
cons_listen {host}:{console}
opus_stereo no
opus_sprop_stereo no
ringback_disabled yes
module_path {modules}
"""


def free_ports():
    """Two ports in a row for SIP (the second is for TLS) and two more, free on UDP and TCP."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            first = probe.getsockname()[1]
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                for port in range(first, first + 4):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind((HOST, port))
            return first, first + 2, first + 3
        except (OSError, OverflowError):
            continue


def read_wav(path, seconds):
    """The last seconds of a recording whose header is not finished yet: (samples, rate)."""
    with open(path, "rb") as file:
        data = file.read()
    channels, rate = struct.unpack_from("<HI", data, data.index(b"fmt ") + 10)
    samples = numpy.frombuffer(data[data.index(b"data") + 8 :].ljust(2)[: -1 or None], dtype="u1")
    samples = samples[: len(samples) // (2 * channels) * 2 * channels].view("<i2")[::channels]
    return samples[-int(seconds * rate) :] / 32768, rate


class Phone:
    def __init__(self):
        self._dir, self._process, self._presences = tempfile.mkdtemp(prefix="baresip-"), None, {}

    async def start(self, user, password, domain, port, transport="udp", codecs=("PCMA/8000/1", "PCMU/8000/1"), mediaenc="", tone=440,
                    regint=300, answer="manual", contacts=(), watch=(), ca=None, mwi=False):
        write(f"{self._dir}/tone.wav", tone, RATE, TONE_SECONDS)
        certify(self._dir)
        account = (f"<sip:{user}@{domain};transport={transport}>;auth_user={user};auth_pass={password};regint={regint}"
                   f';outbound="sip:{HOST}:{port};transport={transport}";answermode={answer};audio_codecs={",".join(codecs)}')
        account += f";mediaenc={mediaenc}" if mediaenc else ""
        account += f";mwi={'yes' if mwi else 'no'}"
        people = [f'"" <{uri}>;presence=p2p\n' for uri in watch] + [f'"" <{uri}>\n' for uri in contacts if uri not in watch]
        for name, text in (("accounts", ""), ("contacts", "".join(people)), ("uuid", str(uuid.uuid4()))):
            with open(f"{self._dir}/{name}", "w") as file:
                file.write(text)
        while (sip := await self._launch(ca)) is None:  # another program took a port between our look and baresip's
            pass
        await self._do("uanew", account)  # only now, or we would not hear how the registration went
        await self._do("uanext")
        say("started", sip=f"{HOST}:{sip}")
        if watch:
            self._tasks.append(asyncio.ensure_future(self._watch()))

    async def _launch(self, ca):
        """The port for SIP; nothing where another program had one of the ports first."""
        sip, control, console = free_ports()
        found = glob.glob("/usr/lib/baresip/modules") + glob.glob("/usr/lib/*/baresip/modules")
        config = CONFIG.format(host=HOST, sip=sip, dir=self._dir, rate=RATE, control=control, console=console, modules=found[0],
                               cafile=f"sip_cafile {ca}" if ca else "")
        config += "".join(f"module {name}.so\n" for name in MODULES) + "".join(f"module_app {name}.so\n" for name in APPS)
        with open(f"{self._dir}/config", "w") as file:
            file.write(config)
        log = open(f"{self._dir}/log", "w")
        self._process = await asyncio.create_subprocess_exec("baresip", "-f", self._dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                             cwd=self._dir, preexec_fn=die_with_parent)
        self._control = self._keys = None
        self._tasks = [asyncio.ensure_future(job) for job in (self._exited(), self._events(control), self._console(console), self._errors())]
        for _ in range(100):
            if "Address already in use" in self._log():
                for task in self._tasks:
                    task.cancel()
                with contextlib.suppress(ProcessLookupError):  # without its port for SIP it ends by itself
                    self._process.kill()
                await self._process.wait()
                return None
            if self._control and self._keys:
                return sip
            await asyncio.sleep(0.05)
        raise RuntimeError("baresip does not start: " + self._log()[-500:])

    def _log(self):
        with open(f"{self._dir}/log", errors="replace") as log:
            return log.read()

    async def _exited(self):
        say("exited", code=await self._process.wait())

    async def _connect(self, port):
        while True:
            try:
                return await asyncio.open_connection(HOST, port)
            except ConnectionError:
                await asyncio.sleep(0.05)

    async def _events(self, port):
        """Events and answers come as netstrings of JSON."""
        reader, self._control = await self._connect(port)
        self._answers = asyncio.Queue()
        while size := await reader.readuntil(b":"):
            said = json.loads((await reader.readexactly(int(size[:-1]) + 1))[:-1])
            self._answers.put_nowait(said) if said.get("response") else self._event(said)

    def _event(self, said):
        peer, more = said.get("peeruri"), said.get("param", "")
        match said["type"]:
            case "REGISTER_OK": say("registered")
            case "REGISTER_FAIL": say("register_failed", reason=more)
            case "CALL_INCOMING": say("incoming", **{"from": peer})
            case "CALL_RINGING": say("ringing")
            case "CALL_PROGRESS": say("progress")
            case "CALL_ESTABLISHED": say("established")
            case "CALL_CLOSED": say("closed", reason=more)
            case "CALL_DTMF_START": say("dtmf", digit=more)
            case "CALL_MENC": say("secure", how=more)
            case "MWI_NOTIFY": say("waiting", text=more)
            case "CALL_REMOTE_SDP": say("described", how=more)
            case "TRANSFER": say("transferred", to=more)
            case "TRANSFER_FAILED": say("transfer_failed", reason=more)

    async def _console(self, port):
        """Messages and the log come as plain text."""
        reader, self._keys = await self._connect(port)
        self._keys.write(b"\n")
        text = ""
        while data := await reader.read(65536):
            text += data.decode(errors="replace")
            # A message is "\r<uri>: "<text>"\n", written at once; the log has whole lines.
            for found in re.finditer(r'\r(sips?:[^\s"]+): "(.*?)"\n(?=\r|\Z|[a-z])|^.*Set audio decoder: (\S+) (\d+)Hz', text, re.S | re.M):
                if found[1]:
                    say("message", **{"from": found[1]}, body=found[2])
                else:
                    say("codec", decoder=found[3], rate=int(found[4]))
            text = "" if text.endswith("\n") else text[text.rfind("\n") + 1 :]

    async def _errors(self):
        """A MESSAGE that was refused is told on standard error only, in red."""
        with open(f"{self._dir}/log") as log:
            while True:
                for reason in re.findall(r" \x1b\[31m(\d{3} .*?|[A-Z][^\x1b]*)\x1b\[;m\n", log.read()):
                    say("message_failed", reason=reason)
                await asyncio.sleep(0.1)

    async def _watch(self):
        while True:
            text = re.sub(r"\x1b\[\d*;?m", "", await self._do("contacts"))
            for status, uri in re.findall(r"(Online|Offline|Busy|Unknown) .*<(.+)>", text):
                if self._presences.get(uri, "Unknown") != status:
                    say("presence", **{"from": uri}, status=status)
                self._presences[uri] = status
            await asyncio.sleep(0.2)

    async def _do(self, command, params=""):
        self._lock = getattr(self, "_lock", None) or asyncio.Lock()
        async with self._lock:
            data = json.dumps({"command": command, "params": params}).encode()
            self._control.write(b"%d:%s," % (len(data), data))
            answer = await asyncio.wait_for(self._answers.get(), 5)
        if not answer["ok"]:
            raise RuntimeError(f"{command}: {answer.get('data')}")
        return answer.get("data", "")

    async def call(self, to):
        await self._do("dial", to)

    async def answer(self):
        await self._do("accept")

    async def auto_answer(self, on=True):
        await self._do("answermode", "auto" if on else "manual")

    async def hangup(self):
        await self._do("hangup")

    async def hold(self):
        await self._do("hold")

    async def resume(self):
        await self._do("resume")

    async def transfer(self, to):
        await self._do("transfer", to)

    async def dtmf(self, digits):
        for digit in digits:
            await self._do("sndcode", digit)
            await asyncio.sleep(0.25)

    async def status(self, online):
        await self._do("presence_online" if online else "presence_offline")

    async def message(self, to, body):
        # MESSAGE goes to the current contact; go to the first, then on to the right one.
        people = re.findall(r"(>| ).*<(.+)>", await self._do("contacts"))
        uris = [uri for _, uri in people]
        now = next(n for n, (mark, _) in enumerate(people) if mark == ">")
        for _ in range(abs(uris.index(to) - now)):
            await self._do("contact_next" if uris.index(to) > now else "contact_prev")
        await self._do("message", body)

    async def hear(self, seconds=2):
        await asyncio.sleep(seconds)
        recordings = glob.glob(f"{self._dir}/dump-*-dec.wav")
        if not recordings:
            raise RuntimeError("nothing was recorded")
        samples, rate = read_wav(max(recordings, key=os.path.getmtime), seconds)
        say("heard", **dominant(samples, rate), rate=rate)

    async def quit(self):
        for task in getattr(self, "_tasks", []):
            task.cancel()
        if self._process and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 3)
            except asyncio.TimeoutError:
                self._process.kill()
        if os.environ.get("TRACE"):
            print(open(f"{self._dir}/log").read(), file=sys.stderr)
        shutil.rmtree(self._dir, ignore_errors=True)
        os._exit(0)


def certify(folder):
    """Its own certificate, without which it does not listen for TLS."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=phone",
                    "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
    with open(f"{folder}/self.pem", "w") as both:
        both.write(open(f"{folder}/key.pem").read() + open(f"{folder}/cert.pem").read())


async def main():
    phone = Phone()
    await follow(phone)
    await phone.quit()


asyncio.run(main())
