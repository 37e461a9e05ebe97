// The phones of webphone.mjs in a browser's page: one command set over two stacks.
import JsSIP from 'jssip';
import * as SIP from 'sip.js';
import { dominant } from './tone.mjs';
import { record, tone } from './sound.mjs';

const { say, trace } = window;
let phone, playing, answers;

/** Our sound for a call, in place of a microphone. */
function voice(hertz) {
  playing?.stop();
  playing = tone(hertz);
  return new MediaStream([playing.track]);
}

function jssip({ url, user, password, domain }) {
  if (window.verbose) JsSIP.debug.enable('JsSIP:*');
  const ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(url)], uri: `sip:${user}@${domain}`, password, register_expires: 300 });
  const media = (hertz) => ({ mediaStream: voice(hertz), pcConfig: { iceServers: [] } });
  let session;
  ua.on('registered', () => say({ event: 'registered' }));
  ua.on('registrationFailed', ({ response }) => say({ event: 'register_failed', status: response?.status_code }));
  ua.on('disconnected', () => say({ event: 'offline' }));
  ua.on('newMessage', ({ originator, request }) => {
    if (originator === 'remote') say({ event: 'message', from: request.from.uri.toString(), body: request.body });
  });
  ua.on('newRTCSession', ({ originator, session: opened }) => {
    session = opened;
    session.on('progress', () => originator === 'local' && say({ event: 'ringing' }));
    session.on('confirmed', () => say({ event: 'established' }));
    session.on('ended', ({ cause }) => say({ event: 'closed', reason: cause }));
    session.on('failed', ({ cause, message }) => say({ event: 'closed', reason: `${cause} ${message?.status_code ?? ''}` }));
    if (originator === 'remote') {
      say({ event: 'incoming', from: session.remote_identity.uri.toString() });
      if (answers) session.answer(media(answers));
    }
  });
  ua.start();
  return {
    call: (to, hertz) => ua.call(to, media(hertz)),
    hangup: () => session.terminate(),
    message: (to, body) => ua.sendMessage(to, body, {
      eventHandlers: {
        succeeded: ({ response }) => say({ event: 'sent', status: response.status_code }),
        failed: ({ response, cause }) => say({ event: 'sent', status: response?.status_code ?? cause }),
      },
    }),
    connection: () => session.connection,
    stop: () => ua.stop(),
  };
}

async function sipjs({ url, user, password, domain }) {
  const factory = SIP.Web.defaultSessionDescriptionHandlerFactory(async () => voice(answers));
  const ua = new SIP.UserAgent({
    uri: SIP.UserAgent.makeURI(`sip:${user}@${domain}`),
    transportOptions: { server: url },
    authorizationUsername: user,
    authorizationPassword: password,
    sessionDescriptionHandlerFactory: factory,
    sessionDescriptionHandlerFactoryOptions: { iceGatheringTimeout: 500, peerConnectionConfiguration: { iceServers: [] } },
    logLevel: 'error',
  });
  let session;
  const watch = (opened) => {
    session = opened;
    session.stateChange.addListener((state) => {
      if (state === SIP.SessionState.Established) say({ event: 'established' });
      if (state === SIP.SessionState.Terminated) say({ event: 'closed', reason: '' });
    });
  };
  ua.delegate = {
    onInvite: (invitation) => {
      watch(invitation);
      say({ event: 'incoming', from: invitation.remoteIdentity.uri.toString() });
      if (answers) invitation.accept();
    },
    onMessage: (message) => {
      say({ event: 'message', from: message.request.from.uri.toString(), body: message.request.body });
      message.accept();
    },
    onDisconnect: () => say({ event: 'offline' }),
  };
  await ua.start();
  const registerer = new SIP.Registerer(ua, { expires: 300 });
  registerer.stateChange.addListener((state) => state === 'Registered' && say({ event: 'registered' }));
  await registerer.register({ requestDelegate: { onReject: ({ message }) => say({ event: 'register_failed', status: message.statusCode }) } });
  return {
    call: async (to, hertz) => {
      answers = hertz;
      watch(new SIP.Inviter(ua, SIP.UserAgent.makeURI(to)));
      await session.invite({ requestDelegate: { onProgress: () => say({ event: 'ringing' }) } });
    },
    hangup: () => session.state === SIP.SessionState.Established ? session.bye() : session.cancel?.() ?? session.reject(),
    message: (to, body) => new SIP.Messager(ua, SIP.UserAgent.makeURI(to), body).message({
      requestDelegate: {
        onAccept: ({ message }) => say({ event: 'sent', status: message.statusCode }),
        onReject: ({ message }) => say({ event: 'sent', status: message.statusCode }),
      },
    }),
    connection: () => session.sessionDescriptionHandler.peerConnection,
    stop: async () => { await registerer.unregister(); await ua.stop(); },
  };
}

const commands = {
  start: async ({ stack, ...rest }) => { phone = await (stack === 'jssip' ? jssip(rest) : sipjs(rest)); },
  call: ({ to, tone }) => phone.call(to, tone),
  hangup: () => phone.hangup(),
  auto_answer: ({ tone }) => { answers = tone; },
  message: ({ to, body }) => phone.message(to, body),
  hear: async ({ seconds = 2 }) => {
    const track = phone.connection().getReceivers()[0].track;
    const { samples, rate } = await record(track, seconds);
    say({ event: 'heard', ...dominant(samples, rate) });
  },
  stats: async () => {
    const said = { event: 'stats' };
    const reports = await phone.connection().getStats();
    reports.forEach((report) => {
      if (report.type === 'transport') Object.assign(said, { dtls: report.dtlsState, srtp: report.srtpCipher });
      if (report.type === 'inbound-rtp') said.codec = reports.get(report.codecId)?.mimeType;
    });
    say(said);
  },
  stop: () => phone?.stop(),
};

window.run = async ({ cmd, ...rest }) => {
  try {
    await commands[cmd](rest);
    say({ event: 'done', cmd });
  } catch (error) {
    say({ event: 'error', cmd, text: String(error) });
  }
};
