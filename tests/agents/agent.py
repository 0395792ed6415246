"""A worker of LiveKit Agents whose agents need no model: what a caller says is `fakes.SCRIPT`, line by line.

EXECUTOR is process or thread. Agents with an AGENT_NAME come only where they are dispatched by it. Each change of an
agent's state and each item of a conversation is a line of the log.
"""

import asyncio
import logging
import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobExecutorType, ToolError, cli, function_tool

from fakes import CannedLLM, ScriptSTT, ToneTTS, ToneVAD

log = logging.getLogger("helper")


class Helper(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are helpful. The secret of the house is a blue door.")

    async def on_enter(self) -> None:
        self.session.say("Welcome to the helpdesk.")

    @function_tool
    async def lookup_weather(self, city: str, phone: str) -> str:
        """Forecasts the weather of a city.

        Args:
            city: where
            phone: whom to send it to
        """
        await asyncio.sleep(0.2)
        return f"sunny in {city}"

    @function_tool
    async def charge_card(self, card: str) -> str:
        """Charges a card."""
        raise ToolError(f"card {card} was refused")


def prewarm(process) -> None:
    process.userdata["vad"] = ToneVAD()


server = AgentServer(
    job_executor_type=JobExecutorType(os.environ["EXECUTOR"]),
    setup_fnc=prewarm,
    host="127.0.0.1",
    port=0,
    prometheus_port=int(os.environ["PROMETHEUS_PORT"]),
    num_idle_processes=1,
    load_fnc=lambda *_: 0.0,
)


@server.rtc_session(agent_name=os.environ.get("AGENT_NAME", ""))
async def call(ctx: JobContext) -> None:
    ctx.log_context_fields = {"room": ctx.room.name}
    session = AgentSession(
        stt=ScriptSTT(),
        llm=CannedLLM(),
        tts=ToneTTS(),
        vad=ctx.proc.userdata["vad"],
        aec_warmup_duration=None,
        turn_handling={
            "turn_detection": "vad",
            "endpointing": {"min_delay": 0.3, "max_delay": 1.0},
            "interruption": {"mode": "vad", "min_duration": 0.3},
        },
    )

    @session.on("agent_state_changed")
    def _(event) -> None:
        log.info("agent is %s", event.new_state)

    @session.on("conversation_item_added")
    def _(event) -> None:
        if event.item.type == "message":
            log.info("item %s", event.item.text_content)

    await session.start(agent=Helper(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
