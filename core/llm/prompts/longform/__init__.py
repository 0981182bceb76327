"""The prompts of `longform`, and what the simulator answers to them."""
