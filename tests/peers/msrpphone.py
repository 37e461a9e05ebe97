"""A phone with message sessions (MSRP), written from RFC 4975 for want of another: SIP over UDP as in rawphone.py, MSRP over TCP or TLS.

Commands and events, JSON, one per line, beside those of rawphone.py:
  invite {to, tls?, setup?, more?}                     a message session; more are further SDP lines -> session {status, sdp}
  say {type?, body, chunk?, success?, failure?, head?} a SEND, in chunks of so many bytes -> said {status} of the last chunk, unless failure is no
  nickname {name}                                      -> said {status}
  bye
Unasked: msrp {method, type, body, headers} for what comes, put together; bye; closed.
"""
import asyncio, hashlib, ssl, uuid

from lines import follow, say
from rawphone import HOST, Phone


class MsrpPhone(Phone):
    def __init__(self):
        super().__init__()
        self._writer, self._open, self._asked = None, {}, {}

    def datagram_received(self, data, peer):
        if data.startswith(b"BYE "):
            say("bye", head=data.decode())
            if self._writer:
                self._writer.close()
        super().datagram_received(data, peer)

    async def invite(self, to, tls=False, setup="active", more="", accept="*"):
        self._own = f"msrp{'s' if tls else ''}://{HOST}:9/{uuid.uuid4().hex};tcp"
        proto = "TCP/TLS/MSRP" if tls else "TCP/MSRP"
        sdp = (f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=message 9 {proto} *\r\na=accept-types:{accept}\r\n"
               f"a=accept-wrapped-types:*\r\na=setup:{setup}\r\na=path:{self._own}\r\n{more}")
        self._to, self._call, tag, status = to, uuid.uuid4().hex, uuid.uuid4().hex[:8], 401
        self._from = f"<sip:{self._user}@{self._domain}>;tag={tag}"
        for _ in range(2):
            self._cseq += 1
            branch = f"z9hG4bK{uuid.uuid4().hex}"
            key = (self._call, f"{self._cseq} INVITE")
            self._answers[key] = asyncio.get_running_loop().create_future()
            head = self._head("INVITE", to, branch, f"<{to}>")
            self._transport.sendto((f"{head}{self._credentials('INVITE', to)}Contact: <sip:{self._user}@{HOST}:{self._port}>\r\n"
                                    f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}").encode())
            status, _, fields = await asyncio.wait_for(self._answers[key], 35)
            get = lambda name: next(v for k, v in fields if k.lower() == name)
            self._peer = get("to")
            if status < 300:
                self._target = get("contact").split("<")[1].split(">")[0]
                self._transport.sendto((self._head("ACK", self._target, f"z9hG4bK{uuid.uuid4().hex}", self._peer) + "Content-Length: 0\r\n\r\n").encode())
                break
            self._transport.sendto((self._head("ACK", to, branch, self._peer) + "Content-Length: 0\r\n\r\n").encode())
            if status != 401:
                break
            self._meet([value for key, value in fields if key.lower() == "www-authenticate"])
        answer = self._body.decode()
        if status == 200:
            await self._connect(answer, tls)
        say("session", status=status, sdp=answer)

    def _head(self, method, uri, branch, to):
        return (f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{self._port};branch={branch};rport\r\nFrom: {self._from}\r\nTo: {to}\r\n"
                f"Call-ID: {self._call}\r\nCSeq: {self._cseq} {method}\r\nMax-Forwards: 70\r\n")

    async def bye(self):
        self._cseq += 1
        self._transport.sendto((self._head("BYE", self._target, f"z9hG4bK{uuid.uuid4().hex}", self._peer) + "Content-Length: 0\r\n\r\n").encode())

    async def _connect(self, sdp, tls):
        get = lambda name: next((line.split(":", 1)[1] for line in sdp.splitlines() if line.startswith(f"a={name}:")), None)
        self._remote = get("path")
        port = int(self._remote.split("//")[1].split("/")[0].rsplit(":", 1)[1])
        context = None
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._reader, self._writer = await asyncio.open_connection(HOST, port, ssl=context)
        if tls:
            shown = hashlib.sha256(self._writer.get_extra_info("ssl_object").getpeercert(True)).hexdigest().upper()
            wanted = get("fingerprint").split(" ")[1].replace(":", "")
            if shown != wanted:
                raise RuntimeError("the certificate is not the one of the session description")
        asyncio.ensure_future(self._read())
        self._request("SEND", {"Message-ID": uuid.uuid4().hex[:16]}, None)

    def _request(self, method, headers, body, flag="$"):
        tid = uuid.uuid4().hex[:16]
        text = f"MSRP {tid} {method}\r\nTo-Path: {self._remote}\r\nFrom-Path: {self._own}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        data = text.encode() + (b"" if body is None else b"\r\n" + body + b"\r\n")
        self._writer.write(data + f"-------{tid}{flag}\r\n".encode())
        return tid

    async def say(self, body, type="text/plain", chunk=None, success="no", failure="yes", head=None):
        data, name = body.encode(), uuid.uuid4().hex[:16]
        chunk = chunk or len(data)
        for at in range(0, len(data), chunk):
            end = min(at + chunk, len(data))
            headers = {"Message-ID": name, "Byte-Range": f"{at + 1}-{end}/{len(data)}", "Success-Report": success, "Failure-Report": failure,
                       **(head or {}), "Content-Type": type}
            tid = self._request("SEND", headers, data[at:end], "$" if end == len(data) else "+")
        if failure != "no":
            await self._answered(tid)

    async def nickname(self, name):
        await self._answered(self._request("NICKNAME", {"Use-Nickname": f'"{name}"'}, None))

    async def _answered(self, tid):
        self._asked[tid] = asyncio.get_running_loop().create_future()
        say("said", status=await asyncio.wait_for(self._asked[tid], 20))

    async def _read(self):
        try:
            while True:
                await self._message()
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            say("closed")

    async def _message(self):
        lines = []
        while True:
            line = (await self._reader.readuntil(b"\r\n"))[:-2].decode()
            if not line or lines and line.startswith("-------" + lines[0].split(" ")[1]):
                break
            lines.append(line)
        tid, word = lines[0].split(" ")[1:3]
        fields = dict(line.split(": ", 1) for line in lines[1:])
        body, flag = b"", line[-1:]
        if not line:
            end = f"\r\n-------{tid}".encode()
            body = (await self._reader.readuntil(end))[: -len(end)]
            flag = (await self._reader.readexactly(3))[:1].decode()
        if word.isdigit():
            waiting = self._asked.pop(tid, None)
            if waiting:
                waiting.set_result(int(word))
            return
        if word == "REPORT":
            return say("msrp", method=word, type=None, body=None, headers=fields)
        if fields.get("Failure-Report", "yes") == "yes":
            self._writer.write(f"MSRP {tid} 200 OK\r\nTo-Path: {fields['From-Path'].split(' ')[0]}\r\nFrom-Path: {self._own}\r\n-------{tid}$\r\n".encode())
        name = fields.get("Message-ID")
        whole = self._open.pop(name, b"") + body
        if flag == "+":
            self._open[name] = whole
            return
        if fields.get("Success-Report") == "yes":
            self._request("REPORT", {"Message-ID": name, "Byte-Range": f"1-{len(whole)}/{len(whole)}", "Status": "000 200 OK"}, None)
        if "Content-Type" in fields:
            say("msrp", method=word, type=fields["Content-Type"], body=whole.decode(), headers=fields)


if __name__ == "__main__":
    asyncio.run(follow(MsrpPhone()))
