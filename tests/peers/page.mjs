// The client of client.mjs in a browser's page; chromium.mjs bundles and opens it. `say` and `trace` come from there.
import { createClient } from 'stanza';
import { client } from './client.mjs';
import { record, tone } from './sound.mjs';

window.run = client({ createClient, RTCPeerConnection, MediaStream, tone, record, say: window.say, trace: window.trace });
