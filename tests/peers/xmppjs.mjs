// @xmpp/client by the story of xmppjs-story.mjs. xmppjs.mjs DOMAIN tcp|tls|websocket|browser.
import { pathToFileURL } from 'node:url';
import { open } from './browser.mjs';
import { load } from './lines.mjs';
import { story } from './xmppjs-story.mjs';

process.removeAllListeners('warning');
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // the servers of the tests have certificates of their own

const [domain, transport] = process.argv.slice(2);
const web = `wss://localhost:${process.env.HTTPS_PORT}/xmpp-websocket`;
const service = {
  tcp: `xmpp://127.0.0.1:${process.env.XMPP_PORT}`,
  tls: `xmpps://127.0.0.1:${process.env.XMPPS_PORT}`,
  websocket: web,
  browser: web,
}[transport];
const step = (text) => console.log(text);

if (transport === 'browser') {
  const { tab, close } = await open('xmppjs-page.mjs', { step }, (error) => console.error(error));
  await tab.evaluate((world) => window.tell(world), { service, domain }).finally(close);
} else {
  globalThis.WebSocket ??= load('ws'); // Node has one from version 22 on
  const { client, xml } = await import(pathToFileURL(load.resolve('@xmpp/client')));
  await story({ client, xml, service, domain, step, mechanism: 'SCRAM-SHA-1' });
}
process.exit(0);
