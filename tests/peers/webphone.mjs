// SIP phones of web pages in headless Chromium: JsSIP and SIP.js over WebSocket (RFC 7118) with the browser's WebRTC.
//
// Takes commands and says events, JSON, one per line; each command ends in done {cmd} or error {cmd, text}:
//   start {stack, url, user, password, domain, ping?}   stack jssip|sipjs -> registered | register_failed {status}
//   call {to, tone} | hangup                            -> ringing, established, closed {reason}
//   auto_answer {tone}                                  answers what comes in from now on
//   message {to, body}                                  -> sent {status}
//   hear {seconds?}                                     -> heard {hz, level, purity} of the seconds that follow
//   stats                                               -> stats {codec, dtls, srtp} of the call
//   stop
// Unasked: message {from, body}, incoming {from}, offline, error {text}.
import { open } from './browser.mjs';
import { follow, say } from './lines.mjs';

const trace = (...line) => process.env.TRACE && console.error(...line);
const { tab, close } = await open('webphone-page.mjs', { say, trace }, (error) => say({ event: 'error', text: error.message }));

const run = (command) => tab.evaluate((command) => { window.run(command); }, command);
follow(run, async () => {
  await run({ cmd: 'stop' });
  await close();
});
