"""Plays the timelines of clients/conformance with each client, and breaks the wire between them and the server."""
