// A Jingle and chat client made of stanza.js, the same headless (stanza.mjs) and in a browser (chromium.mjs).
// XMPP over WebSocket (RFC 7395), Jingle (XEP-0166, 0167, 0176, 0293, 0294, 0320, 0338, 0339), receipts (XEP-0184), chat states (XEP-0085).
//
// Takes commands and says events; both are JSON objects. Each command ends in done {cmd} or error {cmd, text}.
//   login {url, jid, password}              -> online {jid} | error
//   presence {type?, to?, show?, status?}   any presence; subscribe, subscribed, unsubscribe, unsubscribed and unavailable are types
//   message {to, body, id?, type?}          asks for a receipt, save in a room -> receipt {from, id} | message_error {from, id, condition}
//   chat_state {to, state}
//   disco {to}                              -> disco {from, features}
//   roster                                  -> roster {contacts}: JIDs with name, groups and subscription
//   contact {jid, name, groups}             puts one into the roster
//   carbons                                 copies of other devices' messages (XEP-0280) -> carbon {type, from, to, body} from now on
//   history {max, with?, before?, after?}   a page of the archive (XEP-0313) -> history {bodies, first, last, complete}
//   join {room, nick} | leave {room}        -> joined {room, nick}
//   bookmark {jid, name, nick} | bookmarks  -> bookmarks {rooms} (XEP-0048)
//   call {to, tone, codecs?}                `to` is a full JID; codecs as in ["opus"], ["PCMA"]; -> ringing, accepted, connected, ended
//   auto_answer {tone, codecs?}             answers what comes in from now on
//   answer {tone, codecs?} | hangup {reason?}
//   hear {seconds?}                         -> heard {hz, level, purity} of the seconds that follow
//   stats                                   -> stats {codec, local, remote, sent, received} of the call: addresses and packets
//   logout
// Unasked: presence {from, type, show, status}, message {from, body, id, receipt}, chat_state {from, state},
//   invite {room, from}, incoming {from, sid}, connected {sid}, ended {sid, reason}, offline, error {text}.
import { dominant } from './tone.mjs';

/**
 * `world` gives what differs between the two: createClient (stanza), RTCPeerConnection, MediaStream,
 * tone(hertz) -> {track, stop()}, record(track, seconds) -> promise of {samples, rate}, and say(event).
 */
