"""A NumPy convolutional network whose every layer is a pure forward/backward pair."""
