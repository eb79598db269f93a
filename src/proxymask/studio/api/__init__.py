"""HTTP routes and the WebSocket of the studio."""
