"""Two agents talk: a writer asks a critic, turn after turn, until the critic has nothing left to say.

kos run examples/conversation.yaml && kos messages @latest
"""

from typing import Any

from agents import Agent, Context, action

#: What the critic asks for, one thing a turn.
WISHES = ("say what it costs", "name a date", "say who decides")


class Writer(Agent):
    """Writes, and asks before it is content."""

    @action
    async def write(self, topic: str, context: Context) -> dict[str, Any]:
        text, turns = f"A proposal about {topic}.", 0
        context.send("Archivist", {"note": f"a proposal about {topic} was begun"}, key="begun")
        while turns < 10:
            turns += 1
            answer = await context.ask("Critic", {"text": text}, conversation="review")
            if not answer["wish"]:
                break
            text += f" ({answer['wish']})"
        return {"text": text, "turns": turns}


class Critic(Agent):
    """Remembers nothing between two messages: what was said before comes with each."""

    @action
    def on_message(self, text: str, context: Context) -> dict[str, str]:
        asked = [turn.reply["wish"] for turn in context.conversation if turn.reply]
        left = [wish for wish in WISHES if wish not in asked and wish not in text]
        return {"wish": left[0] if left else ""}


class Archivist(Agent):
    """Takes note."""

    @action
    def on_message(self, note: str) -> dict[str, int]:
        return {"kept": len(note)}
