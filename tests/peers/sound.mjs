// Tones and recordings in a browser's page.

const context = () => (globalThis.sound ??= new AudioContext({ sampleRate: 48000 }));

/** A track with a tone, and what ends it. */
export function tone(hertz) {
  const oscillator = new OscillatorNode(context(), { frequency: hertz });
  const gain = new GainNode(context(), { gain: 0.3 });
  const out = new MediaStreamAudioDestinationNode(context(), { channelCount: 1 });
  oscillator.connect(gain).connect(out);
  oscillator.start();
  const [track] = out.stream.getAudioTracks();
  return { track, stop: () => { oscillator.stop(); track.stop(); } };
}

/** The seconds that follow of a track: { samples, rate }. */
export async function record(track, seconds) {
  // Chromium gives remote sound to Web Audio only while an element plays it too.
  const stream = new MediaStream([track]);
  const element = Object.assign(new Audio(), { srcObject: stream, muted: true });
  await element.play();
  const source = new MediaStreamAudioSourceNode(context(), { mediaStream: stream });
  const tap = context().createScriptProcessor(4096, 1, 1), blocks = [];
  tap.onaudioprocess = ({ inputBuffer }) => blocks.push(inputBuffer.getChannelData(0).slice());
  source.connect(tap).connect(context().destination);
  while (blocks.length * 4096 < seconds * context().sampleRate) await new Promise((done) => setTimeout(done, 20));
  source.disconnect();
  tap.disconnect();
  element.srcObject = null;
  const samples = new Float32Array(blocks.length * 4096);
  blocks.forEach((block, n) => samples.set(block, n * 4096));
  return { samples, rate: context().sampleRate };
}
