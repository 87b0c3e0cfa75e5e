// Both vendors' SDKs against every family of providers: neither can tell which family it was.

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { z } from 'zod';
import { all, eventually, proxy, simulator, stats } from './programs.js';
import { SPEAKERS, rejected } from './speakers.js';

const FAMILIES = ['chat', 'responses', 'messages', 'generate'];
// The simulated provider repeats what it is told, up to 16 words: replies are known beforehand.
const words = 'one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen';
const counted = (...texts) => texts.reduce((sum, text) => sum + 4 + Math.ceil(Buffer.byteLength(text) / 4), 0);
const MEDIA_TOKENS = 258;
const pixel =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';
const pdf = Buffer.from('%PDF-1.4\ntrailer<</Root 1 0 R>>\n%%EOF\n').toString('base64');
const Report = z.object({ title: z.string(), mood: z.enum(['calm', 'stormy']), numbers: z.array(z.number()) });
const tool = (name, more) => ({
  name,
  description: `${name} of a city`,
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' }, ...more },
    required: ['city', ...Object.keys(more)],
    additionalProperties: false,
  },
});
const weather = tool('get_weather', { unit: { type: 'string', enum: ['c', 'f'] } });
const time = tool('get_time', {});
const tools = [weather, time];

let provider, families, rescue;

before(async () => {
  provider = await simulator();
  const env = { UPSTREAM: provider.v1, SIMULATOR: provider.url };
  [families, rescue] = await Promise.all(['families', 'rescue'].map((policy) => proxy(policy, env)));
});

after(async () => {
  for (const program of [families, rescue, provider]) await program.stop();
});

