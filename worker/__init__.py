"""The worker process: builds the dependencies of the activities and polls the queues."""
