"""Linphone's command line (linphonec, liblinphone 5): SIP over UDP, TCP or TLS, RTP or SDES-SRTP, push parameters (RFC 8599).

It plays a file of a tone in place of a microphone and records what it hears in place of a loudspeaker.

Commands and events, JSON, one per line; each command ends in done {cmd} or error {cmd, text}:
  start {user, password, domain, port, transport?, codec?, encryption?, tone?, seconds?, push?, info?}
      transport udp|tcp|tls; codec as in "opus/48000"; encryption none|srtp; seconds of a registration; push as in
      "pn-provider=a;pn-prid=b", which goes into the Contact; info: keys go by INFO, not in the audio                -> registered
  call {to} | answer | hangup     -> ringing, connected, streams, ended {why}
  auto_answer
  hold | resume                   -> paused, streams
  transfer {call, to}             hands a call on to another of its calls (RFC 5589 section 7.3); calls are counted from 1
  dtmf {digits}
  hear {seconds?}                 -> heard {hz, level, purity, rate} of the seconds that follow
  sleep                           the program ends as if it had been killed: nobody is told
Unasked: incoming {from}, held, failed {why}, exited {code}.
"""
import asyncio, os, re, shutil, signal, socket, sys, tempfile, uuid

import numpy
from lines import die_with_parent, follow, say
from tone import dominant, write

HOST = "127.0.0.1"
CODECS = ["opus/48000", "speex/16000", "speex/8000", "PCMU/8000", "PCMA/8000", "G722/8000", "GSM/8000", "speex/32000", "BV16/8000", "G729/8000"]
WAV_HEADER, TONE_SECONDS = 44, 120

SETTINGS = """
[sip]
sip_port={udp}
sip_tcp_port={tcp}
sip_tls_port={tls}
bind_address={host}
contact="{user}" <sip:{user}@{host}>
guess_hostname=0
use_ipv6=0
register_only_when_network_is_up=0
default_proxy=0
verify_server_certs=0
verify_server_cn=0
media_encryption={encryption}
use_info={info}
use_rfc2833={rfc}
[rtp]
audio_rtp_port={rtp}
[sound]
echocancellation=0
[net]
firewall_policy=0
[misc]
uuid={uuid}
[proxy_0]
reg_proxy=<sip:{host}:{port};transport={transport}>
reg_route=<sip:{host}:{port};transport={transport};lr>
reg_identity=<sip:{user}@{domain}>
reg_expires={seconds}
reg_sendregister=1
publish=0
contact_uri_parameters={push}
[auth_info_0]
username={user}
passwd={password}
realm={domain}
domain={domain}
"""

SAID = [
    (re.compile(r"Receiving new incoming call from (.+), assigned id"), lambda found: ("incoming", {"from": found[1]})),
    (re.compile(r"Call \d+ .* ringing"), lambda _: ("ringing", {})),
    (re.compile(r"Call \d+ with .* connected"), lambda _: ("connected", {})),
    (re.compile(r"Media streams established with"), lambda _: ("streams", {})),
    (re.compile(r"Call \d+ with .* is now paused"), lambda _: ("paused", {})),
    (re.compile(r"Call \d+ has been paused by"), lambda _: ("held", {})),
    (re.compile(r"Call \d+ with .* ended \((.*)\)"), lambda found: ("ended", {"why": found[1]})),
    (re.compile(r"Call \d+ with .* error\.?(.*)"), lambda found: ("failed", {"why": found[1]})),
]


def free_port():
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            # RTP is even, RTCP is the next one.
            if (port := probe.getsockname()[1]) % 2 == 0:
                return port


