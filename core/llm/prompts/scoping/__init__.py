"""The prompts of `scoping`, and what the simulator answers to them."""
