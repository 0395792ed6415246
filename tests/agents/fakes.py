"""Speech-to-text, language model, text-to-speech and voice activity without any model.

Loud audio is speech. What was said in a caller's n-th utterance is the n-th line of SCRIPT. The model answers by the
words in it. Speech is a tone, as long as its text.
"""

import asyncio
import math
import time

import numpy as np
from livekit import rtc
from livekit.agents import llm, stt, tts, utils, vad
from livekit.agents.language import LanguageCode
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN

SCRIPT = [
    "Tell me a long story.",
    "Stop, please.",
    "My name is Alice Liddell, what is the weather in Lyon?",
    "Charge my card.",
]
STORY = "Once upon a time there was a server that knew all of its rooms. " * 8
CALLS = {
    "weather": ("lookup_weather", '{"city": "Lyon", "phone": "+33 6 12 34 56 78"}'),
    "card": ("charge_card", '{"card": "4111 1111 1111 1111"}'),
}
LOUD = 500.0  # root mean square, of 32768
BEGINS, ENDS = 0.1, 0.5  # seconds of loud audio, of quiet audio
RATE = 24000


class Ear:
    """Finds the start and the end of speech in frames."""

    def __init__(self) -> None:
        self.speaking, self.loud, self.quiet, self.spoken = False, 0.0, 0.0, 0.0

    def hear(self, frame: rtc.AudioFrame) -> str | None:
        samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float32)
        if np.sqrt(np.mean(samples * samples)) > LOUD:
            self.loud, self.quiet = self.loud + frame.duration, 0.0
        else:
            self.loud, self.quiet = self.loud if self.speaking else 0.0, self.quiet + frame.duration
        self.spoken += frame.duration if self.speaking else 0.0
        if not self.speaking and self.loud >= BEGINS:
            self.speaking, self.spoken = True, self.loud
            return "start"
        if self.speaking and self.quiet >= ENDS:
            self.speaking, self.loud = False, 0.0
            return "end"
        return None


class ToneVAD(vad.VAD):
    model, provider = "tone-vad", "made-up"

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.05))

    def stream(self) -> vad.VADStream:
        return ToneVADStream(self)


class ToneVADStream(vad.VADStream):
    async def _main_task(self) -> None:
        ear, index, held = Ear(), 0, []

        def send(kind: vad.VADEventType, frames: list[rtc.AudioFrame]) -> None:
            is_speech = ear.speaking or kind == vad.VADEventType.END_OF_SPEECH
            self._event_ch.send_nowait(vad.VADEvent(
                type=kind, samples_index=index, timestamp=time.time(), frames=frames, speaking=ear.speaking,
                speech_duration=ear.spoken if is_speech else 0.0, silence_duration=ear.quiet,
                probability=float(ear.speaking), raw_accumulated_silence=ear.quiet, raw_accumulated_speech=ear.loud,
            ))

        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                ear = Ear()
                continue
            index += frame.samples_per_channel
            held = [*held, frame][-500:]
            change = ear.hear(frame)
            send(vad.VADEventType.INFERENCE_DONE, [frame])
            if change == "start":
                send(vad.VADEventType.START_OF_SPEECH, held)
            elif change == "end":
                send(vad.VADEventType.END_OF_SPEECH, held)
                held = []


class ScriptSTT(stt.STT):
    model, provider = "script-stt", "made-up"

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.lines = iter(SCRIPT)

    async def _recognize_impl(self, buffer, *, language=NOT_GIVEN, conn_options=None) -> stt.SpeechEvent:
        raise NotImplementedError

    def stream(self, *, language=NOT_GIVEN, conn_options=DEFAULT_API_CONNECT_OPTIONS) -> stt.RecognizeStream:
        return ScriptStream(stt=self, conn_options=conn_options)


