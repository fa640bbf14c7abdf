"""Resumable uploads: the tus protocol 1.0, from the first byte to a Track."""
