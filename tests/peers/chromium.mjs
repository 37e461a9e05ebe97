// stanza.js in headless Chromium: XMPP over WebSocket and Jingle with a browser's WebRTC. Commands and events: client.mjs.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { follow, load, modules, say } from './lines.mjs';

const page = fileURLToPath(new URL('page.mjs', import.meta.url));
const bundle = await load('esbuild').build({ entryPoints: [page], bundle: true, write: false, format: 'iife', nodePaths: [modules], define: { global: 'window' }, logLevel: 'error' });
const html = `<!doctype html><meta charset="utf-8"><script>${bundle.outputFiles[0].text.replaceAll('</script', '<\\/script')}</script>`;
const site = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html));
await new Promise((done) => site.listen(0, '127.0.0.1', done));

const profile = mkdtempSync(`${tmpdir()}/chromium-`);
const browser = await load('puppeteer-core').launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  userDataDir: profile,
  pipe: true, // so that it ends with us, whatever ends us
  acceptInsecureCerts: true,
  args: [
    '--no-sandbox', // it does not run as root otherwise
    '--ignore-certificate-errors',
    '--allow-loopback-in-peer-connection',
    '--disable-features=WebRtcHideLocalIpsWithMdns',
    '--autoplay-policy=no-user-gesture-required',
    '--disable-background-networking',
    '--disable-component-update',
    '--no-first-run',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
  ],
});
const tab = await browser.newPage();
tab.on('pageerror', (error) => say({ event: 'error', text: error.message }));
await tab.exposeFunction('say', say);
if (process.env.TRACE) await tab.exposeFunction('trace', (...line) => console.error(...line));
await tab.goto(`http://127.0.0.1:${site.address().port}/`);

const run = (command) => tab.evaluate((command) => { window.run(command); }, command);
follow(run, async () => {
  await run({ cmd: 'logout' });
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
});
