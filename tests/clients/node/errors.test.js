// What goes wrong: the SDK's own error classes, its own retry, failover, and clients that hang up.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import OpenAI from 'openai';
import { all, closedPort, connect, eventually, proxy, simulator, stats } from './programs.js';

const messages = [{ role: 'user', content: 'Hello there' }];
const chat = { model: 'gpt-4o-mini', messages };
const simulate = (how) => ({ headers: { 'x-simulate': how } });
const asUser = (options = {}) =>
  connect(limits.v1, { defaultHeaders: { 'x-user-id': randomUUID() }, ...options });

let provider, bare, full, keys, limits, failover, impatient, nobody;

before(async () => {
  provider = await simulator();
  nobody = await closedPort();
  const env = { UPSTREAM: provider.v1, NOBODY: nobody };
  const policies = ['bare', 'full', 'keys', 'limits', 'failover', 'impatient'];
  [bare, full, keys, limits, failover, impatient] = await Promise.all(policies.map((policy) => proxy(policy, env)));
});

after(async () => {
  for (const program of [bare, full, keys, limits, failover, impatient, provider]) await program.stop();
});

/** The error that `promise` is rejected with; it has to be of this class. */
async function rejected(promise, kind) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

test('wrong key', async () => {
  const client = connect(keys.v1, { apiKey: 'sk-not-known-here' });
  const error = await rejected(client.chat.completions.create(chat), OpenAI.AuthenticationError);
  assert.equal(error.code, 'invalid_api_key');
});

test('right key, and a model that is not for it', async () => {
  const client = connect(keys.v1, { apiKey: 'tollway-test-key-2' });
  assert.equal((await client.chat.completions.create(chat)).model, 'gpt-4o-mini');
  await rejected(client.chat.completions.create({ ...chat, model: 'gpt-4o' }), OpenAI.PermissionDeniedError);
  assert.deepEqual((await all(client.models.list())).map(({ id }) => id), ['gpt-4o-mini']);
});

test('unknown model', async () => {
  const client = connect(keys.v1, { apiKey: 'tollway-test-key-1' });
  const asked = client.chat.completions.create({ ...chat, model: 'gpt-4o-minni' });
  const error = await rejected(asked, OpenAI.NotFoundError);
  assert.equal(error.code, 'model_not_found');
  assert.match(error.message, /`gpt-4o-mini`/);
});

test('wrong type', async () => {
  const client = connect(full.v1);
  const error = await rejected(client.chat.completions.create({ ...chat, stream: 'yes' }), OpenAI.BadRequestError);
  assert.equal(error.param, 'stream');
  assert.match(error.message, /`stream` must be true or false/);
});

for (const [status, kind] of [
  [401, OpenAI.AuthenticationError],
  [404, OpenAI.NotFoundError],
  [422, OpenAI.UnprocessableEntityError],
  [429, OpenAI.RateLimitError],
  [500, OpenAI.InternalServerError],
  [503, OpenAI.InternalServerError],
]) {
  test(`provider answers ${status}`, async () => {
    const asked = connect(bare.v1).chat.completions.create(chat, simulate(`status=${status}`));
    assert.equal((await rejected(asked, kind)).status, status);
  });
}

test('provider breaks the connection', async () => {
  const asked = connect(bare.v1).chat.completions.create(chat, simulate('reset=before'));
  assert.equal((await rejected(asked, OpenAI.InternalServerError)).status, 502);
});

test('provider is slow', async () => {
  const asked = connect(impatient.v1).chat.completions.create(chat, simulate('stall=before'));
  assert.equal((await rejected(asked, OpenAI.InternalServerError)).status, 504);
});

test('client does not wait', async () => {
  const client = connect(bare.v1, { timeout: 100 });
  await rejected(client.chat.completions.create(chat, simulate('stall=before')), OpenAI.APIConnectionTimeoutError);
});

test('nobody there', async () => {
  await rejected(connect(nobody).chat.completions.create(chat), OpenAI.APIConnectionError);
});

for (const fault of ['stall', 'reset', 'truncate', 'late_error']) {
  test(`stream breaks in the middle: ${fault}`, async () => {
    let text = '';
    const read = async () => {
      const options = simulate(`${fault}=after:3`);
      const stream = await connect(impatient.v1).chat.completions.create({ ...chat, stream: true }, options);
      for await (const chunk of stream) text += chunk.choices[0].delta.content ?? '';
    };
    await rejected(read(), OpenAI.APIError);
    // What had come before is there, and no invented end behind it.
    assert.match(text, /^Hello there \w+$/);
  });
}

test('limit refuses, and says until when', async () => {
  const client = asUser();
  await client.chat.completions.create(chat);
  const error = await rejected(client.chat.completions.create(chat), OpenAI.RateLimitError);
  assert.equal(error.code, 'rate_limit_exceeded');
  assert.match(error.message, /"pace"/);
  assert.equal(error.headers.get('retry-after'), '1');
  assert.equal(error.headers.get('x-ratelimit-remaining-requests'), '0');
});

test('SDK retries by itself and succeeds', async () => {
  let refusals = 0;
  const counting = async (url, init) => {
    const reply = await fetch(url, init);
    refusals += reply.status === 429;
    return reply;
  };
  const client = asUser({ maxRetries: 3, fetch: counting });
  await client.chat.completions.create(chat);
  const started = performance.now();
  assert.match((await client.chat.completions.create(chat)).choices[0].message.content, /^Hello there /);
  assert.ok(performance.now() - started >= 900);
  // One wait, as long as `retry-after` said, was enough.
  assert.equal(refusals, 1);
});

for (const model of ['refused', 'erroring', 'both']) {
  test(`failover: ${model}`, async () => {
    const client = connect(failover.v1);
    const { data, response } = await client.chat.completions.create({ ...chat, model }).withResponse();
    assert.equal(data.model, 'gpt-4o-mini');
    assert.match(response.headers.get('x-tollway-attempts'), /^(nobody|broken).*, alive\/gpt-4o-mini;200$/);
    const chunks = await all(await client.chat.completions.create({ ...chat, model, stream: true }));
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  });
}

test('cost of a reply', async () => {
  const { data, response } = await connect(full.v1).chat.completions.create(chat).withResponse();
  const cost = (data.usage.prompt_tokens * 15 + data.usage.completion_tokens * 60) / 1e8;
  assert.equal(Number(response.headers.get('x-tollway-cost-usd')), cost);
});

for (const policy of ['bare', 'full', 'limits']) {
  test(`hang-up in mid-stream: ${policy}`, async () => {
    const own = await simulator();
    const front = await proxy(policy, { UPSTREAM: own.v1 });
    const client = connect(front.v1, { defaultHeaders: { 'x-user-id': 'one' } });
    const endless = simulate('tps=100; output_tokens=100000');
    const stream = await client.chat.completions.create({ messages, model: 'gpt-4o', stream: true }, endless);
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) break;
    const gone = ({ cancelled, open_streams }) => cancelled === 1 && open_streams === 0;
    await eventually('the provider', () => stats(own), gone);
    // With `limits`, the one place that this user has is free again.
    const place = () => client.chat.completions.create({ messages, model: 'gpt-4o' }).then(() => true, () => false);
    await eventually('the place', place, (free) => free);
    await front.stop();
    await own.stop();
  });
}
