// strophe.js over BOSH (XEP-0124, XEP-0206), found by host-meta (XEP-0156): logs in, hears the echo, says goodbye.
import { load, say } from './lines.mjs';

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // the servers of the tests have certificates of their own
process.removeAllListeners('warning');

/** As much of a browser's XMLHttpRequest as strophe.js wants. */
class Request {
  constructor() { this.readyState = 0; this.status = 0; this.responseText = ''; this.headers = {}; this.stop = new AbortController(); }
  open(method, url) { Object.assign(this, { method, url }); this.readyState = 1; }
  setRequestHeader(name, value) { this.headers[name] = value; }
  overrideMimeType() {}
  abort() { this.stop.abort(); }
  getResponseHeader() { return null; }
  getAllResponseHeaders() { return ''; }
  async send(body) {
    try {
      const answer = await fetch(this.url, { method: this.method, headers: { ...this.headers, origin: 'https://app.example' }, body, signal: this.stop.signal });
      this.status = answer.status;
      this.responseText = await answer.text();
      this.responseXML = new (globalThis.DOMParser ?? load('@xmldom/xmldom').DOMParser)().parseFromString(this.responseText, 'text/xml');
    } catch { this.status = 0; }
    this.readyState = 4;
    this.onreadystatechange?.();
  }
}
globalThis.XMLHttpRequest = Request;

const meta = await (await fetch(`https://localhost:${process.env.HTTPS_PORT}/.well-known/host-meta.json`)).json();
const url = meta.links.find((link) => link.rel === 'urn:xmpp:alt-connections:xbosh').href;
const { Strophe, $msg, $pres } = load('strophe.js');
const connection = new Strophe.Connection(url);
const status = (wanted) => new Promise((done, fail) => {
  const limit = setTimeout(() => fail(new Error(`not ${wanted}`)), 20000);
  watchers.push((now) => { if (now === wanted) { clearTimeout(limit); done(); } });
});
const watchers = [];
const heard = (body) => new Promise((done, fail) => {
  const limit = setTimeout(() => fail(new Error(`${body} is not heard`)), 20000);
  connection.addHandler((message) => {
    if (message.getElementsByTagName('body')[0]?.textContent !== body) return true;
    clearTimeout(limit);
    done();
    return false;
  }, null, 'message');
});

const connected = status(Strophe.Status.CONNECTED);
connection.connect('ana@localhost/bosh', 'secret-ana', (now) => watchers.forEach((watch) => watch(now)), 60, 1);
await connected;
console.log(`logged in as ${connection.jid}`);
connection.send($pres());
for (let n = 0; n < 20; n++) {
  const body = `Grüße <&> ${n}`;
  const echo = heard(body);
  connection.send($msg({ to: 'echo@localhost', type: 'chat' }).c('body').t(body));
  await echo;
}
console.log('twenty messages came back');
const gone = status(Strophe.Status.DISCONNECTED);
connection.disconnect();
await gone;
console.log('said goodbye');
process.exit(0);
