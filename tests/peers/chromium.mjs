// stanza.js in headless Chromium: XMPP over WebSocket and Jingle with a browser's WebRTC. Commands and events: client.mjs.
import { open } from './browser.mjs';
import { follow, say } from './lines.mjs';

const trace = process.env.TRACE && { trace: (...line) => console.error(...line) };
const { tab, close } = await open('page.mjs', { say, ...trace }, (error) => say({ event: 'error', text: error.message }));

const run = (command) => tab.evaluate((command) => { window.run(command); }, command);
follow(run, async () => {
  await run({ cmd: 'logout' });
  await close();
});
