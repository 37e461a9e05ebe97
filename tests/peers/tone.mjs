// Tones: samples of one, and what is heard in some.

/** `count` samples between -1 and 1 of `hertz`, from sample `start` on. */
export function sine(hertz, rate, start, count, level = 0.3) {
  return Float32Array.from({ length: count }, (_, n) => level * Math.sin((2 * Math.PI * hertz * (start + n)) / rate));
}

/** Goertzel: the power of `samples` (a window is applied) at `hertz`. */
function power(samples, rate, hertz) {
  const w = 2 * Math.cos((2 * Math.PI * hertz) / rate);
  let a = 0, b = 0;
  for (const x of samples) [a, b] = [x + w * a - b, a];
  return a * a + b * b - w * a * b;
}

/**
 * What is in `samples` (between -1 and 1): the loudest frequency from 100 to 3500 Hz to the nearest hertz, the level (root
 * mean square), and the purity: the share of 100 ms blocks in which that frequency, within 15 Hz, is the loudest.
 */
export function dominant(samples, rate) {
  const level = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / Math.max(1, samples.length));
  const size = Math.floor(rate / 10), peaks = [];
  for (let at = 0; at + size <= samples.length; at += size) {
    const block = samples.subarray(at, at + size).map((x, n) => x * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size)));
    peaks.push(loudest(block, rate, loudest(block, rate, 1800, 1700, 10), 10, 1));
  }
  peaks.sort((a, b) => a - b);
  const hz = peaks[peaks.length >> 1];
  if (hz === undefined || level < 0.005) return { hz: null, level, purity: 0 };
  return { hz, level, purity: peaks.filter((peak) => Math.abs(peak - hz) <= 15).length / peaks.length };
}

function loudest(block, rate, middle, reach, step) {
  let best = middle, most = -1;
  for (let hertz = middle - reach; hertz <= middle + reach; hertz += step) {
    const p = power(block, rate, hertz);
    if (p > most) [best, most] = [hertz, p];
  }
  return best;
}
