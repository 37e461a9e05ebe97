// The story of xmppjs-story.mjs in a browser's page; xmppjs.mjs bundles and opens it. In a browser @xmpp/client knows no SCRAM.
import { client, xml } from '@xmpp/client';
import { story } from './xmppjs-story.mjs';

window.tell = (world) => story({ ...world, client, xml, step: window.step, mechanism: 'PLAIN' });
