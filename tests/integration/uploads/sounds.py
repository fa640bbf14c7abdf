"""A sound to upload. Needs neither Django nor a file."""

import io
import math
import struct
import wave


def wav_bytes(seconds: float = 0.25, rate: int = 8000) -> bytes:
    """A short mono sine, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        samples = (int(8000 * math.sin(i / 5)) for i in range(int(seconds * rate)))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()
