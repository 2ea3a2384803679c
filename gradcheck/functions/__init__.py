"""The user's function: what goes in, what comes out, and calling it at displaced points, here or elsewhere."""
