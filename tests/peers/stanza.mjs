// stanza.js with libwebrtc (@roamhq/wrtc), headless: XMPP over WebSocket and Jingle. Commands and events: client.mjs.
import { client } from './client.mjs';
import { follow, load, say } from './lines.mjs';
import { sine } from './tone.mjs';

process.removeAllListeners('warning');
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // the servers of the tests have certificates of their own
const wrtc = load('@roamhq/wrtc');
const { RTCAudioSource, RTCAudioSink } = wrtc.nonstandard;
const RATE = 48000, FRAME = RATE / 100;

function tone(hertz) {
  const source = new RTCAudioSource(), track = source.createTrack(), begun = performance.now();
  let frames = 0;
  const timer = setInterval(() => {
    for (; frames * 10 < performance.now() - begun; frames++) {
      const samples = Int16Array.from(sine(hertz, RATE, frames * FRAME, FRAME), (x) => x * 32767);
      source.onData({ samples, sampleRate: RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: FRAME });
    }
  }, 10);
  return { track, stop: () => { clearInterval(timer); track.stop(); } };
}

async function record(track, seconds) {
  const sink = new RTCAudioSink(track), samples = [];
  let rate = RATE;
  sink.ondata = (data) => {
    rate = data.sampleRate;
    for (let n = 0; n < data.samples.length; n += data.channelCount) samples.push(data.samples[n] / 32768);
  };
  await new Promise((done) => setTimeout(done, seconds * 1000));
  sink.stop();
  return { samples: Float32Array.from(samples), rate };
}

const run = client({
  createClient: load('stanza').createClient, RTCPeerConnection: wrtc.RTCPeerConnection, MediaStream: wrtc.MediaStream, tone, record, say,
  trace: process.env.TRACE && console.error,
});
follow(run, () => run({ cmd: 'logout' }));
