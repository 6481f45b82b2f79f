"""What a route file says: model, parsing, and diagnostics with positions. Pure: no I/O at all."""
