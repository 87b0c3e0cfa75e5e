// OpenAI's and Anthropic's SDKs behind one face: what a test says in one way, each says in its own.

import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';

const apiKey = 'tollway-test-key-1';
const options = (wanted) => [{ headers: wanted.simulate ? { 'x-simulate': wanted.simulate } : {}, signal: wanted.signal }];
const named = (choice, byName) => ({ any: 'required', none: 'none' })[choice] ?? byName;

/** Each `ask` gives text, finish, calls, thoughts, input, output, thinking, parsed, pieces and what goes into the conversation. */
class Chat {
  form = 'chat';
  ApiError = OpenAI.APIError;
  errors = OpenAI;

  constructor(url, more) {
    this.client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 20_000, ...more });
  }

  user(...parts) {
    const part = ({ text, image, pdf }) => {
      if (text !== undefined) return { type: 'text', text };
      if (image) return { type: 'image_url', image_url: { url: `data:image/png;base64,${image}` } };
      return { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` } };
    };
    return [{ role: 'user', content: parts.map(part) }];
  }

  results({ calls }, results) {
    return calls.map((call, n) => ({ role: 'tool', tool_call_id: call.id, content: results[n] }));
  }

  body(model, turns, wanted) {
    const { system, tools, choice, schema, think } = wanted;
    return {
      model,
      messages: [...(system ? [{ role: 'system', content: system }] : []), ...turns],
      max_completion_tokens: wanted.limit ?? 1000,
      ...(tools && { tools: tools.map((tool) => ({ type: 'function', function: { ...tool, strict: true } })) }),
      ...(choice && { tool_choice: named(choice, { type: 'function', function: { name: choice } }) }),
      ...(schema && { response_format: zodResponseFormat(schema, 'report') }),
      ...(think && { reasoning_effort: 'low' }),
    };
  }

  async ask(model, turns, wanted = {}) {
    const body = this.body(model, turns, wanted);
    const pieces = [];
    let thoughts = '';
    let reply;
    if (wanted.stream) {
      const asked = { ...body, stream_options: { include_usage: true } };
      const stream = this.client.chat.completions.stream(asked, ...options(wanted));
      stream.on('content', (delta) => delta && pieces.push(delta));
      // This helper keeps the last piece alone of what OpenAI doesn't know.
      stream.on('chunk', ({ choices }) => (thoughts += choices[0]?.delta.reasoning_content ?? ''));
      reply = await stream.finalChatCompletion();
    } else {
      reply = await this.client.chat.completions[wanted.schema ? 'parse' : 'create'](body, ...options(wanted));
    }
    const [{ message, finish_reason }] = reply.choices;
    const { parsed, ...said } = message;
    return {
      text: message.content ?? '',
      finish: { tool_calls: 'tools', content_filter: 'filtered' }[finish_reason] ?? finish_reason,
      calls: (message.tool_calls ?? []).map(({ id, function: { name, arguments: json } }) => ({
        id,
        name,
        arguments: JSON.parse(json),
      })),
      thoughts: thoughts || (message.reasoning_content ?? ''),
      input: reply.usage.prompt_tokens,
      output: reply.usage.completion_tokens,
      thinking: reply.usage.completion_tokens_details?.reasoning_tokens ?? 0,
      parsed,
      pieces,
      said: [said],
      requestId: reply._request_id,
    };
  }

  async *pieces(model, turns, wanted = {}) {
    const body = { ...this.body(model, turns, wanted), stream: true };
    for await (const chunk of await this.client.chat.completions.create(body, ...options(wanted))) {
      const text = chunk.choices[0]?.delta.content;
      if (text) yield text;
    }
  }
}

class Responses extends Chat {
  form = 'responses';

  user(...parts) {
    const part = ({ text, image, pdf }) => {
      if (text !== undefined) return { type: 'input_text', text };
      if (image) return { type: 'input_image', image_url: `data:image/png;base64,${image}`, detail: 'auto' };
      return { type: 'input_file', filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` };
    };
    return [{ role: 'user', content: parts.map(part) }];
  }

  results({ calls }, results) {
    return calls.map((call, n) => ({ type: 'function_call_output', call_id: call.id, output: results[n] }));
  }

  body(model, turns, wanted) {
    const { system, tools, choice, schema, think } = wanted;
    return {
      model,
      input: turns,
      store: false,
      max_output_tokens: wanted.limit ?? 1000,
      ...(system && { instructions: system }),
      ...(tools && { tools: tools.map((tool) => ({ type: 'function', ...tool, strict: true })) }),
      ...(choice && { tool_choice: named(choice, { type: 'function', name: choice }) }),
      ...(schema && { text: { format: zodTextFormat(schema, 'report') } }),
      ...(think && { reasoning: { effort: 'low', summary: 'auto' }, include: ['reasoning.encrypted_content'] }),
    };
  }

  async ask(model, turns, wanted = {}) {
    const body = this.body(model, turns, wanted);
    const pieces = [];
    let reply;
    if (wanted.stream) {
      const stream = this.client.responses.stream(body, ...options(wanted));
      stream.on('response.output_text.delta', ({ delta }) => pieces.push(delta));
      reply = await stream.finalResponse();
    } else {
      reply = await this.client.responses[wanted.schema ? 'parse' : 'create'](body, ...options(wanted));
    }
    const calls = reply.output.filter(({ type }) => type === 'function_call');
    const reasoning = reply.output.filter(({ type }) => type === 'reasoning');
    const reason = reply.incomplete_details?.reason;
    const clean = ({ parsed_arguments, ...item }) => {
      if (item.type === 'message') item.content = item.content.map(({ parsed, ...part }) => part);
      return item;
    };
    return {
      text: reply.output_text,
      finish:
        { max_output_tokens: 'length', content_filter: 'filtered' }[reason] ?? (calls.length ? 'tools' : 'stop'),
      calls: calls.map(({ call_id, name, arguments: json }) => ({ id: call_id, name, arguments: JSON.parse(json) })),
      thoughts: reasoning.flatMap(({ summary }) => summary.map(({ text }) => text)).join(''),
      input: reply.usage.input_tokens,
      output: reply.usage.output_tokens,
      thinking: reply.usage.output_tokens_details.reasoning_tokens,
      parsed: reply.output_parsed,
      pieces,
      said: reply.output.map(clean),
      requestId: reply._request_id,
    };
  }

  async *pieces(model, turns, wanted = {}) {
    const body = { ...this.body(model, turns, wanted), stream: true };
    for await (const event of await this.client.responses.create(body, ...options(wanted))) {
      if (event.type === 'response.output_text.delta') yield event.delta;
      // Events like any other to this SDK: its caller has to look.
      if (event.type === 'error') throw new OpenAI.APIError(undefined, event, event.message, undefined);
      if (event.type === 'response.failed') {
        const { error } = event.response;
        throw new OpenAI.APIError(undefined, error, error.message, undefined);
      }
    }
  }
}

