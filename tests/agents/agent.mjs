// agent.py and fakes.py for @livekit/agents: a worker whose agents need no model. Loud audio is speech, what is said
// is SCRIPT line by line, and speech is a tone as long as its text. Each change of an agent's state and each item of
// a conversation is a line of the log.
import { fileURLToPath } from 'node:url';

import * as agents from '@livekit/agents';
import { AudioFrame } from '@livekit/rtc-node';
import { z } from 'zod';

const { VADEventType, llm, stt, tts, voice } = agents;
const SCRIPT = [
  'Tell me a long story.', 'Stop, please.', 'My name is Alice Liddell, what is the weather in Lyon?',
  'Charge my card.',
];
const STORY = 'Once upon a time there was a server that knew all of its rooms. '.repeat(8);
const CALLS = {
  weather: ['lookup_weather', '{"city": "Lyon", "phone": "+33 6 12 34 56 78"}'],
  card: ['charge_card', '{"card": "4111 1111 1111 1111"}'],
};
const LOUD = 500; // root mean square, of 32768
const [BEGINS, ENDS] = [0.1, 0.5]; // seconds of loud audio, of quiet audio
const RATE = 24000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
let made = 0;
const id = (kind) => `${kind}_${(made += 1)}`;

class Ear {
  speaking = false;
  loud = 0;
  quiet = 0;
  spoken = 0;

  hear(frame) {
    const seconds = frame.samplesPerChannel / frame.sampleRate;
    const sum = frame.data.reduce((sum, sample) => sum + sample * sample, 0);
    if (Math.sqrt(sum / Math.max(frame.data.length, 1)) > LOUD) {
      this.loud += seconds;
      this.quiet = 0;
    } else {
      this.quiet += seconds;
      if (!this.speaking) this.loud = 0;
    }
    if (this.speaking) this.spoken += seconds;
    if (!this.speaking && this.loud >= BEGINS) {
      this.speaking = true;
      this.spoken = this.loud;
      return 'start';
    }
    if (this.speaking && this.quiet >= ENDS) {
      this.speaking = false;
      this.loud = 0;
      return 'end';
    }
    return undefined;
  }
}

class ToneVAD extends agents.VAD {
  label = 'tone-vad';
  constructor() { super({ updateInterval: 50 }); }
  stream() { return new ToneVADStream(this); }
}

class ToneVADStream extends agents.VADStream {
  constructor(vad) {
    super(vad);
    void this.#run();
  }

  async #run() {
    let [ear, index, held] = [new Ear(), 0, []];
    const send = (type, frames) => this.sendVADEvent({
      type, frames, samplesIndex: index, timestamp: Date.now(), speaking: ear.speaking,
      speechDuration: ear.speaking || type === VADEventType.END_OF_SPEECH ? ear.spoken * 1000 : 0,
      silenceDuration: ear.quiet * 1000, probability: ear.speaking ? 1 : 0, inferenceDuration: 0.1,
      rawAccumulatedSilence: ear.quiet * 1000, rawAccumulatedSpeech: ear.loud * 1000,
    });
    while (!this.closed) {
      const { done, value } = await this.inputReader.read();
      if (done) break;
      if (typeof value === 'symbol') {
        ear = new Ear();
        continue;
      }
      index += value.samplesPerChannel;
      held = [...held, value].slice(-500);
      const change = ear.hear(value);
      send(VADEventType.INFERENCE_DONE, [value]);
      if (change === 'start') send(VADEventType.START_OF_SPEECH, held);
      if (change === 'end') {
        send(VADEventType.END_OF_SPEECH, held);
        held = [];
      }
    }
  }
}

class ScriptSTT extends stt.STT {
  label = 'script-stt';
  lines = [...SCRIPT];
  constructor() { super({ streaming: true, interimResults: true }); }
  get model() { return 'script-stt'; }
  get provider() { return 'made-up'; }
  async _recognize() { throw new Error('it streams'); }
  stream(options) { return new ScriptStream(this, undefined, options?.connOptions); }
}

class ScriptStream extends stt.SpeechStream {
  label = 'script-stream';

  constructor(script, rate, options) {
    super(script, rate, options);
    this.script = script;
  }

  async run() {
    const [ear, requestId] = [new Ear(), id('stt')];
    let [heard, line] = [0, ''];
    const send = (type, text) => this.queue.put({
      type, requestId, alternatives: [{ language: 'en', text, startTime: 0, endTime: 0, confidence: 0.93 }],
    });
    for await (const frame of this.input) {
      if (typeof frame === 'symbol') continue;
      heard += frame.samplesPerChannel / frame.sampleRate;
      const change = ear.hear(frame);
      if (change === 'start') {
        line = this.script.lines.shift() ?? 'Thank you.';
        send(stt.SpeechEventType.INTERIM_TRANSCRIPT, line.split(' ').slice(0, 3).join(' '));
      } else if (change === 'end') {
        await pause(50);
        send(stt.SpeechEventType.FINAL_TRANSCRIPT, line);
        const recognitionUsage = { audioDuration: heard };
        this.queue.put({ type: stt.SpeechEventType.RECOGNITION_USAGE, requestId, recognitionUsage });
        heard = 0;
      }
    }
  }
}