export function client(world) {
  const { say } = world;
  let xmpp, session, tone, codecs, auto;

  class PeerConnection extends world.RTCPeerConnection {
    createOffer = async (options) => only(codecs, await super.createOffer(options));
    createAnswer = async (options) => only(codecs, await super.createAnswer(options));
  }

  function login({ url, jid, password }) {
    const [bare, resource] = jid.split('/');
    xmpp = world.createClient({
      jid: bare, resource, password, transports: { websocket: url, bosh: false }, autoReconnect: false, allowResumption: false,
      jingle: {
        iceServers: [], hasRTCPeerConnection: true, advertiseAudio: true,
        createPeerConnection: (_, options) => new PeerConnection(options),
      },
    });
    xmpp.on('session:started', () => { xmpp.sendPresence(); say({ event: 'online', jid: xmpp.jid }); });
    xmpp.on('auth:failed', () => say({ event: 'error', text: 'not authorized' }));
    xmpp.on('stream:error', (error) => say({ event: 'error', text: `stream: ${error.condition}` }));
    xmpp.on('disconnected', () => say({ event: 'offline' }));
    xmpp.on('presence', ({ from, type = 'available', show, status }) => say({ event: 'presence', from, type, show, status }));
    xmpp.on('message', ({ from, type, body, id, receipt }) => {
      if (body !== undefined && type !== 'error') say({ event: 'message', from, body, id, receipt: receipt?.type === 'request' });
    });
    xmpp.on('message:error', ({ from, id, error }) => say({ event: 'message_error', from, id, condition: error?.condition }));
    xmpp.on('receipt', ({ from, receipt }) => say({ event: 'receipt', from, id: receipt.id }));
    xmpp.on('chat:state', ({ from, chatState }) => say({ event: 'chat_state', from, state: chatState }));
    for (const type of ['sent', 'received']) {
      xmpp.on(`carbon:${type}`, ({ carbon: { forward: { message: { from, to, body } } } }) => say({ event: 'carbon', type, from, to, body }));
    }
    xmpp.on('muc:invite', ({ room, from }) => say({ event: 'invite', room, from }));
    xmpp.on('jingle:incoming', incoming);
    xmpp.on('jingle:ringing', ({ sid }) => say({ event: 'ringing', sid }));
    xmpp.on('jingle:accepted', ({ sid }) => say({ event: 'accepted', sid }));
    xmpp.on('jingle:terminated', ended);
    if (world.trace) {
      xmpp.on('raw:incoming', (xml) => world.trace(`<< ${xml}`));
      xmpp.on('raw:outgoing', (xml) => world.trace(`>> ${xml}`));
      xmpp.jingle.on('log', (...line) => world.trace(...line));
    }
    xmpp.connect();
  }

  function begin(hertz, allowed) {
    codecs = allowed;
    tone = world.tone(hertz);
    const stream = new world.MediaStream();
    stream.addTrack(tone.track);
    return stream;
  }

  function watch(call) {
    session = call;
    const { onIceCandidate } = call; // the tests know no network but loopback
    call.onIceCandidate = (event) => / 127\.0\.0\.1 /.test(event.candidate.candidate) && onIceCandidate.call(call, event);
    // Looked at, not listened for: @roamhq/wrtc loses the event of a state now and then.
    const look = setInterval(() => {
      const { connectionState, iceConnectionState } = call.pc;
      const up = connectionState === 'connected' || ['connected', 'completed'].includes(iceConnectionState);
      if (up) say({ event: 'connected', sid: call.sid });
      if (up || connectionState === 'closed' || call.state === 'ended') clearInterval(look);
    }, 50);
  }

  function call({ to, tone: hertz, codecs: allowed }) {
    if (session) throw new Error('in a call');
    watch(xmpp.jingle.createMediaSession(to, undefined, begin(hertz, allowed)));
    return session.start({ offerToReceiveAudio: true });
  }

  function incoming(call) {
    if (session) return call.end('busy');
    watch(call);
    say({ event: 'incoming', from: call.peerID, sid: call.sid });
    if (auto) answer(auto);
    else call.ring();
  }

  function answer({ tone: hertz, codecs: allowed }) {
    const stream = begin(hertz, allowed);
    session.addTrack(stream.getTracks()[0], stream);
    return session.accept();
  }

  function hangup({ reason }) {
    const usual = session.state === 'active' ? 'success' : session.isInitiator ? 'cancel' : 'decline';
    session.end(reason ?? usual);
  }

  function ended({ sid }, reason) {
    if (session?.sid !== sid) return;
    say({ event: 'ended', sid, reason: reason?.condition ?? reason });
    tone?.stop();
    session = tone = undefined;
  }

  async function hear({ seconds = 2 }) {
    const track = session.pc.getReceivers().map((receiver) => receiver.track).find((track) => track?.kind === 'audio');
    const { samples, rate } = await world.record(track, seconds);
    say({ event: 'heard', ...dominant(samples, rate) });
  }

  async function stats() {
    const all = new Map([...(await session.pc.getStats()).entries()]);
    const of = (type) => [...all.values()].find((report) => report.type === type) ?? {};
    const pair = all.get(of('transport').selectedCandidatePairId) ?? {};
    const address = (id) => { const { ip, address, port } = all.get(id) ?? {}; return `${address ?? ip}:${port}`; };
    const received = of('inbound-rtp');
    say({
      event: 'stats', codec: all.get(received.codecId)?.mimeType, local: address(pair.localCandidateId), remote: address(pair.remoteCandidateId),
      sent: of('outbound-rtp').packetsSent, received: received.packetsReceived,
    });
  }

  async function disco({ to }) {
    say({ event: 'disco', from: to, features: (await xmpp.getDiscoInfo(to)).features });
  }

  async function roster() {
    const { items } = await xmpp.getRoster();
    say({ event: 'roster', contacts: items.map(({ jid, name, groups, subscription }) => ({ jid, name, groups, subscription })) });
  }

  async function history({ max, with: other, before, after }) {
    const { results, paging, complete = false } = await xmpp.searchHistory({ with: other, paging: { max, before, after } });
    say({ event: 'history', bodies: results.map(({ item }) => item.message.body), first: paging.first, last: paging.last, complete });
  }

  async function join({ room, nick }) {
    const { from } = await xmpp.joinRoom(room, nick);
    const [jid, name] = from.split('/');
    say({ event: 'joined', room: jid, nick: name });
  }

  async function bookmarks() {
    const rooms = await xmpp.getBookmarks();
    say({ event: 'bookmarks', rooms: rooms.map(({ jid, name, nick, autoJoin }) => ({ jid, name, nick, autoJoin })) });
  }

  const commands = {
    login, call, answer, hangup, hear, stats, disco, roster, history, join, bookmarks,
    contact: ({ jid, name, groups }) => xmpp.updateRosterItem({ jid, name, groups }),
    carbons: () => xmpp.enableCarbons(),
    leave: ({ room }) => xmpp.leaveRoom(room),
    bookmark: ({ jid, name, nick }) => xmpp.addBookmark({ jid, name, nick, autoJoin: true }),
    auto_answer: (options) => { auto = options; },
    presence: ({ cmd, ...presence }) => xmpp.sendPresence(presence),
    message: ({ to, body, id, type = 'chat' }) => xmpp.sendMessage({ to, body, id, type, ...(type === 'chat' && { receipt: { type: 'request' } }) }),
    chat_state: ({ to, state }) => xmpp.sendMessage({ to, type: 'chat', chatState: state }),
    logout: () => xmpp?.disconnect(),
  };

  return async (command) => {
    try {
      if (!commands[command.cmd]) throw new Error('no such command');
      await commands[command.cmd](command);
      say({ event: 'done', cmd: command.cmd });
    } catch (error) {
      say({ event: 'error', cmd: command.cmd, text: error?.error?.condition ?? String(error?.message ?? error) });
    }
  };
}

/** The description with these codecs alone, and the telephone events of their clocks. */
function only(codecs, { type, sdp }) {
  if (!codecs) return { type, sdp };
  const lines = sdp.split('\r\n');
  const named = lines.flatMap((line) => [...line.matchAll(/^a=rtpmap:(\d+) ([^/]+)\/(\d+)/g)]).map(([, id, name, clock]) => ({ id, name, clock }));
  const wanted = named.filter(({ name }) => codecs.some((codec) => codec.toLowerCase() === name.toLowerCase()));
  const events = named.filter(({ name, clock }) => name === 'telephone-event' && wanted.some((codec) => codec.clock === clock));
  const kept = new Set([...wanted, ...events].map(({ id }) => id));
  const filtered = lines
    .filter((line) => !/^a=(rtpmap|fmtp|rtcp-fb):/.test(line) || kept.has(line.match(/:(\d+)/)[1]))
    .map((line) => line.replace(/^(m=audio \d+ \S+) .*/, (_, start) => [start, ...kept].join(' ')));
  return { type, sdp: filtered.join('\r\n') };
}
