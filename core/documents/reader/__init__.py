"""Text out of files. What stands here reads what strangers wrote: it runs in a process of its own (`__main__`), and
imports little, as that process starts for every file."""
