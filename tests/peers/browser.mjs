// A page of ours in headless Chromium.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { load, modules } from './lines.mjs';

// COMPAT @xmpp/resolve 0.14: it means to leave the DNS out of browsers, but does not name the file as it is imported.
const withoutDns = {
  name: 'without-dns',
  setup(build) {
    build.onResolve({ filter: /lib\/dns\.js$/ }, ({ path }) => ({ path, namespace: 'nothing' }));
    build.onLoad({ filter: /.*/, namespace: 'nothing' }, () => ({ contents: 'export const resolve = undefined;' }));
  },
};

/**
 * Bundles a module of this folder, opens it as a page that may call `functions`, and gives its tab and what ends it all.
 * `failed` is told of what the page throws.
 */
export async function open(module, functions, failed) {
  const page = fileURLToPath(new URL(module, import.meta.url));
  const bundle = await load('esbuild').build({ entryPoints: [page], bundle: true, write: false, format: 'iife', nodePaths: [modules], define: { global: 'window' }, plugins: [withoutDns], logLevel: 'error' });
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
  tab.on('pageerror', failed);
  for (const [name, run] of Object.entries(functions)) await tab.exposeFunction(name, run);
  await tab.goto(`http://127.0.0.1:${site.address().port}/`);
  const close = async () => {
    await browser.close();
    site.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { tab, close };
}
