// Every call of the SDK, against the provider itself and through the proxy: nothing may differ.

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { toFile } from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { all, connect, proxy, simulator } from './programs.js';

const model = 'gpt-4o-mini';
// The simulated provider repeats what it is told, up to 16 words: replies are known beforehand.
const words = 'one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen';
const chat = { model, messages: [{ role: 'user', content: words }] };
const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 3 } },
      required: ['city', 'days'],
    },
  },
};
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

for (const way of ['direct', 'bare', 'full']) {
  describe(way, () => {
    let programs;
    let client;

    before(async () => {
      const provider = await simulator();
      programs = [provider];
      if (way !== 'direct') programs.unshift(await proxy(way, { UPSTREAM: provider.v1 }));
      client = connect(programs[0].v1);
    });

    after(async () => {
      for (const program of programs) await program.stop();
    });

    test('chat', async () => {
      const reply = await client.chat.completions.create(chat);
      assert.equal(reply.choices[0].message.content, words);
      assert.equal(reply.usage.completion_tokens, 16);
      assert.equal(reply.usage.prompt_tokens, 4 + Math.ceil(words.length / 4));
    });

    test('stream without usage', async () => {
      const chunks = await all(await client.chat.completions.create({ ...chat, stream: true }));
      assert.equal(textOf(chunks), words);
      assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !('usage' in chunk)));
      assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    });

    test('stream with usage', async () => {
      const options = { stream: true, stream_options: { include_usage: true } };
      const chunks = await all(await client.chat.completions.create({ ...chat, ...options }));
      assert.equal(textOf(chunks), words);
      assert.deepEqual(chunks.at(-1).choices, []);
      assert.equal(chunks.at(-1).usage.completion_tokens, 16);
    });

    test('stream helper', async () => {
      const stream = client.chat.completions.stream(chat);
      let text = '';
      stream.on('content', (delta) => (text += delta));
      assert.equal((await stream.finalMessage()).content, words);
      assert.equal(text, words);
    });

    test('tools and their result', async () => {
      const messages = [{ role: 'user', content: 'Berlin' }];
      const first = await client.chat.completions.create({ model, messages, tools: [weather] });
      assert.equal(first.choices[0].finish_reason, 'tool_calls');
      const [call] = first.choices[0].message.tool_calls;
      assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Berlin', days: 3 });
      messages.push(first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'sunny' });
      const second = await client.chat.completions.create({ model, messages, tools: [weather] });
      assert.match(second.choices[0].message.content, /^Berlin /);
    });

    test('streamed tool calls', async () => {
      const messages = [{ role: 'user', content: 'Berlin' }];
      const stream = client.chat.completions.stream({ model, messages, tools: [weather] });
      const [call] = (await stream.finalMessage()).tool_calls;
      assert.equal(call.function.name, 'get_weather');
      assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Berlin', days: 3 });
    });

    test('tool runner', async () => {
      const asked = [];
      const runner = client.chat.completions.runTools({
        model,
        messages: [{ role: 'user', content: 'Berlin' }],
        tools: [
          {
            type: 'function',
            function: {
              ...weather.function,
              parse: JSON.parse,
              function: ({ city }) => {
                asked.push(city);
                return 'sunny';
              },
            },
          },
        ],
      });
      assert.match(await runner.finalContent(), /^Berlin /);
      assert.deepEqual(asked, ['Berlin']);
    });

    test('structured output', async () => {
      const Report = z.object({ title: z.string(), mood: z.enum(['calm', 'stormy']), numbers: z.array(z.number()) });
      const reply = await client.chat.completions.parse({
        model,
        messages: [{ role: 'user', content: 'Weather' }],
        response_format: zodResponseFormat(Report, 'report'),
      });
      assert.deepEqual(reply.choices[0].message.parsed, { title: 'Weather', mood: 'calm', numbers: [1] });
    });

    test('completions', async () => {
      const reply = await client.completions.create({ model, prompt: words });
      assert.equal(reply.choices[0].text, words);
    });

    test('responses', async () => {
      const reply = await client.responses.create({ model, input: words });
      assert.equal(reply.output_text, words);
      const events = await all(await client.responses.create({ model, input: words, stream: true }));
      const deltas = events.filter((event) => event.type === 'response.output_text.delta');
      assert.equal(deltas.map((event) => event.delta).join(''), words);
      assert.equal(events.at(-1).response.usage.output_tokens, 16);
    });

    test('embeddings', async () => {
      const ask = { model: 'text-embedding-3-small', input: ['red', 'blue'] };
      // Left to itself the SDK asks for base64 and unpacks it: the same numbers must come out.
      const packed = await client.embeddings.create(ask);
      const plain = await client.embeddings.create({ ...ask, encoding_format: 'float' });
      for (const [n, { embedding }] of packed.data.entries()) {
        assert.equal(embedding.length, 1536);
        assert.ok(embedding.every((value, at) => Math.abs(value - plain.data[n].embedding[at]) < 1e-7));
      }
    });

    test('audio upload', async () => {
      const file = await toFile(Buffer.alloc(5000), 'tone.wav', { type: 'audio/wav' });
      const reply = await client.audio.transcriptions.create({ model: 'whisper-1', file });
      assert.equal(reply.text, 'Simulated transcript of tone.wav (5000 bytes).');
    });

    test('audio download', async () => {
      const ask = { model: 'tts-1', voice: 'alloy', input: words };
      const reply = await client.audio.speech.create(ask);
      assert.equal(reply.headers.get('content-type'), 'audio/mpeg');
      const sound = Buffer.from(await reply.arrayBuffer());
      assert.equal(sound.subarray(0, 3).toString(), 'ID3');
    });

    test('images', async () => {
      const reply = await client.images.generate({ model: 'gpt-image-1', prompt: 'A road' });
      assert.match(reply.data[0].b64_json, /^iVBORw0K/);
    });

    test('files', async () => {
      const lines = '{"custom_id":"1"}\n'.repeat(50);
      const file = await client.files.create({ file: await toFile(Buffer.from(lines), 'in.jsonl'), purpose: 'batch' });
      assert.equal(file.bytes, lines.length);
      assert.ok((await all(client.files.list())).some((known) => known.id === file.id));
      assert.equal(await (await client.files.content(file.id)).text(), lines);
      assert.equal((await client.files.delete(file.id)).deleted, true);
    });

    test('moderations', async () => {
      const reply = await client.moderations.create({ input: 'peace' });
      assert.equal(reply.results[0].flagged, false);
    });

    test('models', async () => {
      const ids = (await all(client.models.list())).map(({ id }) => id);
      assert.ok(ids.includes(model));
      assert.equal((await client.models.retrieve(model)).id, model);
    });

    test('many at once', async () => {
      const replies = await Promise.all(Array.from({ length: 40 }, () => client.chat.completions.create(chat)));
      assert.ok(replies.every((reply) => reply.choices[0].message.content === words));
    });
  });
}
