// @xmpp/client: SASL2 (XEP-0388), Bind 2 (XEP-0386) and FAST (XEP-0484), the same in Node (xmppjs.mjs) and in a browser.
const id = '5b1c3a3e-9d1e-4c8c-8a35-3a6f9d6d1a11';
const check = (right, what) => { if (!right) throw new Error(what); };

/** `world` gives client and xml of @xmpp/client, service, domain, `step` which notes what went well, and the mechanism for passwords. */
export async function story({ client, xml, service, domain, step, mechanism }) {
  /** A client that notes what is said; `credentials` may hold a token. */
  function open(credentials, userAgent = id) {
    const xmpp = client({ service, domain, resource: 'Story', credentials, username: 'ana', userAgent: xml('user-agent', { id: userAgent }) });
    xmpp.reconnect.stop();
    // COMPAT @xmpp/client 0.14: it listens for an answer only once its own words are written, which over TLS may be too late.
    const write = xmpp.write.bind(xmpp);
    xmpp.write = async (text) => { write(text).catch((error) => xmpp.emit('error', error)); };
    const heard = [], said = [];
    xmpp.on('element', (element) => heard.push(element));
    xmpp.on('send', (element) => said.push(element));
    xmpp.on('error', (error) => heard.push(error));
    let token;
    xmpp.fast.saveToken = async (kept) => { token = kept; };
    xmpp.fast.fetchToken = async () => credentials.token;
    return Object.assign(xmpp, { heard, said, token: () => token });
  }

  const mechanisms = (xmpp) => xmpp.said.filter((e) => e.is('authenticate')).map((e) => e.attrs.mechanism);
  const succeeded = (xmpp) => xmpp.heard.find((e) => e.is?.('success', 'urn:xmpp:sasl:2'));

  async function echo(xmpp, body) {
    const answer = new Promise((done) => xmpp.on('stanza', (s) => s.is('message') && s.getChildText('body') === body && done()));
    await xmpp.send(xml('presence'));
    await xmpp.send(xml('message', { to: `echo@${domain}`, type: 'chat' }, xml('body', {}, body)));
    await answer;
  }

  const first = open({ username: 'ana', password: 'secret-ana' });
  const jid = await first.start();
  check(mechanisms(first).join() === mechanism, `mechanisms: ${mechanisms(first)}`);
  check(jid.resource.startsWith('Story/'), `resource ${jid}`);
  check(succeeded(first).getChildText('authorization-identifier') === `${jid}`, 'no full JID');
  check(succeeded(first).getChild('bound', 'urn:xmpp:bind:0'), 'not bound');
  check(!first.said.some((e) => e.is('auth') || e.getChild?.('bind', 'urn:ietf:params:xml:ns:xmpp-bind')), 'the old way');
  step('bound by its password in one exchange');
  await echo(first, 'once');
  step('the session works');
  const token = first.token();
  check(token?.mechanism === 'HT-SHA-256-NONE' && new Date(token.expiry) > new Date(), 'no token');
  step('a token was given');

  const ended = new Promise((done) => first.on('disconnect', done));
  const second = open({ username: 'ana', token });
  const again = await second.start();
  check(mechanisms(second).join() === 'HT-SHA-256-NONE', `mechanisms: ${mechanisms(second)}`);
  check(again.resource !== jid.resource, 'the same resource');
  step('logged in again by the token');
  await ended;
  check(first.heard.some((e) => e.condition === 'conflict' || e.getChild?.('conflict')), 'no conflict');
  step('the older session of the same installation has ended');
  await echo(second, 'twice');
  await second.stop();

  const other = open({ username: 'ana', password: 'secret-ana', token }, '6b1c3a3e-9d1e-4c8c-8a35-3a6f9d6d1a12');
  await other.start();
  check(mechanisms(other).join() === `HT-SHA-256-NONE,${mechanism}`, `mechanisms: ${mechanisms(other)}`);
  step('the token of another installation was refused and the password taken');
  await other.stop();

  const wrong = open({ username: 'ana', password: 'wrong' });
  const refused = await wrong.start().then(() => null, (error) => error);
  check(refused?.condition === 'not-authorized', `refused with ${refused}`);
  step('a wrong password was refused');
}
