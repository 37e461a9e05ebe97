// One JSON command per line in, one JSON event per line out; the end of the input is the end of the program.
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const peers = process.env.TANDEM_PEERS ?? fileURLToPath(new URL('../../target/peers', import.meta.url));
/** Where setup.sh has put the packages. */
export const modules = `${peers}/node/node_modules`;
/** Loads one of them. */
export const load = createRequire(`${modules}/x.js`);

export const say = (event) => writeSync(1, JSON.stringify(event) + '\n');

export function follow(run, close) {
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => line.trim() && run(JSON.parse(line)));
  input.on('close', async () => { await close(); process.exit(0); });
}