class CannedLLM extends llm.LLM {
  label() { return 'canned'; }
  get model() { return 'canned-1'; }
  get provider() { return 'made-up'; }
  chat({ chatCtx, toolCtx, connOptions = agents.DEFAULT_API_CONNECT_OPTIONS }) {
    return new CannedStream(this, { chatCtx, toolCtx, connOptions });
  }
}

class CannedStream extends llm.LLMStream {
  async run() {
    const [chunk, last] = [id('llm'), this.chatCtx.items.at(-1)];
    await pause(100);
    const heard = last.type === 'message' ? (last.textContent ?? '').toLowerCase() : '';
    const called = Object.keys(CALLS).find((word) => heard.includes(word));
    let answer = heard.includes('story') ? STORY : 'You are welcome, Alice.';
    if (last.type === 'function_call_output') answer = `Here you are: ${last.output}.`;
    if (called) {
      answer = '';
      const [name, args] = CALLS[called];
      const toolCalls = [llm.FunctionCall.create({ callId: id('call'), name, args })];
      this.queue.put({ id: chunk, delta: { role: 'assistant', toolCalls } });
    }
    const words = answer.split(' ').filter(Boolean);
    for (const word of words) {
      this.queue.put({ id: chunk, delta: { role: 'assistant', content: `${word} ` } });
      await pause(5);
    }
    const [completionTokens, promptTokens] = [words.length, 10 * this.chatCtx.items.length];
    const totalTokens = completionTokens + promptTokens;
    this.queue.put({ id: chunk, usage: { completionTokens, promptTokens, promptCachedTokens: 4, totalTokens } });
  }
}

class ToneTTS extends tts.TTS {
  label = 'tone-tts';
  constructor() { super(RATE, 1, { streaming: true }); }
  get model() { return 'tone-tts'; }
  get provider() { return 'made-up'; }
  synthesize() { throw new Error('it streams'); }
  stream(options) { return new ToneStream(this, options?.connOptions); }
}

class ToneStream extends tts.SynthesizeStream {
  label = 'tone-stream';

  async run() {
    let text = '';
    for await (const data of this.input) {
      if (typeof data === 'string') {
        if (!text) this.markStarted();
        text += data;
      } else if (text) {
        await this.#speak(text);
        text = '';
      }
    }
    if (text) await this.#speak(text);
    this.queue.put(tts.SynthesizeStream.END_OF_STREAM);
  }

  async #speak(text) {
    const [requestId, segmentId] = [id('tts'), id('seg')];
    await pause(50);
    const frames = text.split(' ').filter(Boolean).length * 18;
    for (let n = 0; n < frames; n += 1) {
      const sample = (_, i) => 8000 * Math.sin((2 * Math.PI * 330 * (n * 240 + i)) / RATE);
      const frame = new AudioFrame(new Int16Array(240).map(sample), RATE, 1, 240);
      this.queue.put({ requestId, segmentId, frame, final: n === frames - 1 });
    }
  }
}

const helper = () => new voice.Agent({
  instructions: 'You are helpful. The secret of the house is a blue door.',
  tools: [
    llm.tool({
      name: 'lookup_weather',
      description: 'Forecasts the weather of a city.',
      parameters: z.object({ city: z.string(), phone: z.string() }),
      execute: async ({ city }) => {
        await pause(200);
        return `sunny in ${city}`;
      },
    }),
    llm.tool({
      name: 'charge_card',
      description: 'Charges a card.',
      parameters: z.object({ card: z.string() }),
      execute: async ({ card }) => { throw new llm.ToolError(`card ${card} was refused`); },
    }),
  ],
});

export default agents.defineAgent({
  prewarm: async (process) => { process.userData.vad = new ToneVAD(); },
  entry: async (ctx) => {
    const room = ctx.job.room.name;
    const session = new voice.AgentSession({
      vad: ctx.proc.userData.vad,
      stt: new ScriptSTT(),
      llm: new CannedLLM(),
      tts: new ToneTTS(),
      aecWarmupDuration: null,
      turnHandling: {
        turnDetection: 'vad',
        endpointing: { minDelay: 300, maxDelay: 1000 },
        interruption: { mode: 'vad', minDuration: 300 },
      },
    });
    const { AgentStateChanged, ConversationItemAdded } = voice.AgentSessionEventTypes;
    session.on(AgentStateChanged, (event) => agents.log().info({ room }, `agent is ${event.newState}`));
    session.on(ConversationItemAdded, ({ item }) => {
      if (item.type === 'message') agents.log().info({ room }, `item ${item.textContent}`);
    });
    await ctx.connect();
    await session.start({ agent: helper(), room: ctx.room });
    session.say('Welcome to the helpdesk.');
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  agents.cli.runApp(new agents.ServerOptions({
    agent: fileURLToPath(import.meta.url), host: '127.0.0.1', port: Number(process.env.PORT), numIdleProcesses: 1,
    loadFunc: async () => 0,
  }));
}
