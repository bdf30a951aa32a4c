// Node against avouch's Workload API: fetches, watches through rotations of SVIDs and authorities, validates JWT-SVIDs
// from the bundle alone, and holds mTLS with other clients while opening new handshakes all the time.
// What it takes and prints is described in ../README.md.

import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import tls from 'node:tls';

const AUDIENCE = 'interop.example.test';
const PAUSE = 200;
const DEADLINE = 20_000;

const [proto, meeting, name, seconds, count] = process.argv.slice(2);
const { SpiffeWorkloadAPI } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true }));
const api = new SpiffeWorkloadAPI(process.env.SPIFFE_ENDPOINT_SOCKET, grpc.credentials.createInsecure());

function header() {
  const metadata = new grpc.Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

/** Follows a stream, and resolves once with its first message. It begins again when it has ended, as streams may. */
function follow(method, each) {
  return new Promise((resolve) => {
    const begin = () => {
      const stream = api[method]({}, header());
      stream.on('data', (message) => {
        each(message);
        resolve();
      });
      stream.on('error', (error) => {
        console.error(`${method}: ${error.message}`);
        setTimeout(begin, 500).unref();
      });
    };
    begin();
  });
}

/** The certificates of a DER sequence one after another. */
function certificates(der) {
  const found = [];
  for (let at = 0; at < der.length; ) {
    const long = der[at + 1] & 0x7f;
    const length = der[at + 1] < 0x80 ? 2 + der[at + 1] : 2 + long + der.readUIntBE(at + 2, long);
    found.push(new X509Certificate(der.subarray(at, at + length)));
    at += length;
  }
  return found;
}

const pem = (kind, der) => `-----BEGIN ${kind}-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END ${kind}-----\n`;

// What is current, and all that has been.
let current;
let jwks;
const serials = new Set();
const authorities = new Set();
const signers = new Set();

function take(message) {
  const [svid] = message.svids;
  const chain = certificates(svid.x509_svid);
  const trusted = certificates(svid.bundle);
  serials.add(chain[0].serialNumber);
  for (const authority of trusted) {
    authorities.add(authority.fingerprint256);
    if (chain[0].verify(authority.publicKey)) signers.add(authority.fingerprint256);
  }
  current = {
    id: svid.spiffe_id,
    cert: chain.map((one) => one.toString()).join(''),
    key: pem('PRIVATE KEY', svid.x509_svid_key),
    ca: trusted.map((one) => one.toString()),
    minVersion: 'TLSv1.2',
  };
  server?.setSecureContext(current);
}

function takeKeys(message) {
  const [jwtBundle] = Object.values(message.bundles);
  // SPIFFE's own `use` of a key is none that JOSE knows.
  const keys = JSON.parse(jwtBundle.toString()).keys.filter((key) => key.use === 'jwt-svid');
  jwks = createLocalJWKSet({ keys: keys.map(({ use, ...key }) => key) });
}

/** Fetches a JWT-SVID and checks it here, from the bundle alone, and not by asking the helper. */
async function validated() {
  const reply = await new Promise((resolve, reject) =>
    api.FetchJWTSVID({ audience: [AUDIENCE] }, header(), (error, value) => (error ? reject(error) : resolve(value))),
  );
  const token = reply.svids[0].svid;
  const { payload } = await jwtVerify(token, jwks, { audience: AUDIENCE });
  try {
    await jwtVerify(token, jwks, { audience: 'other.example.test' });
  } catch {
    say('foreign-audience', 'refused');
  }
  return payload.sub;
}

const spiffeId = (socket) => /^URI:(\S+)$/.exec(socket.getPeerX509Certificate().subjectAltName)[1];

/** A server that answers each line with the SPIFFE ID of whoever sent it. */
function listen() {
  const made = tls.createServer({ ...current, requestCert: true, rejectUnauthorized: true }, (socket) => {
    const peer = spiffeId(socket);
    socket.on('error', () => {});
    readline.createInterface({ input: socket }).on('line', () => socket.write(`${peer}\n`));
  });
  made.on('tlsClientError', (error) => console.error(`serving: ${error.message}`));
  return new Promise((resolve) => made.listen(0, '127.0.0.1', () => resolve(made)));
}

function dial(peer) {
  return new Promise((resolve, reject) => {
    const port = Number(fs.readFileSync(path.join(meeting, `${peer}.port`)));
    const socket = tls.connect({ ...current, host: '127.0.0.1', port, checkServerIdentity: () => undefined });
    socket.setTimeout(DEADLINE, () => socket.destroy(new Error('no answer in time')));
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      const wanted = `${current.id.slice(0, current.id.indexOf('/', 'spiffe://'.length))}/agent/${peer}`;
      if (spiffeId(socket) !== wanted) reject(new Error(`${peer} is ${spiffeId(socket)}`));
      socket.lines = readline.createInterface({ input: socket });
      resolve(socket);
    });
  });
}

function ask(socket) {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
    socket.lines.once('line', (line) => (line === current.id ? resolve() : reject(new Error(`taken for ${line}`))));
    socket.write('who am I?\n');
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let held = 0;
let heldFailed = 0;

/** One connection that is kept and used, whatever is rotated meanwhile. */
async function hold(peer, until) {
  try {
    const socket = await dial(peer);
    socket.setMaxListeners(0);
    while (Date.now() < until) {
      await ask(socket);
      held += 1;
      await sleep(1000);
    }
    socket.end();
  } catch (error) {
    console.error(`held connection to ${peer}: ${error.message}`);
    heldFailed += 1;
  }
}

/** Writes a file in one step. */
function announce(file, text) {
  const at = path.join(meeting, file);
  fs.writeFileSync(`${at}.new`, text);
  fs.renameSync(`${at}.new`, at);
}

async function wait(ending) {
  for (const begun = Date.now(); Date.now() - begun < 120_000; await sleep(50)) {
    const found = fs.readdirSync(meeting).filter((file) => file.endsWith(ending));
    if (found.length >= Number(count)) return found.map((file) => file.slice(0, -ending.length)).sort();
  }
  throw new Error(`not all of ${count} have announced ${ending}`);
}

const say = (word, value) => console.log(`${word} ${value}`);

let server;
await Promise.all([follow('FetchX509SVID', take), follow('FetchJWTBundles', takeKeys)]);
say('id', current.id);
say('jwt', await validated());
server = await listen();
announce(`${name}.port`, String(server.address().port));
const peers = await wait('.port');
const until = Date.now() + Number(seconds) * 1000;
const holding = peers.map((peer) => hold(peer, until));
let handshakes = 0;
let failed = 0;
for (let turn = 0; Date.now() < until; turn += 1) {
  const peer = peers[turn % peers.length];
  try {
    const socket = await dial(peer);
    await ask(socket);
    socket.end();
    handshakes += 1;
  } catch (error) {
    console.error(`handshake with ${peer}: ${error.message}`);
    failed += 1;
  }
  await sleep(PAUSE);
}
await Promise.all(holding);
say('jwt-later', await validated());
say('serials', serials.size);
say('authorities', authorities.size);
say('signers', signers.size);
say('handshakes', handshakes);
say('failed', failed);
say('held', held);
say('held-failed', heldFailed);
announce(`${name}.done`, '');
await wait('.done');
process.exit(0);
