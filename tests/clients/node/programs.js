// Starts and ends the programs under test. Nothing here has a fixed port.

import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setTimeout as wait } from 'node:timers/promises';
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const ROOT = new URL('../../../', import.meta.url);
const BINARY = process.env.TOLLWAY ?? fileURLToPath(new URL('target/debug/tollway', ROOT));
const POLICIES = fileURLToPath(new URL('tests/clients/policies/', ROOT));
/** Milliseconds that a program may take to start, to end, or to get where a test waits for it. */
const DEADLINE = 20_000;
const ADDRESSES = /on (http:\/\/[^/\s]+)(?:\/v1)?(?:, health and metrics on (http:\/\/\S+))?/;

/** A running `tollway`: what it listens on is read from what it says when it starts. */
async function start(args, env = {}) {
  const process_ = spawn(BINARY, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  // Whatever becomes of the tests, it does not outlive them.
  const kill = () => process_.kill('SIGKILL');
  process.once('exit', kill);
  const said = [];
  const ended = new Promise((done) => process_.once('close', (code, signal) => done(code ?? signal)));
  const [, url, admin] = await new Promise((done, failed) => {
    const fail = () => failed(new Error(`tollway ${args.join(' ')} did not start:\n${said.join('\n')}`));
    const timer = setTimeout(fail, DEADLINE);
    createInterface({ input: process_.stderr }).on('line', (line) => {
      said.push(line);
      const found = ADDRESSES.exec(line);
      if (found) {
        clearTimeout(timer);
        done(found);
      }
    });
    process_.once('error', failed);
    ended.then(fail);
  });
  const stop = async () => {
    process_.kill('SIGTERM');
    const timer = setTimeout(kill, DEADLINE);
    const code = await ended;
    clearTimeout(timer);
    process.off('exit', kill);
    assert.equal(code, 0, `tollway ended with ${code}:\n${said.join('\n')}`);
  };
  return { url, admin, v1: `${url}/v1`, stop };
}

export const simulator = () => start(['simulate', '--listen', '127.0.0.1:0']);

export const proxy = (policy, env) =>
  start(['serve', `${POLICIES}${policy}.yaml`, '--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'], env);

/** A client that never retries unless told to. */
export const connect = (baseURL, options = {}) =>
  new OpenAI({ baseURL, apiKey: 'sk-of-the-client', maxRetries: 0, timeout: 20_000, ...options });

/** An address where nobody listens: it was free a moment ago. */
export async function closedPort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return `http://127.0.0.1:${port}/v1`;
}

export const stats = async (program) => (await fetch(`${program.url}/__simulate/stats`)).json();

/** Waits until `read()` gives what `wanted` accepts; the last value is told if it never does. */
export async function eventually(what, read, wanted) {
  const until = Date.now() + DEADLINE;
  for (;;) {
    const value = await read();
    if (wanted(value)) return value;
    assert.ok(Date.now() < until, `${what}: still ${JSON.stringify(value)}`);
    await wait(5);
  }
}

export async function all(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}