class Phone:
    def __init__(self):
        self._dir, self._process, self._calls = tempfile.mkdtemp(prefix="linphone-"), None, 0
        self._uuid, self._answers = str(uuid.uuid4()), asyncio.Queue()

    async def start(self, user, password, domain, port, transport="udp", codec="PCMA/8000", encryption="none", tone=440, seconds=300, push="", info=False):
        self._rate = int(codec.split("/")[1])
        write(f"{self._dir}/tone.wav", tone, self._rate, TONE_SECONDS)
        listens = {name: free_port() if name == transport else 0 for name in ("udp", "tcp", "tls")}
        text = SETTINGS.format(host=HOST, user=user, password=password, domain=domain, port=port, transport=transport, encryption=encryption,
                               rtp=free_port(), seconds=seconds, push=push, info=int(info), rfc=int(not info), uuid=self._uuid, **listens)
        for at, name in enumerate([codec] + [other for other in CODECS if other != codec]):
            mime, rate = name.split("/")
            text += f"[audio_codec_{at}]\nmime={mime}\nrate={rate}\nenabled={int(name == codec)}\n"
        with open(f"{self._dir}/settings", "w") as file:
            file.write(text)
        os.makedirs(f"{self._dir}/.local/share/linphone", exist_ok=True)
        environment = {**os.environ, "HOME": self._dir, "XDG_CONFIG_HOME": f"{self._dir}/.config", "XDG_DATA_HOME": f"{self._dir}/.local/share"}
        log = open(f"{self._dir}/log", "w")
        self._process = await asyncio.create_subprocess_exec(
            "linphonec", "-c", f"{self._dir}/settings", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            cwd=self._dir, env=environment, preexec_fn=die_with_parent)
        self._tasks = [asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._exited())]
        self._do("soundcard use files")
        self._do(f"play {self._dir}/tone.wav")
        self._record()
        for _ in range(100):
            self._do("status register")
            if "registered, identity" in await self._answer("identity=|registered="):
                return say("registered")
            await asyncio.sleep(0.1)
        raise RuntimeError("not registered")

    async def _exited(self):
        say("exited", code=await self._process.wait())

    def _do(self, command):
        self._process.stdin.write(f"{command}\n".encode())

    async def _answer(self, pattern):
        while not re.search(pattern, line := await asyncio.wait_for(self._answers.get(), 10)):
            pass
        return line

    async def _listen(self):
        while line := await self._process.stdout.readline():
            line = line.decode(errors="replace").strip()
            self._answers.put_nowait(line)
            for pattern, event in SAID:
                if found := pattern.search(line):
                    name, fields = event(found)
                    say(name, **fields)
                    if name in ("ended", "failed"):
                        self._record()
                    break

    def _record(self):
        """Each call has its own recording. It dies of another name while a call comes in."""
        self._calls += 1
        self._do(f"record {self._dir}/heard-{self._calls}.wav")

    async def call(self, to):
        self._do(f"call {to} --audio-only")

    async def answer(self):
        self._do("answer")

    async def auto_answer(self):
        self._do("autoanswer enable")

    async def hangup(self):
        self._do("terminate")

    async def hold(self):
        self._do("pause")

    async def resume(self):
        self._do("resume")

    async def dtmf(self, digits):
        self._do(digits)

    async def transfer(self, call, to):
        self._do(f"transfer {call} --to-call {to}")

    async def hear(self, seconds=2):
        await asyncio.sleep(seconds)
        # The header is written when the call has ended.
        with open(f"{self._dir}/heard-{self._calls}.wav", "rb") as file:
            data = file.read()[WAV_HEADER:]
        samples = numpy.frombuffer(data[: len(data) // 2 * 2], dtype="<i2")[-int(seconds * self._rate) :] / 32768
        say("heard", **dominant(samples, self._rate), rate=self._rate)

    async def sleep(self):
        await self._end(signal.SIGKILL)

    async def _end(self, how):
        if self._process and self._process.returncode is None:
            self._process.send_signal(how)
            await self._process.wait()

    async def quit(self):
        if self._process and self._process.returncode is None:
            self._do("quit")
            try:
                await asyncio.wait_for(self._process.wait(), 4)
            except asyncio.TimeoutError:
                await self._end(signal.SIGKILL)
        if os.environ.get("TRACE"):
            print(open(f"{self._dir}/log").read(), file=sys.stderr)
        shutil.rmtree(self._dir, ignore_errors=True)
        os._exit(0)


async def main():
    phone = Phone()
    await follow(phone)
    await phone.quit()


asyncio.run(main())