for (const Speaker of SPEAKERS) {
  describe(new Speaker('http://unused').form, () => {
    let speaker;
    before(() => (speaker = new Speaker(families.url)));
    const ask = (model, text, wanted) => speaker.ask(model, speaker.user({ text }), wanted);

    for (const family of FAMILIES) {
      const seesMedia = ['messages', 'generate'].includes(family);

      for (const stream of [false, true]) {
        describe(`${family}, ${stream ? 'streamed' : 'whole'}`, () => {
          test('text', async () => {
            const answer = await ask(family, words, { stream });
            assert.equal(answer.text, words);
            assert.equal(answer.finish, 'stop');
            assert.deepEqual([answer.input, answer.output], [counted(words), 16]);
            if (stream) {
              assert.equal(answer.pieces.join(''), words);
              assert.equal(answer.pieces.length, 16);
            }
          });

          test('system prompt and several turns', async () => {
            const system = 'You are terse, and speak of the sea – 海.';
            const turns = speaker.user({ text: 'First of all' });
            const first = await speaker.ask(family, turns, { system, stream });
            turns.push(...first.said, ...speaker.user({ text: 'Grüße, 東京' }));
            const second = await speaker.ask(family, turns, { system, stream });
            assert.ok(second.text.startsWith('Grüße, 東京 '), second.text);
            assert.equal(second.input, counted(system, 'First of all', first.text, 'Grüße, 東京'));
          });

          test('tools and their results', async () => {
            const turns = speaker.user({ text: 'Oslo' });
            const first = await speaker.ask(family, turns, { tools, stream, simulate: 'calls=3' });
            assert.equal(first.finish, 'tools');
            const city = 'Oslo';
            assert.deepEqual(
              first.calls.map(({ name, arguments: given }) => [name, given]),
              [
                ['get_weather', { city, unit: 'c' }],
                ['get_time', { city }],
                ['get_weather', { city, unit: 'c' }],
              ],
            );
            assert.equal(new Set(first.calls.map(({ id }) => id)).size, 3);
            turns.push(...first.said, ...speaker.results(first, ['sunny', 'noon', 'rainy']));
            const second = await speaker.ask(family, turns, { tools, stream });
            assert.equal(second.finish, 'stop');
            assert.match(second.text, /^Oslo /);
          });

          test('forced choice', async () => {
            const called = async (choice) => {
              const { calls } = await ask(family, 'Oslo', { tools, choice, stream });
              return calls.map(({ name }) => name);
            };
            assert.deepEqual(await called('any'), ['get_weather']);
            assert.deepEqual(await called('none'), []);
            assert.deepEqual(await called('get_time'), ['get_time']);
          });

          test('structured output', async () => {
            const answer = await ask(family, 'Weather', { schema: Report, stream });
            assert.deepEqual(answer.parsed, { title: 'Weather', mood: 'calm', numbers: [1] });
          });

          test('image and PDF', async () => {
            const parts = [{ text: 'What is it?' }, { image: pixel }, { pdf }];
            const answer = await speaker.ask(family, speaker.user(...parts), { stream });
            assert.match(answer.text, /^What is it\? /);
            assert.equal(answer.input - counted('What is it?'), seesMedia ? 2 * MEDIA_TOKENS : 0);
          });

          if (seesMedia) {
            test('thinking', async () => {
              const model = `${family}-thinks`;
              const turns = speaker.user({ text: 'Oslo' });
              const first = await speaker.ask(model, turns, { think: true, tools, stream, simulate: 'calls=2' });
              assert.match(first.thoughts, /^Let me think:/);
              assert.equal(first.thinking, 8);
              // The provider takes its thought, or its call, back only with its own signature.
              turns.push(...first.said, ...speaker.results(first, ['sunny', 'noon']));
              const second = await speaker.ask(model, turns, { think: true, tools, stream });
              assert.match(second.text, /^Oslo /);
              turns.push(...second.said, ...speaker.user({ text: 'Bergen' }));
              const third = await speaker.ask(model, turns, { think: true, stream });
              assert.match(third.text, /^Bergen /);
              assert.equal(third.thoughts.split(' ').length, 8);
            });
          }

          test('errors', async () => {
            const { errors, form } = speaker;
            const busy = family === 'messages' ? 529 : 503;
            const cases = [
              ['status=400', errors.BadRequestError, 400],
              ['status=404', errors.NotFoundError, 404],
              ['status=429; retry_after=7', errors.RateLimitError, 429],
              [`status=${busy}`, errors.InternalServerError, form === 'messages' ? 529 : 503],
              ['body=garbage', errors.InternalServerError, 502],
            ];
            for (const [simulate, kind, status] of cases) {
              const error = await rejected(ask(family, words, { simulate, stream }), kind);
              assert.equal(error.status, status, simulate);
              if (status === 429) assert.equal(error.headers.get('retry-after'), '7');
              if (form === 'messages' && busy === 529 && status === 529) assert.equal(error.type, 'overloaded_error');
              // Gemini has no id to tell.
              const told = family !== 'generate' && simulate !== 'body=garbage';
              if (told) assert.match(error.requestID, /^req_/, simulate);
            }
          });
        });
      }

      for (const fault of ['late_error=after:3', 'truncate=after:3', 'reset=after:3']) {
        test(`${family}: ${fault}`, async () => {
          let text = '';
          const read = async () => {
            for await (const piece of speaker.pieces(family, speaker.user({ text: words }), { simulate: fault })) {
              text += piece;
            }
          };
          const error = await rejected(read(), speaker.ApiError);
          assert.ok(error.message);
          // What had come before is there, and no invented end behind it.
          assert.equal(text.trim(), 'one two three');
        });
      }

      test(`${family}: hang-up in the middle of a stream`, async () => {
        const earlier = await stats(provider);
        const simulate = 'tps=100; output_tokens=100000';
        const pieces = speaker.pieces(family, speaker.user({ text: 'Hello' }), { simulate, limit: 100_000 });
        for (let n = 0; n < 3; n += 1) assert.ok((await pieces.next()).value);
        assert.equal((await stats(provider)).open_streams, earlier.open_streams + 1);
        await pieces.return();
        await eventually(
          'the provider',
          () => stats(provider),
          (now) => now.cancelled === earlier.cancelled + 1 && now.open_streams === earlier.open_streams,
        );
      });
    }

    test('a conversation that moves from family to family', async () => {
      const turns = [];
      for (const [n, family] of ['messages', 'generate', 'chat', 'responses', 'messages'].entries()) {
        const model = `${family}-thinks`;
        turns.push(...speaker.user({ text: `Oslo ${n}` }));
        const first = await speaker.ask(model, turns, { think: true, tools });
        turns.push(...first.said, ...speaker.results(first, ['sunny']));
        const second = await speaker.ask(model, turns, { think: true, tools });
        assert.ok(second.text.startsWith(`Oslo ${n} `), second.text);
        turns.push(...second.said);
      }
    });

    test('another family answers for the one that fails', async () => {
      const rescued = new Speaker(rescue.url);
      for (const model of ['overloaded', 'giving-up', 'wavering', 'unavailable', 'failing', 'silent']) {
        for (const stream of [false, true]) {
          const answer = await rescued.ask(model, rescued.user({ text: words }), { stream });
          assert.equal(answer.text, words, model);
          assert.deepEqual([answer.input, answer.output], [counted(words), 16]);
        }
      }
    });

    test('models', async () => {
      const ids = (await all(speaker.client.models.list())).map(({ id }) => id);
      for (const family of FAMILIES) assert.ok(ids.includes(family), `${ids}`);
    });

    test('wrong key', async () => {
      const stranger = new Speaker(families.url, { apiKey: 'tollway-test-key-11' });
      const asked = stranger.ask('chat', stranger.user({ text: words }));
      await rejected(asked, stranger.errors.AuthenticationError);
    });
  });
}

test('count of tokens', async () => {
  const messages = new (SPEAKERS.at(-1))(families.url);
  for (const model of FAMILIES) {
    const { input_tokens: count } = await messages.client.messages.countTokens({
      model,
      messages: messages.user({ text: words }),
    });
    // Where there is nobody to ask, it is an estimate.
    if (model === 'messages') assert.equal(count, counted(words));
    else assert.ok(count >= 16 && count <= 40, `${count}`);
  }
});
