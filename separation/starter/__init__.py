"""The bundled model: how its music is made, how it is trained, measured and loaded. Imports nothing heavy by itself."""