class Messages {
  form = 'messages';
  ApiError = Anthropic.APIError;
  errors = Anthropic;

  constructor(url, more) {
    this.client = new Anthropic({ baseURL: url, apiKey, maxRetries: 0, timeout: 20_000, ...more });
  }

  user(...parts) {
    const part = ({ text, image, pdf }) => {
      if (text !== undefined) return { type: 'text', text };
      if (image) return { type: 'image', source: { type: 'base64', media_type: 'image/png', data: image } };
      return { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf } };
    };
    return [{ role: 'user', content: parts.map(part) }];
  }

  results({ calls }, results) {
    const content = calls.map((call, n) => ({ type: 'tool_result', tool_use_id: call.id, content: results[n] }));
    return [{ role: 'user', content }];
  }

  body(model, turns, wanted) {
    const { system, tools, choice, schema, think } = wanted;
    const choices = { any: { type: 'any' }, none: { type: 'none' } };
    return {
      model,
      messages: turns,
      max_tokens: wanted.limit ?? 1000,
      ...(system && { system }),
      ...(tools && { tools: tools.map(({ parameters, ...tool }) => ({ ...tool, input_schema: parameters })) }),
      ...(choice && { tool_choice: choices[choice] ?? { type: 'tool', name: choice } }),
      ...(schema && { output_config: { format: zodOutputFormat(schema) } }),
      ...(think && { thinking: { type: 'adaptive', display: 'summarized' } }),
    };
  }

  async ask(model, turns, wanted = {}) {
    const body = this.body(model, turns, wanted);
    const pieces = [];
    let reply;
    if (wanted.stream) {
      const stream = this.client.messages.stream(body, ...options(wanted));
      stream.on('text', (delta) => pieces.push(delta));
      reply = await stream.finalMessage();
    } else {
      reply = await this.client.messages[wanted.schema ? 'parse' : 'create'](body, ...options(wanted));
    }
    const { usage, stop_reason, content } = reply;
    const of = (type) => content.filter((block) => block.type === type);
    const finish = { end_turn: 'stop', max_tokens: 'length', tool_use: 'tools', refusal: 'filtered' };
    return {
      text: of('text').map(({ text }) => text).join(''),
      finish: finish[stop_reason] ?? stop_reason,
      calls: of('tool_use').map(({ id, name, input }) => ({ id, name, arguments: input })),
      thoughts: of('thinking').map(({ thinking }) => thinking).join(''),
      input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
      output: usage.output_tokens,
      thinking: usage.output_tokens_details?.thinking_tokens ?? 0,
      parsed: reply.parsed_output,
      pieces,
      said: [{ role: 'assistant', content: content.map(({ parsed_output, ...block }) => block) }],
      requestId: reply._request_id,
    };
  }

  async *pieces(model, turns, wanted = {}) {
    const body = { ...this.body(model, turns, wanted), stream: true };
    for await (const event of await this.client.messages.create(body, ...options(wanted))) {
      if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') yield event.delta.text;
    }
  }
}

export const SPEAKERS = [Chat, Responses, Messages];

/** The error that `promise` is rejected with; it has to be of this class. */
export async function rejected(promise, kind) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}
