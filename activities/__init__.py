"""What the activities do: one file per pipeline, dependencies through constructors."""
