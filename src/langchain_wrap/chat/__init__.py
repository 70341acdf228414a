"""The chat face: messages in, messages out, on any model.

A call goes this way: the history is checked (`history.py`), tools and schemas are told to the model
or handed to it (`asking.py`), the messages become a prompt (`template.py`) where the model has no
chat of its own; the pipeline completes it; what comes back is read (`reasoning.py`, `formats/`) and
goes out as message chunks (`turn.py`).
"""