class ScriptStream(stt.RecognizeStream):
    async def _run(self) -> None:
        ear, heard, line, request = Ear(), 0.0, "", utils.shortuuid("stt_")

        def send(kind: stt.SpeechEventType, text: str) -> None:
            data = stt.SpeechData(language=LanguageCode("en"), text=text, confidence=0.93)
            self._event_ch.send_nowait(stt.SpeechEvent(type=kind, request_id=request, alternatives=[data]))

        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                continue
            heard += frame.duration
            change = ear.hear(frame)
            if change == "start":
                line = next(self._stt.lines, "Thank you.")
                send(stt.SpeechEventType.INTERIM_TRANSCRIPT, " ".join(line.split()[:3]))
            elif change == "end":
                await asyncio.sleep(0.05)
                send(stt.SpeechEventType.FINAL_TRANSCRIPT, line)
                usage = stt.RecognitionUsage(audio_duration=heard)
                self._event_ch.send_nowait(stt.SpeechEvent(
                    type=stt.SpeechEventType.RECOGNITION_USAGE, request_id=request, recognition_usage=usage))
                heard = 0.0


class CannedLLM(llm.LLM):
    model, provider = "canned-1", "made-up"

    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS,
             parallel_tool_calls=NOT_GIVEN, tool_choice=NOT_GIVEN, extra_kwargs=NOT_GIVEN) -> llm.LLMStream:
        return CannedStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class CannedStream(llm.LLMStream):
    async def _run(self) -> None:
        chunk, last = utils.shortuuid("llm_"), self._chat_ctx.items[-1]
        await asyncio.sleep(0.1)
        heard = (last.text_content or "").lower() if last.type == "message" else ""
        called = next((CALLS[word] for word in CALLS if word in heard), None)
        if last.type == "function_call_output":
            answer = f"Here you are: {last.output}."
        elif called:
            answer = ""
        else:
            answer = STORY if "story" in heard else "You are welcome, Alice."

        def send(**delta) -> None:
            delta = llm.ChoiceDelta(role="assistant", **delta)
            self._event_ch.send_nowait(llm.ChatChunk(id=chunk, delta=delta))

        if called:
            name, arguments = called
            call = llm.FunctionToolCall(name=name, arguments=arguments, call_id=utils.shortuuid("call_"))
            send(tool_calls=[call])
        for word in answer.split():
            send(content=word + " ")
            await asyncio.sleep(0.005)
        completion, prompt = len(answer.split()), 10 * len(self._chat_ctx.items)
        usage = llm.CompletionUsage(
            completion_tokens=completion, prompt_tokens=prompt, prompt_cached_tokens=4,
            total_tokens=completion + prompt)
        self._event_ch.send_nowait(llm.ChatChunk(id=chunk, usage=usage))


class ToneTTS(tts.TTS):
    model, provider = "tone-tts", "made-up"

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=True), sample_rate=RATE, num_channels=1)

    def synthesize(self, text, *, conn_options=DEFAULT_API_CONNECT_OPTIONS) -> tts.ChunkedStream:
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(self, *, conn_options=DEFAULT_API_CONNECT_OPTIONS) -> tts.SynthesizeStream:
        return ToneStream(tts=self, conn_options=conn_options)


class ToneStream(tts.SynthesizeStream):
    async def _run(self, out: tts.AudioEmitter) -> None:
        out.initialize(
            request_id=utils.shortuuid("tts_"), sample_rate=RATE, num_channels=1, mime_type="audio/pcm", stream=True)
        text = ""
        async for data in self._input_ch:
            if isinstance(data, str):
                if not text:
                    out.start_segment(segment_id=utils.shortuuid("seg_"))
                    self._mark_started()
                text += data
            elif text:
                await asyncio.sleep(0.05)
                times = np.arange(int(RATE * 0.18 * len(text.split()))) / RATE
                out.push((8000 * np.sin(2 * math.pi * 330 * times)).astype(np.int16).tobytes())
                out.end_segment()
                text = ""
