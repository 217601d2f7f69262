"""What an agent replies, question by question: one frozen dataclass each, read and checked where the reply comes in.

A host may be broken, old, or somebody else's: a reply with other forms in it is one sentence (`BadReply`), wherever it
was asked for. A field that is added to a reply gets a default, for the agents that do not have it yet; what a newer
agent says beyond these fields is passed over.
"""
